#include "contract.h"

#include <arpa/inet.h>
#include <errno.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

atomic_long connections;

static const char *program = "server";

static _Noreturn void usage(const char *what, const char *value) {
	fprintf(stderr, "%s: %s: \"%s\"\n", program, what, value);
	exit(2);
}

void fail(const char *call, int error) {
	fprintf(stderr, "%s: %s: %s\n", program, call, strerror(error));
	exit(1);
}

static long number(const char *name, const char *text, long least) {
	char *end;
	errno = 0;
	long n = strtol(text, &end, 10);
	if (errno || end == text || *end || n < least || n > INT32_MAX)
		usage(name, text);
	return n;
}

static void add_addresses(struct options *o, char *list) {
	for (char *one = strtok(list, ","); one; one = strtok(NULL, ",")) {
		if (o->listeners == MOST_LISTENERS || !strrchr(one, ':'))
			usage("--listen is not a list of HOST:PORT", one);
		o->listen[o->listeners++] = one;
	}
}

struct options read_options(int argc, char **argv) {
	struct options o = {.max_message = 64 << 10, .backlog = 4096, .loops = 1};
	if (argc > 0)
		program = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
	for (int i = 1; i < argc; i += 2) {
		char *name = argv[i], *value = argv[i + 1];
		if (i + 1 == argc)
			usage("an argument without a value", name);
		if (!strcmp(name, "--listen"))
			add_addresses(&o, value);
		else if (!strcmp(name, "--max-message"))
			o.max_message = number("--max-message is not a number of bytes", value, 1);
		else if (!strcmp(name, "--backlog"))
			o.backlog = number("--backlog is not a length", value, 1);
		else if (!strcmp(name, "--loops"))
			o.loops = number("--loops is not a number of loops", value, 1);
		else if (!strcmp(name, "--work"))
			o.work_us = number("--work is not a number of microseconds", value, 0);
		else if (!strcmp(name, "--class")) {
			if (strcmp(value, "default") && strcmp(value, "tuned"))
				usage("--class is not default or tuned", value);
		} else if (!strcmp(name, "--protocol")) {
			o.bytes = !strcmp(value, "tcp");
			if (!o.bytes && strcmp(value, "websocket"))
				usage("--protocol is not websocket or tcp", value);
		} else if (speaks_tls && !strcmp(name, "--tls"))
			o.tls = value;
		else if (can_broadcast && !strcmp(name, "--broadcast")) {
			if (strcmp(value, "all"))
				usage("--broadcast is not all", value);
			o.broadcast = true;
		} else
			usage("unknown argument", name);
	}
	if (o.listeners == 0)
		usage("--listen names no address", "");
	return o;
}

// socket_address reads HOST:PORT, where HOST is an IPv4 or [IPv6] address, or nothing.
static socklen_t socket_address(const char *text, struct sockaddr_storage *address) {
	char host[INET6_ADDRSTRLEN] = "";
	const char *colon = strrchr(text, ':');
	size_t n = colon - text;
	in_port_t port = htons(number("--listen has no port", colon + 1, 0));
	struct sockaddr_in *v4 = (struct sockaddr_in *)address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
	memset(address, 0, sizeof *address);
	if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
		snprintf(host, sizeof host, "%.*s", (int)n - 2, text + 1);
		v6->sin6_family = AF_INET6, v6->sin6_port = port;
		if (inet_pton(AF_INET6, host, &v6->sin6_addr) != 1)
			usage("--listen has no address", text);
		return sizeof *v6;
	}
	snprintf(host, sizeof host, "%.*s", (int)n, text);
	v4->sin_family = AF_INET, v4->sin_port = port;
	if (*host && inet_pton(AF_INET, host, &v4->sin_addr) != 1)
		usage("--listen has no address", text);
	return sizeof *v4;
}

static int listen_at(const struct options *o, const char *text, int flags) {
	struct sockaddr_storage address;
	socklen_t size = socket_address(text, &address);
	int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | flags, IPPROTO_TCP), on = 1;
	if (fd < 0)
		fail("socket", errno);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (o->share && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on))
		fail("SO_REUSEPORT", errno);
	if (address.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); // connections inherit it
	if (bind(fd, (struct sockaddr *)&address, size) || listen(fd, o->backlog)) {
		fprintf(stderr, "%s: listen on %s: %s\n", program, text, strerror(errno));
		exit(1);
	}
	return fd;
}

static void end(int signal) {
	(void)signal;
	_exit(0);
}

void listen_on(const struct options *o, int flags, int fds[MOST_LISTENERS]) {
	signal(SIGTERM, end);
	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < o->listeners; i++)
		fds[i] = listen_at(o, o->listen[i], flags);
}

char *bound_address(int fd) {
	struct sockaddr_storage address;
	socklen_t size = sizeof address;
	char host[INET6_ADDRSTRLEN], *text = malloc(sizeof host + sizeof "[]:65535");
	if (!text || getsockname(fd, (struct sockaddr *)&address, &size))
		fail("getsockname", errno);
	if (address.ss_family == AF_INET6) {
		struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address;
		inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
		sprintf(text, "[%s]:%d", host, ntohs(v6->sin6_port));
	} else {
		struct sockaddr_in *v4 = (struct sockaddr_in *)&address;
		inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
		sprintf(text, "%s:%d", host, ntohs(v4->sin_port));
	}
	return text;
}

static void say_ready(const int fds[], int n) {
	printf("{\"ready\": true, \"addresses\": [");
	for (int i = 0; i < n; i++) {
		char *address = bound_address(fds[i]);
		printf("%s\"%s\"", i ? ", " : "", address);
		free(address);
	}
	printf("]}\n");
	fflush(stdout);
}

static double seconds(struct timeval t) { return t.tv_sec + t.tv_usec / 1e6; }

struct figures own_figures(bool settle) {
	struct rusage used;
	if (settle)
		malloc_trim(0);
	getrusage(RUSAGE_SELF, &used);
	return (struct figures){atomic_load(&connections), seconds(used.ru_utime), seconds(used.ru_stime)};
}

void answer_questions(const int fds[], int n, struct figures (*figures)(bool settle)) {
	char line[4096];
	say_ready(fds, n);
	while (fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\r\n")] = 0;
		bool settle = !strcmp(line, "settle");
		if (!settle && strcmp(line, "stats")) {
			fprintf(stderr, "%s: unknown question \"%.100s\"\n", program, line);
			continue;
		}
		struct figures f = figures(settle);
		printf("{\"connections\": %ld, \"user_seconds\": %.6f, \"system_seconds\": %.6f}\n", f.connections, f.user_seconds, f.system_seconds);
		fflush(stdout);
	}
	exit(0);
}

// thread_us is the CPU time of the calling thread.
static int64_t thread_us(void) {
	struct timespec now;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

void use_cpu(long us) {
	if (us <= 0)
		return;
	volatile uint64_t state = 1;
	for (int64_t until = thread_us() + us; thread_us() < until;)
		for (int i = 0; i < 500; i++) {
			uint64_t x = state;
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			state = x;
		}
}
