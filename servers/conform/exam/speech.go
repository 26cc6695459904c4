package exam

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"

	"connbench/servers/conform/frame"
	"connbench/servers/contract"
)

// Begin makes an open connection of c, in the way of the protocol: by a handshake, by a first
// request, or by first bytes.
func (c *Conn) Begin() {
	switch c.e.Program.Options.Protocol {
	case contract.ProtocolHTTP:
		c.Write("a GET", Get().Bytes())
		c.ExpectEcho(nil)
	case contract.ProtocolTCP:
		c.RoundTrip() // that the kernel has accepted says nothing of the server
	default:
		c.Upgrade()
	}
}

// Encode returns content as it is sent: as a binary message, as the content of a request, or as
// it is.
func (c *Conn) Encode(content []byte) []byte {
	switch c.e.Program.Options.Protocol {
	case contract.ProtocolHTTP:
		return append(Post(len(content)).Bytes(), content...)
	case contract.ProtocolTCP:
		return content
	}
	return frame.Encode(frame.Frame{Op: frame.OpBinary, Payload: content})
}

// ExpectEcho reads the answer to content, and fails unless it is the same.
func (c *Conn) ExpectEcho(content []byte) {
	switch c.e.Program.Options.Protocol {
	case contract.ProtocolHTTP:
		c.expectContent(content)
	case contract.ProtocolTCP:
		c.expectBytes(content)
	default:
		c.ExpectMessage(frame.OpBinary, content)
	}
}

// RoundTrip sends content that no other has sent and expects it back.
func (c *Conn) RoundTrip() {
	content := fmt.Appendf(nil, "round trip %d", trips.Add(1))
	c.Write("a message", c.Encode(content))
	c.ExpectEcho(content)
}

var trips atomic.Uint64

// expectContent reads a response with status 200 and that content.
func (c *Conn) expectContent(content []byte) {
	const section = "RFC 9110 section 15.3.1 and the contract"
	expected := fmt.Sprintf("status 200 with the same %d bytes", len(content))
	response, err := c.Response()
	if err != nil {
		c.Got(Describe(err), expected, section)
	}
	got, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		c.Got(Describe(err), expected, section)
	case response.StatusCode != http.StatusOK:
		c.Got("status "+response.Status, expected, section)
	case !bytes.Equal(got, content):
		c.Got(difference(got, content), expected, section)
	}
}

// expectBytes reads as many bytes as content has.
func (c *Conn) expectBytes(content []byte) {
	got := make([]byte, len(content))
	n, err := io.ReadFull(c.r, got)
	expected := fmt.Sprintf("the same %d bytes", len(content))
	switch {
	case err != nil:
		c.Got(fmt.Sprintf("%d bytes and then %s", n, Describe(err)), expected, "the contract")
	case !bytes.Equal(got, content):
		c.Got(difference(got, content), expected, "the contract")
	}
}

// Get is a request that every HTTP server must answer.
func Get() Request {
	return Request{Line: "GET / HTTP/1.1", Fields: []string{"Host: 127.0.0.1"}}
}

// Post is one with n bytes of content, which follow it.
func Post(n int) Request {
	return Get().To("POST / HTTP/1.1").And("Content-Type: application/octet-stream").And(fmt.Sprintf("Content-Length: %d", n))
}
