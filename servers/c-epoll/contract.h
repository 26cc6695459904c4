// The process contract of servers/README.md: arguments, listening, questions and answers.
#ifndef CONTRACT_H
#define CONTRACT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

enum { MOST_LISTENERS = 256 };

struct options {
	char *listen[MOST_LISTENERS]; // HOST:PORT
	int listeners;
	size_t max_message; // bytes
	int backlog;
	int loops;
	long work_us;   // CPU time of each message
	bool bytes;     // no protocol is spoken: each byte is sent back
	bool share;     // further sockets may listen on the same ports (SO_REUSEPORT)
	char *tls;      // file with a key and a certificate; NULL: connections are plain
	bool broadcast; // every message goes to all connections
};

// speaks_tls says whether the program takes --tls, and can_broadcast whether --broadcast.
extern const bool speaks_tls, can_broadcast;

// connections counts those that are open.
extern atomic_long connections;

// read_options ends the program with status 2 where an argument is wrong.
struct options read_options(int argc, char **argv);

// listen_on listens on every address, and puts the sockets into fds. It ends the program
// with status 1 where it cannot. flags are those of socket(2).
void listen_on(const struct options *, int flags, int fds[MOST_LISTENERS]);

// bound_address is the address that a socket is bound to, as HOST:PORT, to be freed.
char *bound_address(int fd);

// figures are the answer to a question.
struct figures {
	long connections;
	double user_seconds, system_seconds;
};

// own_figures are those of this process. With settle it first gives memory back.
struct figures own_figures(bool settle);

// answer_questions says that the server is ready, answers by figures until the end of
// standard input, and ends the program.
_Noreturn void answer_questions(const int fds[], int n, struct figures (*figures)(bool settle));

// fail ends the program with status 1, and says with which call and why.
_Noreturn void fail(const char *call, int error);

// use_cpu uses up CPU time, in microseconds.
void use_cpu(long us);

#endif
