// thread is an echo server of WebSocket and bytes in C with a thread of the kernel for each
// connection, which reads and writes as if it were alone.
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "contract.h"
#include "session.h"

enum {
	READ_BYTES = 16 << 10,
	STACK_BYTES = 64 << 10, // of which a thread touches a page or two
	RETRY_US = 100000,      // rest from accepting when descriptors have run out
};

static struct options options;
static struct rules rules;
static pthread_attr_t small;

static bool send_all(int fd, const uint8_t *p, size_t n) {
	while (n) {
		ssize_t some = send(fd, p, n, MSG_NOSIGNAL);
		if (some < 0 && errno == EINTR)
			continue;
		if (some < 0)
			return false;
		p += some, n -= some;
	}
	return true;
}

// linger lets the peer read why it failed: a close with unread data would reset the
// connection.
static void linger(int fd, uint8_t *scrap, size_t n) {
	struct timeval second = {.tv_sec = 1};
	if (shutdown(fd, SHUT_WR) || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second))
		return;
	while (read(fd, scrap, n) > 0)
		;
}

// serve is the life of a connection.
static void *serve(void *of) {
	int fd = (intptr_t)of;
	uint8_t in[READ_BYTES];
	struct session session = {0};
	struct bytes out = {0};
	enum next next = CONTINUE;
	bool counted = false;
	while (next == CONTINUE) {
		ssize_t n = session.more ? 0 : read(fd, in, sizeof in);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 && !session.more)
			break;
		next = feed(&session, in, n, &out, &rules);
		if (session.upgraded && !counted) {
			counted = true;
			atomic_fetch_add(&connections, 1);
		}
		if (!send_all(fd, out.at, out.n))
			break;
		out.n = 0;
		if (out.room > READ_BYTES || !session.more)
			free_bytes(&out); // an idle connection holds no buffer
	}
	if (next == FAIL)
		linger(fd, in, sizeof in);
	if (counted)
		atomic_fetch_sub(&connections, 1);
	release(&session);
	free_bytes(&out);
	close(fd);
	return NULL;
}

static void *accept_all(void *of) {
	int listener = (intptr_t)of;
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), error = errno;
		static atomic_flag said;
		if (fd < 0 && (error == EINTR || error == ECONNABORTED))
			continue;
		if (fd < 0 && error != EMFILE && error != ENFILE && error != ENOBUFS && error != ENOMEM)
			fail("accept", error);
		const char *call = "accept";
		if (fd >= 0) {
			pthread_t thread;
			error = pthread_create(&thread, &small, serve, (void *)(intptr_t)fd);
			if (!error)
				continue;
			close(fd);
			call = "pthread_create";
		}
		if (!atomic_flag_test_and_set(&said))
			fprintf(stderr, "%s: %s: resting until there is room\n", call, strerror(error));
		usleep(RETRY_US);
	}
	return NULL;
}

int main(int argc, char **argv) {
	static int listeners[MOST_LISTENERS];
	options = read_options(argc, argv);
	rules = (struct rules){options.max_message, options.work_us, options.bytes};
	listen_on(&options, 0, listeners);
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, STACK_BYTES);
	pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
	for (int i = 0; i < options.listeners; i++) {
		pthread_t thread;
		int error = pthread_create(&thread, NULL, accept_all, (void *)(intptr_t)listeners[i]);
		if (error)
			fail("pthread_create", error);
	}
	answer_questions(listeners, options.listeners);
}
