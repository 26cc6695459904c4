package exam

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Request is an opening handshake (RFC 6455 section 4.1), right or wrong.
type Request struct {
	Line   string
	Fields []string
}

// ExampleKey is the key of RFC 6455 section 1.3.
const ExampleKey = "dGhlIHNhbXBsZSBub25jZQ=="

// Handshake is a request that every server must accept.
func Handshake() Request {
	return Request{
		Line: "GET / HTTP/1.1",
		Fields: []string{
			"Host: 127.0.0.1",
			"Upgrade: websocket",
			"Connection: Upgrade",
			"Sec-WebSocket-Key: " + ExampleKey,
			"Sec-WebSocket-Version: 13",
		},
	}
}

// With returns the request with field in place of that of the same name, or
// after the others.
func (r Request) With(field string) Request {
	name, _, _ := strings.Cut(field, ":")
	r = r.Without(name)
	r.Fields = append(r.Fields, field)
	return r
}

// Without returns the request without the field of that name.
func (r Request) Without(name string) Request {
	var fields []string
	for _, field := range r.Fields {
		if n, _, _ := strings.Cut(field, ":"); n != name {
			fields = append(fields, field)
		}
	}
	r.Fields = fields
	return r
}

// And returns the request with field after the others, whatever they are.
func (r Request) And(field string) Request {
	r.Fields = append(slices.Clone(r.Fields), field)
	return r
}

// To returns the request with another request line.
func (r Request) To(line string) Request {
	r.Line = line
	return r
}

// Bytes are the request as it is sent.
func (r Request) Bytes() []byte {
	return []byte(r.Line + "\r\n" + strings.Join(r.Fields, "\r\n") + "\r\n\r\n")
}

// Padded returns the request with a field that makes it n bytes long.
func (r Request) Padded(n int) Request {
	const field = "X-Padding: "
	return r.And(field + strings.Repeat("p", n-len(r.Bytes())-len(field)-len("\r\n")))
}

// AcceptOf is the answer to a key (RFC 6455 section 4.2.2, item 5.4).
func AcceptOf(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Upgrade makes a WebSocket connection of c.
func (c *Conn) Upgrade() {
	c.Write("a handshake", Handshake().Bytes())
	c.ExpectUpgrade()
}

// ExpectUpgrade reads the response to a handshake and fails unless the server
// switches protocols.
func (c *Conn) ExpectUpgrade() *http.Response {
	const section = "RFC 6455 section 4.2.2"
	response, err := c.Response()
	if err != nil {
		c.Got(Describe(err), "status 101", section)
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		c.Got("status "+response.Status, "status 101", section)
	}
	return response
}

// ExpectRefusal reads the response to a handshake that must be refused: by a status
// from 400 to 599, or by the end of the connection, for which it returns nil.
func (c *Conn) ExpectRefusal(section string) *http.Response {
	const expected = "a refusal with status 4xx or 5xx, or the end of the connection"
	response, err := c.Response()
	switch {
	case err == nil && response.StatusCode < 400:
		c.Got("status "+response.Status, expected, section)
	case err != nil && !Ended(err):
		c.Got(Describe(err), expected, section)
	}
	return response
}

// ExpectUpgradeOrRefusal is for what a server may take and may refuse. It says which.
func (c *Conn) ExpectUpgradeOrRefusal(section string) (upgraded bool) {
	const expected = "status 101, a refusal with status 4xx or 5xx, or the end of the connection"
	response, err := c.Response()
	switch {
	case err != nil && !Ended(err):
		c.Got(Describe(err), expected, section)
	case err == nil && response.StatusCode != http.StatusSwitchingProtocols && response.StatusCode < 400:
		c.Got("status "+response.Status, expected, section)
	}
	return err == nil && response.StatusCode == http.StatusSwitchingProtocols
}

// Response reads the head of an HTTP response.
func (c *Conn) Response() (*http.Response, error) {
	return http.ReadResponse(c.r, nil)
}

// Tokens are the elements of a comma-separated header field, in lower case.
func Tokens(header http.Header, name string) []string {
	var list []string
	for _, value := range header.Values(name) {
		for token := range strings.SplitSeq(value, ",") {
			list = append(list, strings.ToLower(strings.TrimSpace(token)))
		}
	}
	return list
}

// QuoteField quotes a header field for the sentence of a failure.
func QuoteField(header http.Header, name string) string {
	values := header.Values(name)
	if len(values) == 0 {
		return "no " + name
	}
	return fmt.Sprintf("%s: %s", name, strings.Join(values, ", "))
}
