#include "session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "contract.h"
#include "opening.h"

enum phase { HANDSHAKING, OPEN, OVER };
enum opcode { CONTINUATION, TEXT, BINARY, CLOSING = 8, PING, PONG };
enum code { PROTOCOL_ERROR = 1002, NOT_UTF8 = 1007, TOO_BIG = 1009 };

// FRAMES_PER_TURN is the most that are handled at once, so that a peer that sends many small
// frames does not keep its loop from others.
enum { FRAMES_PER_TURN = 64 };

// partial is what is unfinished.
struct partial {
	struct bytes raw;     // a request or a frame so far, as it came
	struct bytes message; // the unmasked fragments of a message so far
	uint8_t op;           // the opcode of that message, 0 for none
};

void append(struct bytes *b, const void *data, size_t n) {
	if (b->n + n > b->room) {
		b->room = b->n + n > 2 * b->room ? b->n + n : 2 * b->room;
		if (!(b->at = realloc(b->at, b->room)))
			fail("realloc", errno);
	}
	if (n)
		memcpy(b->at + b->n, data, n);
	b->n += n;
}

void drop_front(struct bytes *b, size_t n) {
	b->n -= n;
	if (n && b->n)
		memmove(b->at, b->at + n, b->n);
}

void free_bytes(struct bytes *b) {
	free(b->at);
	*b = (struct bytes){0};
}

static struct partial *unfinished(struct session *s) {
	if (!s->partial && !(s->partial = calloc(1, sizeof *s->partial)))
		fail("calloc", errno);
	return s->partial;
}

void release(struct session *s) {
	if (!s->partial)
		return;
	free_bytes(&s->partial->raw);
	free_bytes(&s->partial->message);
	free(s->partial);
	s->partial = NULL;
}

bool ended(const struct session *s) { return s->phase == OVER; }

// is_utf8 is table 3-7 of the Unicode standard.
static bool is_utf8(const uint8_t *p, size_t n) {
	for (const uint8_t *end = p + n; p < end;) {
		uint8_t c = *p++;
		if (c < 0x80)
			continue;
		int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
		if (c < 0xc2 || c > 0xf4 || end - p < more)
			return false;
		uint8_t low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80, high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
		if (*p < low || *p > high)
			return false;
		for (int i = 1; i < more; i++)
			if ((p[i] & 0xc0) != 0x80)
				return false;
		p += more;
	}
	return true;
}

static void put_frame(struct bytes *out, uint8_t op, const uint8_t *payload, size_t n) {
	uint8_t header[10] = {0x80 | op};
	size_t size = 2;
	if (n < 126)
		header[1] = n;
	else if (n <= 0xffff)
		header[1] = 126, header[2] = n >> 8, header[3] = n, size = 4;
	else {
		header[1] = 127, size = 10;
		for (int i = 0; i < 8; i++)
			header[2 + i] = (uint64_t)n >> (56 - 8 * i);
	}
	append(out, header, size);
	append(out, payload, n);
}

static enum next violate(struct bytes *out, unsigned code) {
	put_frame(out, CLOSING, (uint8_t[]){code >> 8, code}, 2);
	return FAIL;
}

// frame is a frame's header.
struct frame {
	bool fin;
	uint8_t op;
	uint8_t mask[4];
	size_t header;
	uint64_t length;
};

// read_frame reads a header. It returns 0 while the header is not whole, -1 for one that
// breaks the rules whatever follows, else 1.
static int read_frame(const uint8_t *p, size_t n, struct frame *f) {
	if (n < 2)
		return 0;
	f->fin = p[0] & 0x80, f->op = p[0] & 0x0f, f->length = p[1] & 0x7f;
	int wide = f->length == 126 ? 2 : f->length == 127 ? 8 : 0;
	if (p[0] & 0x70 || !(p[1] & 0x80) || (f->op > BINARY && f->op < CLOSING) || f->op > PONG)
		return -1;
	if (f->op >= CLOSING && (!f->fin || f->length > 125))
		return -1;
	f->header = 2 + wide + 4;
	if (n < f->header)
		return 0;
	if (wide)
		f->length = 0;
	for (int i = 0; i < wide; i++)
		f->length = f->length << 8 | p[2 + i];
	memcpy(f->mask, p + 2 + wide, 4);
	return f->length >> 63 ? -1 : 1;
}

static void unmask(uint8_t *p, size_t n, const uint8_t mask[4]) {
	uint64_t wide;
	uint8_t twice[8];
	memcpy(twice, mask, 4), memcpy(twice + 4, mask, 4);
	memcpy(&wide, twice, 8);
	size_t i = 0;
	for (; i + 8 <= n; i += 8) {
		uint64_t x;
		memcpy(&x, p + i, 8);
		x ^= wide;
		memcpy(p + i, &x, 8);
	}
	for (; i < n; i++)
		p[i] ^= mask[i % 4];
}

static enum next echo(uint8_t op, const uint8_t *p, size_t n, struct bytes *out, const struct rules *rules) {
	if (op == TEXT && !is_utf8(p, n))
		return violate(out, NOT_UTF8);
	use_cpu(rules->work_us);
	size_t before = out->n;
	put_frame(out, op, p, n);
	if (rules->publish)
		rules->publish(out->at + before, out->n - before);
	return CONTINUE;
}

// closing answers a close frame with its own code (RFC 6455 sections 5.5.1 and 7.4).
static enum next closing(const uint8_t *p, size_t n, struct bytes *out) {
	if (n == 0) {
		put_frame(out, CLOSING, NULL, 0);
		return CLOSE;
	}
	unsigned code = n > 1 ? p[0] << 8 | p[1] : 0;
	bool may = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
	if (!may)
		return violate(out, PROTOCOL_ERROR);
	if (!is_utf8(p + 2, n - 2))
		return violate(out, NOT_UTF8);
	put_frame(out, CLOSING, p, 2);
	return CLOSE;
}

static enum next control(uint8_t op, const uint8_t *p, size_t n, struct bytes *out) {
	if (op == CLOSING)
		return closing(p, n, out);
	if (op == PING)
		put_frame(out, PONG, p, n);
	return CONTINUE; // a pong that nobody asked for (RFC 6455 section 5.5.3)
}

// take handles a whole frame.
static enum next take(struct session *s, const struct frame *f, uint8_t *p, struct bytes *out, const struct rules *rules) {
	unmask(p, f->length, f->mask);
	if (f->op >= CLOSING)
		return control(f->op, p, f->length, out);
	if (f->fin && f->op)
		return echo(f->op, p, f->length, out, rules);
	struct partial *u = unfinished(s);
	if (f->op)
		u->op = f->op;
	append(&u->message, p, f->length);
	if (!f->fin)
		return CONTINUE;
	enum next next = echo(u->op, u->message.at, u->message.n, out, rules);
	u->op = 0;
	free_bytes(&u->message);
	return next;
}

// deserves is the close code that a header deserves, or 0. A message is too big as soon as a
// header says so.
static unsigned deserves(const struct session *s, const struct frame *f, const struct rules *rules) {
	if (f->op >= CLOSING)
		return 0;
	const struct partial *u = s->partial;
	bool within = u && u->op;
	if (within != (f->op == CONTINUATION))
		return PROTOCOL_ERROR;
	return f->length > rules->max_message - (within ? u->message.n : 0) ? TOO_BIG : 0;
}

// frames handles a turn's share of whole frames, and sets *taken to their bytes.
static enum next frames(struct session *s, uint8_t *in, size_t n, size_t *taken, struct bytes *out, const struct rules *rules) {
	*taken = 0;
	for (int turn = 0; *taken < n; turn++) {
		struct frame f;
		int whole = read_frame(in + *taken, n - *taken, &f);
		if (whole < 0)
			return violate(out, PROTOCOL_ERROR);
		if (whole == 0)
			return CONTINUE;
		unsigned code = deserves(s, &f, rules);
		if (code)
			return violate(out, code);
		if (f.length > n - *taken - f.header)
			return CONTINUE;
		if (turn == FRAMES_PER_TURN) {
			s->more = true;
			return CONTINUE;
		}
		enum next next = take(s, &f, in + *taken + f.header, out, rules);
		*taken += f.header + f.length;
		if (next != CONTINUE)
			return next;
	}
	return CONTINUE;
}

// handshake answers the request once it is whole, and sets *taken to its length.
static enum next handshake(struct session *s, const uint8_t *in, size_t n, size_t *taken, struct bytes *out) {
	char answer[MOST_ANSWER];
	size_t size, length = request_length((const char *)in, n);
	*taken = 0;
	if (length > MAX_REQUEST || (!length && n > MAX_REQUEST)) {
		size = refuse_request(431, answer);
		append(out, answer, size);
		return FAIL;
	}
	if (!length)
		return CONTINUE;
	int status = answer_request((const char *)in, length, answer, &size);
	append(out, answer, size);
	if (status != 101)
		return FAIL;
	*taken = length;
	s->phase = OPEN, s->upgraded = true;
	return CONTINUE;
}

enum next feed(struct session *s, uint8_t *in, size_t n, struct bytes *out, const struct rules *rules) {
	if (s->phase == OVER)
		return CONTINUE;
	s->more = false;
	if (rules->bytes) {
		s->upgraded = true;
		use_cpu(rules->work_us);
		append(out, in, n);
		return CONTINUE;
	}
	struct bytes *raw = NULL; // of the partial, where it holds bytes
	if (s->partial && s->partial->raw.n) {
		raw = &s->partial->raw;
		append(raw, in, n);
		in = raw->at, n = raw->n;
	}
	size_t opening = 0, taken = 0;
	enum next next = CONTINUE;
	if (s->phase == HANDSHAKING)
		next = handshake(s, in, n, &opening, out);
	if (next == CONTINUE && s->phase == OPEN)
		next = frames(s, in + opening, n - opening, &taken, out, rules);
	if (next != CONTINUE) {
		s->phase = OVER;
		release(s);
		return next;
	}
	taken += opening;
	if (raw) {
		drop_front(raw, taken);
		if (!raw->n)
			free_bytes(raw);
	} else if (taken < n)
		append(&unfinished(s)->raw, in + taken, n - taken);
	if (s->partial && !s->partial->raw.n && !s->partial->op)
		release(s);
	return CONTINUE;
}
