#include "loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "session.h"

enum {
	READ_BYTES = 64 << 10,
	EVENTS = 256,
	ACCEPTS_PER_EVENT = 64, // so that a burst of new connections does not starve the others
	LINGER_MS = 1000,       // for a peer to read why it failed
	RETRY_MS = 100,         // rest from accepting when descriptors have run out
	SLOTS = 1024,           // of the table are made at a time
	CHUNKS = 1 << 20,
	MOST_UNSENT = 1 << 20, // may wait for a peer that does not read, when more is published
};

// connection is what is kept of one.
struct connection {
	struct session session;
	struct backlog *backlog; // NULL nearly always
};

// backlog is output that the kernel has not taken, and what to do once it is sent.
struct backlog {
	struct bytes unsent;
	enum next next;
};

// ending is a connection that is closed at a time, unless the peer closes first.
struct ending {
	int fd;
	int64_t at;
};

struct loop {
	int poll;
	uint8_t in[READ_BYTES];
	struct bytes out;
	struct ending *endings; // in the order in which their time ends
	size_t ending_count, ending_room;
	int64_t accept_again; // 0 while the listeners are watched

	// For messages that go to all:
	int wake;            // an eventfd(2): other loops have posted; -1 for none
	int sender, highest; // the descriptor that is being handled, and the highest so far
	pthread_mutex_t lock;
	struct bytes posted; // the frames that other loops have published, each behind its length
};

static struct options options;
static struct rules rules;
static int listeners[MOST_LISTENERS];
static struct loop *loops;
static struct connection *_Atomic table[CHUNKS];
static int questions = -1; // where ask_loop has questions come from
static void (*answer_question)(int fd);

// slot is the state of a descriptor. It stays where it is.
static struct connection *slot(int fd) {
	struct connection *chunk = table[fd / SLOTS];
	if (!chunk) {
		struct connection *fresh = calloc(SLOTS, sizeof *fresh);
		if (!fresh)
			fail("calloc", errno);
		if (atomic_compare_exchange_strong(&table[fd / SLOTS], &chunk, fresh))
			chunk = fresh;
		else
			free(fresh); // another loop was faster
	}
	return chunk + fd % SLOTS;
}

static int64_t now_ms(void) {
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static int control(int poll, int operation, int fd, uint32_t events) {
	struct epoll_event e = {.events = events, .data.fd = fd};
	return epoll_ctl(poll, operation, fd, &e);
}

static void watch_listeners(struct loop *l) {
	for (int i = 0; i < options.listeners; i++)
		if (control(l->poll, EPOLL_CTL_ADD, listeners[i], EPOLLIN | EPOLLEXCLUSIVE))
			fail("epoll_ctl", errno);
	l->accept_again = 0;
}

static void rest_from_accepting(struct loop *l, int error) {
	static atomic_flag said;
	if (!atomic_flag_test_and_set(&said))
		fprintf(stderr, "accept: %s: resting until there is room\n", strerror(error));
	for (int i = 0; i < options.listeners; i++)
		control(l->poll, EPOLL_CTL_DEL, listeners[i], 0);
	l->accept_again = now_ms() + RETRY_MS;
}

static void accept_some(struct loop *l, int listener) {
	for (int i = 0; i < ACCEPTS_PER_EVENT; i++) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
				rest_from_accepting(l, errno);
			else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
				fail("accept", errno);
			return;
		}
		slot(fd);
		if (control(loops[fd % options.loops].poll, EPOLL_CTL_ADD, fd, EPOLLIN))
			close(fd); // fs.epoll.max_user_watches is used up
	}
}

static void drop_backlog(struct connection *c) {
	if (!c->backlog)
		return;
	free_bytes(&c->backlog->unsent);
	free(c->backlog);
	c->backlog = NULL;
}

static void end_connection(int fd, struct connection *c) {
	if (c->session.upgraded)
		atomic_fetch_sub(&connections, 1);
	release(&c->session);
	drop_backlog(c);
	memset(c, 0, sizeof *c);
	close(fd); // last: the descriptor may be accepted again at once
}

// send_bytes sends what the kernel takes, and returns its number, or -1.
static ssize_t send_bytes(int fd, const uint8_t *p, size_t n) {
	size_t sent = 0;
	while (sent < n) {
		ssize_t some = send(fd, p + sent, n - sent, MSG_NOSIGNAL);
		if (some < 0 && errno == EINTR)
			continue;
		if (some < 0)
			return errno == EAGAIN ? (ssize_t)sent : -1;
		sent += some;
	}
	return sent;
}

// finish does what a session asks for once its output is sent.
static void finish(struct loop *l, int fd, struct connection *c, enum next next) {
	if (next == CLOSE || (next == FAIL && shutdown(fd, SHUT_WR))) {
		end_connection(fd, c);
		return;
	}
	if (next != FAIL)
		return;
	if (l->ending_count == l->ending_room) {
		l->ending_room = l->ending_room ? 2 * l->ending_room : 64;
		if (!(l->endings = realloc(l->endings, l->ending_room * sizeof *l->endings)))
			fail("realloc", errno);
	}
	l->endings[l->ending_count++] = (struct ending){fd, now_ms() + LINGER_MS};
}

// keep puts output that the kernel has not taken behind what waits already: the socket is then
// watched for being writable, and not read from.
static void keep(struct loop *l, int fd, struct connection *c, const uint8_t *p, size_t n) {
	if (!c->backlog) {
		if (!(c->backlog = calloc(1, sizeof *c->backlog)))
			fail("calloc", errno);
		control(l->poll, EPOLL_CTL_MOD, fd, EPOLLOUT);
	}
	append(&c->backlog->unsent, p, n);
}

// answer feeds the session, sends what it says, and keeps what cannot be sent.
static void answer(struct loop *l, int fd, struct connection *c, uint8_t *in, size_t n) {
	bool was_upgraded = c->session.upgraded, was_blocked = c->backlog;
	l->out.n = 0;
	enum next next = feed(&c->session, in, n, &l->out, &rules);
	if (c->session.upgraded && !was_upgraded)
		atomic_fetch_add(&connections, 1);
	ssize_t sent = send_bytes(fd, l->out.at, l->out.n);
	if (sent < 0) {
		end_connection(fd, c);
		return;
	}
	if ((size_t)sent < l->out.n || c->session.more) {
		keep(l, fd, c, l->out.at + sent, l->out.n - sent);
		c->backlog->next = next;
		return;
	}
	if (was_blocked) {
		drop_backlog(c);
		control(l->poll, EPOLL_CTL_MOD, fd, EPOLLIN);
	}
	finish(l, fd, c, next);
}

// resume sends what is unsent, and then goes on.
static void resume(struct loop *l, int fd, struct connection *c) {
	struct backlog *b = c->backlog;
	ssize_t sent = send_bytes(fd, b->unsent.at, b->unsent.n);
	if (sent < 0) {
		end_connection(fd, c);
		return;
	}
	drop_front(&b->unsent, sent);
	if (b->unsent.n)
		return;
	if (c->session.more) {
		answer(l, fd, c, NULL, 0);
		return;
	}
	enum next next = b->next;
	drop_backlog(c);
	control(l->poll, EPOLL_CTL_MOD, fd, EPOLLIN);
	finish(l, fd, c, next);
}

// hang_up resets a connection, which an event then tells.
static void hang_up(int fd) {
	struct linger none = {.l_onoff = 1};
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
	shutdown(fd, SHUT_RDWR);
}

// push sends a frame to all connections of a loop but one.
static void push(struct loop *l, const uint8_t *frame, size_t n, int except) {
	for (int fd = l - loops; fd <= l->highest; fd += options.loops) {
		struct connection *c = slot(fd);
		if (fd == except || !c->session.upgraded || ended(&c->session))
			continue;
		if (c->backlog && c->backlog->unsent.n > MOST_UNSENT) {
			hang_up(fd);
			continue;
		}
		ssize_t sent = c->backlog ? 0 : send_bytes(fd, frame, n);
		if (sent >= 0 && (size_t)sent < n) // an event tells of an error
			keep(l, fd, c, frame + sent, n - sent);
	}
}

// own is the loop of the calling thread.
static _Thread_local struct loop *own;

// publish sends a frame to all connections but its sender, which has it from feed.
static void publish(const uint8_t *frame, size_t n) {
	for (struct loop *l = loops; l < loops + options.loops; l++) {
		if (l == own)
			continue;
		pthread_mutex_lock(&l->lock);
		if (!l->posted.n)
			eventfd_write(l->wake, 1);
		append(&l->posted, &n, sizeof n);
		append(&l->posted, frame, n);
		pthread_mutex_unlock(&l->lock);
	}
	push(own, frame, n, own->sender);
}

// deliver sends what other loops have posted.
static void deliver(struct loop *l) {
	eventfd_t count;
	eventfd_read(l->wake, &count);
	pthread_mutex_lock(&l->lock);
	struct bytes posted = l->posted;
	l->posted = (struct bytes){0};
	pthread_mutex_unlock(&l->lock);
	for (size_t at = 0, n; at < posted.n; at += n) {
		memcpy(&n, posted.at + at, sizeof n);
		at += sizeof n;
		push(l, posted.at + at, n, -1);
	}
	free_bytes(&posted);
}

static void handle(struct loop *l, int fd) {
	struct connection *c = slot(fd);
	l->sender = fd;
	l->highest = fd > l->highest ? fd : l->highest;
	if (c->backlog) {
		resume(l, fd, c);
		return;
	}
	ssize_t n = read(fd, l->in, sizeof l->in);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		end_connection(fd, c);
	else
		answer(l, fd, c, l->in, n);
}

// timeout is that of the next epoll_wait: none unless something is to be done at a time.
static int timeout(const struct loop *l) {
	int64_t next = l->accept_again;
	if (l->ending_count && (!next || l->endings[0].at < next))
		next = l->endings[0].at;
	if (!next)
		return -1;
	int64_t left = next - now_ms();
	return left < 0 ? 0 : left + 1;
}

// expire does what was to be done by now.
static void expire(struct loop *l) {
	if (!l->ending_count && !l->accept_again)
		return;
	int64_t now = now_ms();
	size_t done = 0;
	while (done < l->ending_count && l->endings[done].at <= now) {
		int fd = l->endings[done++].fd;
		struct connection *c = slot(fd);
		if (ended(&c->session)) // else the peer has closed, and it may be another connection
			end_connection(fd, c);
	}
	l->ending_count -= done;
	if (done && l->ending_count)
		memmove(l->endings, l->endings + done, l->ending_count * sizeof *l->endings);
	if (l->accept_again && l->accept_again <= now)
		watch_listeners(l);
}

static bool is_listener(int fd) {
	for (int i = 0; i < options.listeners; i++)
		if (listeners[i] == fd)
			return true;
	return false;
}

void run_loop(int number) {
	struct loop *l = own = &loops[number];
	struct epoll_event events[EVENTS];
	for (;;) {
		int n = epoll_wait(l->poll, events, EVENTS, timeout(l));
		if (n < 0 && errno != EINTR)
			fail("epoll_wait", errno);
		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;
			if (is_listener(fd))
				accept_some(l, fd);
			else if (fd == l->wake)
				deliver(l);
			else if (fd == questions)
				answer_question(fd);
			else
				handle(l, fd);
		}
		expire(l);
	}
}

static void join_broadcast(struct loop *l) {
	l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->wake < 0 || control(l->poll, EPOLL_CTL_ADD, l->wake, EPOLLIN))
		fail("eventfd", errno);
	pthread_mutex_init(&l->lock, NULL);
}

void make_loops(const struct options *o, const int fds[]) {
	options = *o;
	rules = (struct rules){options.max_message, options.work_us, options.bytes, options.broadcast ? publish : NULL};
	memcpy(listeners, fds, options.listeners * sizeof *fds);
	if (!(loops = calloc(options.loops, sizeof *loops)))
		fail("calloc", errno);
	for (int i = 0; i < options.loops; i++) {
		if ((loops[i].poll = epoll_create1(EPOLL_CLOEXEC)) < 0)
			fail("epoll_create1", errno);
		loops[i].wake = -1;
		if (options.broadcast)
			join_broadcast(&loops[i]);
		watch_listeners(&loops[i]);
	}
}

void ask_loop(int fd, void (*answer)(int fd)) {
	questions = fd, answer_question = answer;
	if (control(loops[0].poll, EPOLL_CTL_ADD, fd, EPOLLIN))
		fail("epoll_ctl", errno);
}
