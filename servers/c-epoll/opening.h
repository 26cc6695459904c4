// The request that opens a WebSocket connection (RFC 6455 section 4.2.1), in every form that
// HTTP/1.1 allows (RFC 9110, RFC 9112).
#ifndef OPENING_H
#define OPENING_H

#include <stddef.h>

// MAX_REQUEST is the largest request, in bytes, with its empty line.
enum { MAX_REQUEST = 8 << 10 };

// request_length is the length of the request that data begins with, 0 while its empty line
// is missing.
size_t request_length(const char *data, size_t n);

// MOST_ANSWER is the size of an answer at most.
enum { MOST_ANSWER = 256 };

// answer_request writes the answer to a request of n bytes, and its length into size. It
// returns 101, or the status with which it refuses; the connection then ends.
int answer_request(const char *request, size_t n, char *answer, size_t *size);

// refuse_request writes the answer that refuses with a status.
size_t refuse_request(int status, char *answer);

#endif
