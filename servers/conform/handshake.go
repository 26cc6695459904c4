package conform

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// request is an opening handshake (RFC 6455 section 4.1), right or wrong.
type request struct {
	line   string
	fields []string
}

// attempt is a request and what it is, for the sentence of a failure.
type attempt struct {
	what string
	request
}

// exampleKey is the key of RFC 6455 section 1.3.
const exampleKey = "dGhlIHNhbXBsZSBub25jZQ=="

// handshake is a request that every server must accept.
func handshake() request {
	return request{
		line: "GET / HTTP/1.1",
		fields: []string{
			"Host: 127.0.0.1",
			"Upgrade: websocket",
			"Connection: Upgrade",
			"Sec-WebSocket-Key: " + exampleKey,
			"Sec-WebSocket-Version: 13",
		},
	}
}

// with returns the request with field in place of that of the same name, or
// after the others.
func (r request) with(field string) request {
	name, _, _ := strings.Cut(field, ":")
	r = r.without(name)
	r.fields = append(r.fields, field)
	return r
}

// without returns the request without the field of that name.
func (r request) without(name string) request {
	var fields []string
	for _, field := range r.fields {
		if n, _, _ := strings.Cut(field, ":"); n != name {
			fields = append(fields, field)
		}
	}
	r.fields = fields
	return r
}

// and returns the request with field after the others, whatever they are.
func (r request) and(field string) request {
	r.fields = append(slices.Clone(r.fields), field)
	return r
}

// to returns the request with another request line.
func (r request) to(line string) request {
	r.line = line
	return r
}

func (r request) bytes() []byte {
	return []byte(r.line + "\r\n" + strings.Join(r.fields, "\r\n") + "\r\n\r\n")
}

// padded returns the request with a field that makes it n bytes long.
func (r request) padded(n int) request {
	const field = "X-Padding: "
	return r.and(field + strings.Repeat("p", n-len(r.bytes())-len(field)-len("\r\n")))
}

// acceptOf is the answer to a key (RFC 6455 section 4.2.2, item 5.4).
func acceptOf(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// upgrade makes a WebSocket connection of c.
func (c *conn) upgrade() {
	c.write("a handshake", handshake().bytes())
	c.expectUpgrade()
}

// expectUpgrade reads the response to a handshake and fails unless the server
// switches protocols.
func (c *conn) expectUpgrade() *http.Response {
	const section = "RFC 6455 section 4.2.2"
	response, err := c.response()
	if err != nil {
		c.got(describe(err), "status 101", section)
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		c.got("status "+response.Status, "status 101", section)
	}
	return response
}

// expectRefusal reads the response to a handshake that must be refused: by a status
// from 400 to 599, or by the end of the connection, for which it returns nil.
func (c *conn) expectRefusal(section string) *http.Response {
	const expected = "a refusal with status 4xx or 5xx, or the end of the connection"
	response, err := c.response()
	switch {
	case err == nil && response.StatusCode < 400:
		c.got("status "+response.Status, expected, section)
	case err != nil && !ended(err):
		c.got(describe(err), expected, section)
	}
	return response
}

// expectUpgradeOrRefusal is for what a server may take and may refuse. It says which.
func (c *conn) expectUpgradeOrRefusal(section string) (upgraded bool) {
	const expected = "status 101, a refusal with status 4xx or 5xx, or the end of the connection"
	response, err := c.response()
	switch {
	case err != nil && !ended(err):
		c.got(describe(err), expected, section)
	case err == nil && response.StatusCode != http.StatusSwitchingProtocols && response.StatusCode < 400:
		c.got("status "+response.Status, expected, section)
	}
	return err == nil && response.StatusCode == http.StatusSwitchingProtocols
}

// response reads the head of an HTTP response.
func (c *conn) response() (*http.Response, error) {
	return http.ReadResponse(c.r, nil)
}

// tokens are the elements of a comma-separated header field, in lower case.
func tokens(header http.Header, name string) []string {
	var list []string
	for _, value := range header.Values(name) {
		for token := range strings.SplitSeq(value, ",") {
			list = append(list, strings.ToLower(strings.TrimSpace(token)))
		}
	}
	return list
}

func quoteField(header http.Header, name string) string {
	values := header.Values(name)
	if len(values) == 0 {
		return "no " + name
	}
	return fmt.Sprintf("%s: %s", name, strings.Join(values, ", "))
}
