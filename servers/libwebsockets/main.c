// libwebsockets is a WebSocket echo server on the C library of that name, whose event loop
// runs in a thread of its own. The main thread answers questions.
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <libwebsockets.h>

#include "contract.h"
#include "opening.h"
#include "session.h"

enum {
#ifdef TUNED
	EVENT_LOOP = LWS_SERVER_OPTION_LIBUV,
	RX_BYTES = 256,      // of each connection's buffer, and so of a read
	TX_BYTES = 64 << 10, // of a write
#else
	EVENT_LOOP = 0, // its own
	RX_BYTES = 0,
	TX_BYTES = 0, // both: the library's default
#endif
	ACCEPTS_PER_EVENT = 64, // so that a burst of new connections does not starve the others
	RETRY_US = 100000,      // rest from accepting when descriptors have run out
	CLOSE_US = 10000,       // for a close frame to be sent
};

const bool speaks_tls = false, can_broadcast = false;

static struct options options;

// peer is what is kept of a connection.
struct peer {
	struct bytes message; // what has come of it, behind LWS_PRE bytes for its header
	bool open;            // it is counted
	bool binary;
	bool whole; // it has come, and is not sent
};

// value copies the value of a handshake's field. It is empty where there is no such field, or
// a longer one.
static char *value(struct lws *wsi, enum lws_token_indexes field, char *text, int size) {
	if (lws_hdr_copy(wsi, text, size, field) < 0)
		*text = 0;
	return text;
}

static bool is_host(const char *text) { // RFC 9110 section 7.2
	return !text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%!$&'()*+,;=:[]")];
}

// refused says whether a handshake is one that the library would take though it must not be.
static bool refused(struct lws *wsi) {
	char text[256], sum[32];
	return !lws_hdr_total_length(wsi, WSI_TOKEN_GET_URI) || strncmp(value(wsi, WSI_TOKEN_HTTP, text, sizeof text), "HTTP/1.", 7) || text[7] == '0' ||
	       strcmp(value(wsi, WSI_TOKEN_VERSION, text, sizeof text), "13") ||
	       strlen(value(wsi, WSI_TOKEN_KEY, text, sizeof text)) != 24 || lws_b64_decode_string(text, sum, sizeof sum) != 16 ||
	       !is_host(value(wsi, WSI_TOKEN_HOST, text, sizeof text)) || lws_hdr_fragment_length(wsi, WSI_TOKEN_HOST, 1) ||
	       lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) ||
	       (lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) && strcmp(value(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH, text, sizeof text), "0"));
}

// echo sends what is whole, and reads on once the kernel has taken all of it.
static int echo(struct lws *wsi, struct peer *p) {
	if (p->whole) {
		int n = p->message.n - LWS_PRE;
		if (lws_write(wsi, p->message.at + LWS_PRE, n, p->binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT) < n)
			return -1;
		free_bytes(&p->message);
		p->whole = false;
	}
	if (lws_partial_buffered(wsi))
		return lws_callback_on_writable(wsi) < 0 ? -1 : 0;
	lws_rx_flow_control(wsi, 1);
	return 0;
}

// receive takes a piece of a message. Once it is whole, nothing more is read before it is
// sent.
static int receive(struct lws *wsi, struct peer *p, const void *in, size_t n) {
	static const uint8_t header[LWS_PRE];
	if (lws_is_first_fragment(wsi))
		p->binary = lws_frame_is_binary(wsi);
	if (!p->message.n)
		append(&p->message, header, sizeof header);
	if (p->message.n - LWS_PRE + n + lws_remaining_packet_payload(wsi) > options.max_message) {
		lws_close_reason(wsi, LWS_CLOSE_STATUS_MESSAGE_TOO_LARGE, NULL, 0);
		return -1;
	}
	append(&p->message, in, n);
	if (!lws_is_final_fragment(wsi))
		return 0;
	use_cpu(options.work_us);
	p->whole = true;
	lws_rx_flow_control(wsi, 0);
	return lws_callback_on_writable(wsi) < 0 ? -1 : 0;
}

static int on_connection(struct lws *wsi, enum lws_callback_reasons reason, void *of, void *in, size_t n) {
	struct peer *p = of;
	switch (reason) {
	case LWS_CALLBACK_HTTP:
		return -1; // it is no handshake
	case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
		return refused(wsi) ? -1 : 0;
	case LWS_CALLBACK_ESTABLISHED:
		p->open = true;
		atomic_fetch_add(&connections, 1);
		return 0;
	case LWS_CALLBACK_RECEIVE:
		return receive(wsi, p, in, n);
	case LWS_CALLBACK_SERVER_WRITEABLE:
		return echo(wsi, p);
	case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
		if (n != 1)
			return 0;
		lws_close_reason(wsi, LWS_CLOSE_STATUS_PROTOCOL_ERR, NULL, 0); // over half a code
		return -1;
	case LWS_CALLBACK_WS_SERVER_DROP_PROTOCOL:
		// It closes. On another event loop than its own, it would parse again what it has
		// refused, before it has sent why.
		if (EVENT_LOOP) {
			lws_rx_flow_control(wsi, 0);
			lws_set_timer_usecs(wsi, CLOSE_US);
		}
		return 0;
	case LWS_CALLBACK_TIMER:
		lws_rx_flow_control(wsi, 1);
		return 0;
	case LWS_CALLBACK_CLOSED:
		if (p->open)
			atomic_fetch_sub(&connections, 1);
		free_bytes(&p->message);
		return 0;
	default:
		return lws_callback_http_dummy(wsi, reason, of, in, n);
	}
}

// accept_some gives the library new connections. It has a listener of its own, but that takes
// no backlog, and does not rest when descriptors have run out.
static void accept_some(struct lws *listener) {
	for (int i = 0; i < ACCEPTS_PER_EVENT; i++) {
		int fd = accept4(lws_get_socket_fd(listener), NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			lws_adopt_socket_vhost(lws_get_vhost(listener), fd); // or closes it
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			static atomic_flag said;
			if (!atomic_flag_test_and_set(&said))
				fprintf(stderr, "accept: %s: resting until there is room\n", strerror(errno));
			lws_rx_flow_control(listener, 0);
			lws_set_timer_usecs(listener, RETRY_US);
		} else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			fail("accept", errno);
		return;
	}
}

static int on_listener(struct lws *wsi, enum lws_callback_reasons reason, void *of, void *in, size_t n) {
	(void)of, (void)in, (void)n;
	if (reason == LWS_CALLBACK_RAW_RX_FILE)
		accept_some(wsi);
	if (reason == LWS_CALLBACK_TIMER)
		lws_rx_flow_control(wsi, 1);
	return 0;
}

static void *serve(void *context) {
	while (lws_service(context, 0) >= 0)
		;
	fail("lws_service", errno);
}

// make_context makes the library's context, with a host that listens nowhere.
static struct lws_context *make_context(void) {
	static const struct lws_protocols protocols[] = {
		{.name = "", .callback = on_connection, .per_session_data_size = sizeof(struct peer), .rx_buffer_size = RX_BYTES, .tx_packet_size = TX_BYTES},
		{.name = "listener", .callback = on_listener},
		{0},
	};
	static const lws_retry_bo_t never; // is a silent peer asked whether it is there
	struct lws_context_creation_info info = {
		.port = CONTEXT_PORT_NO_LISTEN_SERVER,
		.protocols = protocols,
		.retry_and_idle_policy = &never,
		.options = LWS_SERVER_OPTION_VALIDATE_UTF8 | EVENT_LOOP,
		.max_http_header_data = MAX_REQUEST,
	};
	lws_set_log_level(LLL_ERR, NULL);
	struct lws_context *context = lws_create_context(&info);
	if (!context)
		fail("lws_create_context", errno);
	return context;
}

int main(int argc, char **argv) {
	static int listeners[MOST_LISTENERS];
	options = read_options(argc, argv);
	struct lws_context *context = make_context();
	struct lws_vhost *host = lws_get_vhost_by_name(context, "default");
	listen_on(&options, SOCK_NONBLOCK, listeners);
	for (int i = 0; i < options.listeners; i++)
		if (!lws_adopt_descriptor_vhost(host, LWS_ADOPT_RAW_FILE_DESC, (lws_sock_file_fd_type){.filefd = listeners[i]}, "listener", NULL))
			fail("lws_adopt_descriptor_vhost", errno);
	pthread_t thread;
	int error = pthread_create(&thread, NULL, serve, context);
	if (error)
		fail("pthread_create", error);
	answer_questions(listeners, options.listeners, own_figures);
}
