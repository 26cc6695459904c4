package conform

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"time"
)

// conn is a client's connection, with which a check can do what no client
// library would let it do.
type conn struct {
	e   *exam
	tcp *net.TCPConn
	r   *bufio.Reader
	// sent says what was sent last, for the sentence of a failure.
	sent string
}

// connect opens a TCP connection to the server's first address.
func (s *server) connect() *conn { return s.connectTo(s.addresses[0], &net.Dialer{}) }

func (s *server) connectTo(address string, dialer *net.Dialer) *conn {
	dialer.Timeout = patience
	tcp, err := dialer.DialContext(s.e.ctx, "tcp", address)
	if err != nil {
		s.e.fail("expected %s to accept a connection, got: %s", address, describe(err))
	}
	c := &conn{e: s.e, tcp: tcp.(*net.TCPConn), sent: "nothing"}
	c.r = bufio.NewReader(patient{c.tcp})
	s.e.conns = append(s.e.conns, c)
	return c
}

// open opens a WebSocket connection to the server's first address.
func (s *server) open() *conn {
	c := s.connect()
	c.upgrade()
	return c
}

// openSome opens n WebSocket connections.
func (s *server) openSome(n int) []*conn {
	conns := make([]*conn, n)
	for i := range conns {
		conns[i] = s.open()
	}
	return conns
}

// write sends b in one segment, if the kernel can, and keeps in mind what it is.
// A server may end the connection before it has taken all of it: then what it
// had to say is still there to be read, and says whether that was right.
func (c *conn) write(what string, b []byte) {
	c.sent = what
	if _, err := (patient{c.tcp}).Write(b); err != nil && !ended(err) {
		c.e.fail("sent %s, expected the server to take it, got %s", what, describe(err))
	}
}

// patient is a connection whose reads and writes fail when nothing has come or gone
// for the time of patience.
type patient struct{ tcp *net.TCPConn }

func (p patient) Read(b []byte) (int, error) {
	p.tcp.SetReadDeadline(time.Now().Add(patience))
	return p.tcp.Read(b)
}

func (p patient) Write(b []byte) (written int, err error) {
	for piece := range slices.Chunk(b, 1<<20) {
		p.tcp.SetWriteDeadline(time.Now().Add(patience))
		n, err := p.tcp.Write(piece)
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// send sends frames in one segment.
func (c *conn) send(what string, frames ...frame) { c.write(what, encode(frames...)) }

// got fails the check: something else came than what was expected.
func (c *conn) got(what, expected, section string) {
	c.e.fail("sent %s, expected %s (%s), got %s", c.sent, expected, section, what)
}

// tryFrame reads the next frame.
func (c *conn) tryFrame() (frame, error) {
	return readFrame(c.r)
}

// frame reads the next frame and fails if none comes.
func (c *conn) frame(expected, section string) frame {
	f, err := c.tryFrame()
	if err != nil {
		c.got(describe(err), expected, section)
	}
	return f
}

// expectMessage reads one message, whole or in fragments, and fails unless it
// is the echo of one of type op with that payload.
func (c *conn) expectMessage(op opcode, payload []byte) {
	const section = "RFC 6455 section 5.6 and the contract"
	expected := fmt.Sprintf("its echo, a %s message of %d bytes", op, len(payload))
	f := c.frame(expected, section)
	if f.op != op {
		c.got(f.String(), expected, section)
	}
	message := f.payload
	for f.more {
		f = c.frame("the rest of "+expected, section)
		if f.op != opContinuation {
			c.got(f.String(), "the rest of "+expected, section)
		}
		message = append(message, f.payload...)
	}
	if !bytes.Equal(message, payload) {
		c.got(difference(message, payload), expected, section)
	}
}

func difference(got, want []byte) string {
	if len(got) != len(want) {
		return fmt.Sprintf("a message of %d bytes", len(got))
	}
	at := 0
	for got[at] == want[at] {
		at++
	}
	return fmt.Sprintf("one of %d bytes that differs from byte %d on: %#x instead of %#x", len(got), at, got[at], want[at])
}

// expectPong reads a pong with that payload.
func (c *conn) expectPong(payload []byte) {
	const section = "RFC 6455 section 5.5.3"
	expected := fmt.Sprintf("a pong frame with the same %d bytes", len(payload))
	if f := c.frame(expected, section); f.op != opPong || !bytes.Equal(f.payload, payload) {
		c.got(f.String(), expected, section)
	}
}

// noCode stands for a close frame that has no code.
const noCode uint16 = 0

// expectClose reads a close frame with one of codes, answers it as a client
// must, and waits for the end of the connection. The server may reset it then:
// it owes nothing to a peer that broke the protocol (RFC 6455 section 7.1.7).
func (c *conn) expectClose(section string, codes ...uint16) {
	c.expectCloseFrame(section, codes...)
	c.tcp.SetWriteDeadline(time.Now().Add(patience))
	c.tcp.Write(encode(frame{op: opClose})) // the server may be gone already
	c.expectEnd("after the close frame", section)
}

// expectCloseAnswer reads the answer to a close frame that was sent, with one
// of codes, and then the end of the connection, which the server owes at once
// and without a reset (RFC 6455 sections 5.5.1 and 7.1.1).
func (c *conn) expectCloseAnswer(codes ...uint16) {
	const section = "RFC 6455 sections 5.5.1 and 7.1.1"
	c.expectCloseFrame(section, codes...)
	expected := "the end of the connection after the close frames"
	f, err := c.tryFrame()
	switch {
	case err == nil:
		c.got(f.String(), expected, section)
	case err != io.EOF:
		c.got(describe(err), expected, section)
	}
}

func (c *conn) expectCloseFrame(section string, codes ...uint16) {
	expected := "a close frame"
	for i, code := range slices.Compact(codes) {
		if i > 0 {
			expected += " or"
		}
		if code == noCode {
			expected += " without a code"
		} else {
			expected += fmt.Sprintf(" with code %d", code)
		}
	}
	f := c.frame(expected, section)
	if f.op != opClose || len(f.payload) == 1 || !slices.Contains(codes, f.code()) {
		c.got(f.String(), expected, section)
	}
}

// expectPeersEnd waits for the end of a connection of which this side has ended its
// half. A close frame may come first: the server owes none, and may send one.
func (c *conn) expectPeersEnd(section string) {
	f, err := c.tryFrame()
	if err == nil && f.op == opClose {
		f, err = c.tryFrame()
	}
	const expected = "the end of the connection, or a close frame and then the end"
	switch {
	case err == nil:
		c.got(f.String(), expected, section)
	case !ended(err):
		c.got(describe(err), expected, section)
	}
}

// expectEnd waits for the end of the connection, orderly or by a reset.
func (c *conn) expectEnd(when, section string) {
	expected := "the end of the connection"
	if when != "" {
		expected += " " + when
	}
	f, err := c.tryFrame()
	switch {
	case err == nil:
		c.got(f.String(), expected, section)
	case !ended(err):
		c.got(describe(err), expected, section)
	}
}

// roundTrip sends a message that no other has sent and expects it back.
func (c *conn) roundTrip() {
	payload := fmt.Appendf(nil, "round trip %d", trips.Add(1))
	c.send("a binary message", frame{op: opBinary, payload: payload})
	c.expectMessage(opBinary, payload)
}

var trips atomic.Uint64

// reset ends the connection with an RST segment (socket(7), SO_LINGER with a
// time of 0) and so without a word.
func (c *conn) reset() {
	c.tcp.SetLinger(0)
	c.tcp.Close()
}

// ended says whether err is the end of a connection: FIN or RST.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// describe says what came instead of bytes, or why they are no frame.
func describe(err error) string {
	switch {
	case errors.Is(err, io.EOF):
		return "the end of the connection"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the end of the connection in the middle of an answer"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "a reset of the connection"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Sprintf("nothing for %v", patience)
	}
	return err.Error()
}
