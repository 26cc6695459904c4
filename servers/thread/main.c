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

#include <openssl/err.h>
#include <openssl/ssl.h>

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
static SSL_CTX *context; // NULL: connections are plain

const bool speaks_tls = true, can_broadcast = false;

// prepare_tls reads the key and the certificate.
static void prepare_tls(const char *file) {
	context = SSL_CTX_new(TLS_server_method());
	if (!context || !SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) || SSL_CTX_use_certificate_chain_file(context, file) != 1 ||
	    SSL_CTX_use_PrivateKey_file(context, file, SSL_FILETYPE_PEM) != 1) {
		const char *why = ERR_reason_error_string(ERR_peek_last_error());
		fprintf(stderr, "thread: --tls: %s: %s\n", file, why ? why : "OpenSSL does not take it");
		exit(1);
	}
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
}

// wire is a connection's socket, and what encrypts it.
struct wire {
	int fd;
	SSL *ssl; // NULL: nothing
};

// again says whether a call of OpenSSL was interrupted.
static bool again(const struct wire *w, int result) {
	int error = SSL_get_error(w->ssl, result);
	return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

// open_wire shakes hands, where there is TLS.
static bool open_wire(struct wire *w) {
	if (!context)
		return true;
	w->ssl = SSL_new(context);
	if (!w->ssl || !SSL_set_fd(w->ssl, w->fd))
		return false;
	int done;
	do
		done = SSL_accept(w->ssl);
	while (done != 1 && again(w, done));
	return done == 1;
}

// receive returns 0 at the end of the connection.
static size_t receive(const struct wire *w, uint8_t *p, size_t n) {
	ssize_t some;
	do
		some = w->ssl ? SSL_read(w->ssl, p, n) : read(w->fd, p, n);
	while (some <= 0 && (w->ssl ? again(w, some) : some < 0 && errno == EINTR));
	return some > 0 ? some : 0;
}

static bool send_all(const struct wire *w, const uint8_t *p, size_t n) {
	while (n) {
		ssize_t some = w->ssl ? SSL_write(w->ssl, p, n < INT32_MAX ? n : INT32_MAX) : send(w->fd, p, n, MSG_NOSIGNAL);
		if (some <= 0 && (w->ssl ? again(w, some) : errno == EINTR))
			continue;
		if (some <= 0)
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
	struct wire wire = {.fd = (intptr_t)of};
	uint8_t in[READ_BYTES];
	struct session session = {0};
	struct bytes out = {0};
	enum next next = open_wire(&wire) ? CONTINUE : CLOSE;
	bool counted = false, shaken = next == CONTINUE;
	while (next == CONTINUE) {
		size_t n = session.more ? 0 : receive(&wire, in, sizeof in);
		if (!n && !session.more)
			break;
		next = feed(&session, in, n, &out, &rules);
		if (session.upgraded && !counted) {
			counted = true;
			atomic_fetch_add(&connections, 1);
		}
		if (!send_all(&wire, out.at, out.n))
			break;
		out.n = 0;
		if (out.room > READ_BYTES || !session.more)
			free_bytes(&out); // an idle connection holds no buffer
	}
	if (wire.ssl && shaken)
		SSL_shutdown(wire.ssl); // which only says that this is the end
	if (next == FAIL)
		linger(wire.fd, in, sizeof in);
	if (counted)
		atomic_fetch_sub(&connections, 1);
	release(&session);
	free_bytes(&out);
	SSL_free(wire.ssl);
	close(wire.fd);
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
	rules = (struct rules){options.max_message, options.work_us, options.bytes, NULL};
	if (options.tls)
		prepare_tls(options.tls);
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
	answer_questions(listeners, options.listeners, own_figures);
}
