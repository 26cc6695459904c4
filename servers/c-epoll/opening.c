#include "opening.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

// text is a piece of the request.
struct text {
	const char *at;
	size_t n;
};

static bool is(struct text t, const char *word) { return t.n == strlen(word) && !strncasecmp(t.at, word, t.n); }

static struct text trim(struct text t) {
	while (t.n && (t.at[0] == ' ' || t.at[0] == '\t'))
		t.at++, t.n--;
	while (t.n && (t.at[t.n - 1] == ' ' || t.at[t.n - 1] == '\t'))
		t.n--;
	return t;
}

// cut takes what stands before a separator off *rest, all of it where there is none.
static struct text cut(struct text *rest, char separator, bool *found) {
	const char *at = memchr(rest->at, separator, rest->n);
	struct text before = {rest->at, at ? (size_t)(at - rest->at) : rest->n};
	size_t taken = before.n + (at != NULL);
	rest->at += taken, rest->n -= taken;
	if (found)
		*found = at != NULL;
	return before;
}

static struct text cut_line(struct text *rest) {
	struct text line = cut(rest, '\n', NULL);
	if (line.n && line.at[line.n - 1] == '\r')
		line.n--;
	return line;
}

// leading is the length of the empty lines before the request (RFC 9112 section 2.2).
static size_t leading(const char *data, size_t n) {
	size_t i = 0;
	for (;;) {
		if (i < n && data[i] == '\n')
			i++;
		else if (i + 1 < n && data[i] == '\r' && data[i + 1] == '\n')
			i += 2;
		else
			return i;
	}
}

size_t request_length(const char *data, size_t n) {
	for (size_t i = leading(data, n); i < n; i++) {
		if (data[i] != '\n')
			continue;
		if (i + 1 < n && data[i + 1] == '\n')
			return i + 2;
		if (i + 2 < n && data[i + 1] == '\r' && data[i + 2] == '\n')
			return i + 3;
	}
	return 0;
}

static bool is_token(struct text t) { // RFC 9110 section 5.6.2
	for (size_t i = 0; i < t.n; i++)
		if (!isalnum((unsigned char)t.at[i]) && (!t.at[i] || !strchr("!#$%&'*+-.^_`|~", t.at[i])))
			return false;
	return t.n > 0;
}

static bool is_host(struct text t) { // RFC 9110 section 7.2
	for (size_t i = 0; i < t.n; i++)
		if (!isalnum((unsigned char)t.at[i]) && (!t.at[i] || !strchr("-._~%!$&'()*+,;=:[]", t.at[i])))
			return false;
	return true;
}

static bool is_target(struct text t) { // RFC 9112 sections 3.2.1 and 3.2.2
	for (size_t i = 0; i < t.n; i++) {
		unsigned char c = t.at[i];
		if (c <= ' ' || c >= 0x7f || c == '#')
			return false;
		if (c == '%' && (i + 2 >= t.n || !isxdigit((unsigned char)t.at[i + 1]) || !isxdigit((unsigned char)t.at[i + 2])))
			return false;
	}
	if (t.n && t.at[0] == '/')
		return true;
	const char *slashes = memmem(t.at, t.n, "://", 3);
	if (!slashes)
		return false;
	struct text scheme = {t.at, slashes - t.at};
	if (!is(scheme, "http") && !is(scheme, "https") && !is(scheme, "ws") && !is(scheme, "wss"))
		return false;
	size_t authority = slashes + 3 - t.at;
	return authority < t.n && t.at[authority] != '/' && t.at[authority] != '?';
}

static bool has_token(struct text list, const char *token) {
	while (list.n) {
		if (is(trim(cut(&list, ',', NULL)), token))
			return true;
	}
	return false;
}

static int letter(char c) {
	static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(base64, c) : NULL;
	return at ? at - base64 : -1;
}

static bool is_key(struct text t) { // 16 bytes in base64 (RFC 6455 section 4.1)
	if (t.n != 24 || t.at[22] != '=' || t.at[23] != '=')
		return false;
	for (int i = 0; i < 22; i++)
		if (letter(t.at[i]) < 0)
			return false;
	return true;
}

// head is what matters of a request.
struct head {
	struct text host, version, key;
	int hosts, versions, keys;
	bool connects, upgrades, coded, has_content, wrong_length;
};

static void take(struct head *h, struct text name, struct text value) {
	if (is(name, "Host"))
		h->host = value, h->hosts++;
	else if (is(name, "Connection"))
		h->connects |= has_token(value, "upgrade");
	else if (is(name, "Upgrade"))
		h->upgrades |= has_token(value, "websocket");
	else if (is(name, "Sec-WebSocket-Version"))
		h->version = value, h->versions++;
	else if (is(name, "Sec-WebSocket-Key"))
		h->key = value, h->keys++;
	else if (is(name, "Transfer-Encoding"))
		h->coded = true;
	else if (is(name, "Content-Length")) {
		h->wrong_length |= value.n == 0;
		for (size_t i = 0; i < value.n; i++) {
			h->wrong_length |= !isdigit((unsigned char)value.at[i]);
			h->has_content |= value.at[i] != '0';
		}
	}
}

static int read_line(struct text line) { // RFC 9112 section 3
	bool one, two;
	struct text method = cut(&line, ' ', &one), target = cut(&line, ' ', &two), version = line;
	if (!one || !two || !is_token(method) || version.n != 8 || memcmp(version.at, "HTTP/", 5) ||
	    !isdigit((unsigned char)version.at[5]) || version.at[6] != '.' || !isdigit((unsigned char)version.at[7]))
		return 400;
	if (version.at[5] != '1' || version.at[7] == '0')
		return 505;
	if (method.n != 3 || memcmp(method.at, "GET", 3))
		return 405;
	return is_target(target) ? 0 : 400;
}

static int read_head(struct text request, struct head *h) {
	int status = read_line(cut_line(&request));
	if (status)
		return status;
	while (request.n) {
		struct text line = cut_line(&request);
		if (line.n == 0)
			break;
		bool colon;
		struct text name = cut(&line, ':', &colon);
		if (!colon || !is_token(name))
			return 400;
		for (size_t i = 0; i < line.n; i++)
			if (((unsigned char)line.at[i] < ' ' && line.at[i] != '\t') || line.at[i] == 0x7f)
				return 400;
		take(h, name, trim(line));
	}
	if (h->hosts != 1 || !is_host(h->host) || h->wrong_length)
		return 400;
	if (h->coded || h->has_content)
		return 413;
	if (!h->connects || !h->upgrades)
		return 400;
	if (h->versions != 1 || !is(h->version, "13"))
		return 426;
	return h->keys == 1 && is_key(h->key) ? 101 : 400;
}

static uint32_t rotate(uint32_t x, int n) { return x << n | x >> (32 - n); }

// sha1 is FIPS 180-4 section 6.1, of at most 119 bytes.
static void sha1(const char *data, size_t n, uint8_t sum[20]) {
	uint8_t block[128] = {0};
	size_t blocks = n + 9 <= 64 ? 1 : 2;
	memcpy(block, data, n);
	block[n] = 0x80;
	for (int i = 0; i < 8; i++)
		block[64 * blocks - 1 - i] = (uint64_t)n * 8 >> 8 * i;
	uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
	for (const uint8_t *p = block; p < block + 64 * blocks; p += 64) {
		uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
		for (int i = 0; i < 80; i++)
			w[i] = i < 16 ? (uint32_t)p[4 * i] << 24 | p[4 * i + 1] << 16 | p[4 * i + 2] << 8 | p[4 * i + 3]
			              : rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
		for (int i = 0; i < 80; i++) {
			uint32_t f = i < 20   ? (b & c) | (~b & d)
			             : i < 40 ? b ^ c ^ d
			             : i < 60 ? (b & c) | (b & d) | (c & d)
			                      : b ^ c ^ d;
			static const uint32_t k[] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
			uint32_t t = rotate(a, 5) + f + e + k[i / 20] + w[i];
			e = d, d = c, c = rotate(b, 30), b = a, a = t;
		}
		h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
	}
	for (int i = 0; i < 20; i++)
		sum[i] = h[i / 4] >> (24 - 8 * (i % 4));
}

// accept_value is the value of Sec-WebSocket-Accept (RFC 6455 section 4.2.2).
static void accept_value(struct text key, char value[29]) {
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char joined[24 + 36 + 1];
	uint8_t sum[21] = {0};
	snprintf(joined, sizeof joined, "%.*s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", (int)key.n, key.at);
	sha1(joined, strlen(joined), sum);
	for (int i = 0; i < 7; i++) {
		uint32_t three = sum[3 * i] << 16 | sum[3 * i + 1] << 8 | sum[3 * i + 2];
		for (int j = 0; j < 4; j++)
			value[4 * i + j] = letters[three >> (18 - 6 * j) & 63];
	}
	value[27] = '=', value[28] = 0;
}

size_t refuse_request(int status, char *answer) {
	const char *reason = "Bad Request", *more = "";
	switch (status) {
	case 405:
		reason = "Method Not Allowed", more = "Allow: GET\r\n";
		break;
	case 413:
		reason = "Content Too Large";
		break;
	case 426:
		reason = "Upgrade Required";
		more = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
		break;
	case 431:
		reason = "Request Header Fields Too Large";
		break;
	case 505:
		reason = "HTTP Version Not Supported";
	}
	return snprintf(answer, MOST_ANSWER, "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Length: 0\r\n%s\r\n", status, reason, more);
}

int answer_request(const char *request, size_t n, char *answer, size_t *size) {
	struct head h = {0};
	size_t empty = leading(request, n);
	int status = read_head((struct text){request + empty, n - empty}, &h);
	if (status != 101) {
		*size = refuse_request(status, answer);
		return status;
	}
	char value[29];
	accept_value(h.key, value);
	*size = snprintf(answer, MOST_ANSWER,
	                 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", value);
	return status;
}
