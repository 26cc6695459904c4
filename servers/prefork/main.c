// prefork is the server of c-epoll with a process of one thread for each loop. Each has
// sockets of its own on the same ports (SO_REUSEPORT), so that the kernel shares connections
// out among the processes.
//
// The process that was started serves no connection. It passes questions on to the others,
// and none of them outlives it.
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop.h"

// worker is a process that serves, and the socket on which it is asked.
struct worker {
	pid_t pid;
	int fd;
};

const bool speaks_tls = false, can_broadcast = false;

static struct options options;
static struct worker *workers;
static int worker_count;

// end_workers kills the workers and waits until the kernel has closed their connections.
static void end_workers(void) {
	signal(SIGCHLD, SIG_DFL);
	for (int i = 0; i < worker_count; i++)
		kill(workers[i].pid, SIGKILL);
	for (int i = 0; i < worker_count; i++)
		while (waitpid(workers[i].pid, NULL, 0) < 0 && errno == EINTR)
			;
}

static void end(int signal) {
	static const char words[] = "prefork: one of the processes has ended, and so do the others\n";
	if (signal == SIGCHLD && write(STDERR_FILENO, words, sizeof words - 1) < 0) {
		// nobody reads it
	}
	end_workers();
	_exit(signal == SIGCHLD);
}

static void end_together(void) {
	struct sigaction action = {.sa_handler = end, .sa_flags = SA_NOCLDSTOP};
	sigaddset(&action.sa_mask, SIGTERM);
	sigaddset(&action.sa_mask, SIGCHLD);
	if (sigaction(SIGTERM, &action, NULL) || sigaction(SIGCHLD, &action, NULL))
		fail("sigaction", errno);
}

// answer answers a question of the first process.
static void answer(int fd) {
	bool settle;
	if (recv(fd, &settle, sizeof settle, 0) != (ssize_t)sizeof settle)
		exit(0); // that process has ended
	struct figures own = own_figures(settle);
	send(fd, &own, sizeof own, MSG_NOSIGNAL);
}

// work is the life of a worker.
static _Noreturn void work(int fd, pid_t first, const int listeners[]) {
	while (worker_count > 0) // those before it are not its own
		close(workers[--worker_count].fd);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL))
		fail("prctl", errno);
	if (getppid() != first)
		exit(0); // it had ended already
	// What ends all processes of a terminal or a group reaches the first one too.
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	options.loops = 1;
	make_loops(&options, listeners);
	ask_loop(fd, answer);
	run_loop(0);
}

static void start_worker(const int listeners[]) {
	int pair[2];
	pid_t first = getpid();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		fail("socketpair", errno);
	pid_t pid = fork();
	if (pid < 0)
		fail("fork", errno);
	if (pid == 0) {
		close(pair[0]);
		work(pair[1], first, listeners);
	}
	close(pair[1]);
	workers[worker_count++] = (struct worker){pid, pair[0]};
}

// all_figures asks all workers at once, and adds their answers up.
static struct figures all_figures(bool settle) {
	struct figures sum = own_figures(settle), one;
	for (int i = 0; i < worker_count; i++)
		if (send(workers[i].fd, &settle, sizeof settle, MSG_NOSIGNAL) < 0)
			fail("asking a process", errno);
	for (int i = 0; i < worker_count; i++) {
		ssize_t n = recv(workers[i].fd, &one, sizeof one, 0);
		if (n != (ssize_t)sizeof one)
			fail("asking a process", n < 0 ? errno : EPIPE);
		sum.connections += one.connections;
		sum.user_seconds += one.user_seconds;
		sum.system_seconds += one.system_seconds;
	}
	return sum;
}

int main(int argc, char **argv) {
	static int first[MOST_LISTENERS], more[MOST_LISTENERS];
	options = read_options(argc, argv);
	options.share = true;
	if (!(workers = calloc(options.loops, sizeof *workers)))
		fail("calloc", errno);
	atexit(end_workers);
	listen_on(&options, SOCK_NONBLOCK, first);
	for (int i = 0; i < options.listeners; i++)
		options.listen[i] = bound_address(first[i]);
	start_worker(first); // whose sockets stay open here, for their addresses
	while (worker_count < options.loops) {
		listen_on(&options, SOCK_NONBLOCK, more);
		start_worker(more);
		for (int i = 0; i < options.listeners; i++)
			close(more[i]);
	}
	end_together();
	all_figures(false); // whoever answers serves, too
	answer_questions(first, options.listeners, all_figures);
}
