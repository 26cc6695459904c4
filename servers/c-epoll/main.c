// c-epoll is an echo server of WebSocket and bytes in C on bare epoll: the least that a
// server of any language can pay for a connection. Each loop is a thread.
#include <pthread.h>
#include <stdint.h>
#include <sys/socket.h>

#include "loop.h"

const bool speaks_tls = false, can_broadcast = true;

static void *run(void *number) { run_loop((intptr_t)number); }

int main(int argc, char **argv) {
	static int listeners[MOST_LISTENERS];
	struct options options = read_options(argc, argv);
	listen_on(&options, SOCK_NONBLOCK, listeners);
	make_loops(&options, listeners);
	for (intptr_t i = 0; i < options.loops; i++) {
		pthread_t thread;
		int error = pthread_create(&thread, NULL, run, (void *)i);
		if (error)
			fail("pthread_create", error);
	}
	answer_questions(listeners, options.listeners, own_figures);
}
