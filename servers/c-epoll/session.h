// The server's side of one WebSocket connection (RFC 6455): bytes go in as they arrive, bytes
// to send come out, and nothing ever waits for the rest of a frame. It echoes every message,
// or every byte where no protocol is spoken.
#ifndef SESSION_H
#define SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// bytes grow as needed.
struct bytes {
	uint8_t *at;
	size_t n, room;
};

void append(struct bytes *, const void *, size_t);
// drop_front takes bytes off the front.
void drop_front(struct bytes *, size_t);
void free_bytes(struct bytes *);

// session is the state of one connection. All zero, it awaits a handshake.
struct session {
	struct partial *partial; // NULL whenever nothing is unfinished: in an idle connection
	uint8_t phase;
	bool upgraded;
	bool more; // whole frames wait for another turn
};

struct rules {
	size_t max_message; // bytes of payload
	long work_us;       // CPU time of each message
	bool bytes;         // no protocol is spoken
	// publish, if not NULL, takes the frame of each message that goes to all other connections.
	// It is called from within feed, which returns the sender's own copy.
	void (*publish)(const uint8_t *frame, size_t n);
};

// What to do with the connection once the output is sent: go on; close; or, since the peer
// broke the rules, send end of stream and close when the peer has, or after a while.
enum next { CONTINUE, CLOSE, FAIL };

// feed takes bytes as they arrived, which it may overwrite, and appends what is to be sent.
// If it sets more, it must be called again, with no bytes at least, after the other
// connections have had their turn.
enum next feed(struct session *, uint8_t *in, size_t n, struct bytes *out, const struct rules *);

// release gives up what is unfinished.
void release(struct session *);

// ended tells whether nothing is answered any more.
bool ended(const struct session *);

#endif
