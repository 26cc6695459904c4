package exam

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"connbench/servers/conform/frame"
	"connbench/servers/contract/certificate"
)

// Conn is a client's connection, with which a check can do what no client
// library would let it do.
type Conn struct {
	e   *Exam
	TCP *net.TCPConn
	r   *bufio.Reader
	// secure is TLS over the connection, once a byte has been asked for or sent.
	secure *tls.Conn
	// Deflate says that compression was agreed on: messages may have RSV1.
	Deflate bool
	// Sent says what was sent last, for the sentence of a failure.
	Sent string
	// Patience is how long the connection waits for an answer: [Patience], unless a
	// check asks for more work than most.
	Patience time.Duration
}

// Connect opens a TCP connection to the server's first address.
func (s *Server) Connect() *Conn { return s.ConnectTo(s.Addresses[0], &net.Dialer{}) }

// ConnectSmall opens a TCP connection with a small receive buffer, so that most of what is on its
// way to a peer that does not read is the server's.
func (s *Server) ConnectSmall() *Conn {
	return s.ConnectTo(s.Addresses[0], &net.Dialer{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		failed := raw.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 64<<10)
		})
		return errors.Join(failed, err)
	}})
}

// ConnectTo opens a TCP connection to one of the server's addresses by dialer.
func (s *Server) ConnectTo(address string, dialer *net.Dialer) *Conn {
	dialer.Timeout = Patience
	tcp, err := dialer.DialContext(s.e.Ctx, "tcp", address)
	if err != nil {
		s.e.Fail("expected %s to accept a connection, got: %s", address, Describe(err))
	}
	c := &Conn{e: s.e, TCP: tcp.(*net.TCPConn), Sent: "nothing", Patience: Patience}
	c.r = bufio.NewReader(c.Bytes())
	s.e.conns = append(s.e.conns, c)
	return c
}

// Stream carries the bytes: the TCP connection, or TLS over it, which the first call begins.
func (c *Conn) Stream() net.Conn {
	if !c.e.Program.Secure {
		return c.TCP
	}
	if c.secure == nil {
		c.secure = c.shake()
	}
	return c.secure
}

// shake puts TLS over the connection.
func (c *Conn) shake() *tls.Conn {
	secure := tls.Client(c.TCP, &tls.Config{RootCAs: c.e.Program.roots, ServerName: certificate.ServerName, MinVersion: tls.VersionTLS13})
	c.TCP.SetDeadline(time.Now().Add(c.Patience))
	if err := secure.Handshake(); err != nil {
		c.e.Fail("began TLS 1.3, expected the server to shake hands with the certificate of --tls (RFC 8446 section 2), got %s", Describe(Patient{c}.explain(err)))
	}
	c.TCP.SetDeadline(time.Time{})
	return secure
}

// CloseWrite ends this side's half of the connection.
func (c *Conn) CloseWrite() {
	if c.secure != nil {
		c.secure.CloseWrite()
	}
	c.TCP.CloseWrite()
}

// Open opens a connection to the server's first address, and begins it.
func (s *Server) Open() *Conn {
	c := s.Connect()
	c.Begin()
	return c
}

// OpenSome opens n of them.
func (s *Server) OpenSome(n int) []*Conn {
	conns := make([]*Conn, n)
	for i := range conns {
		conns[i] = s.Open()
	}
	return conns
}

// Write sends b in one segment, if the kernel can, and keeps in mind what it is.
// A server may end the connection before it has taken all of it: then what it
// had to say is still there to be read, and says whether that was right.
func (c *Conn) Write(what string, b []byte) {
	c.Sent = what
	if _, err := c.Bytes().Write(b); err != nil && !Ended(err) {
		c.e.Fail("sent %s, expected the server to take it, got %s", what, Describe(err))
	}
}

// Patient is a connection's bytes. Reads and writes fail when nothing has come or gone for
// the connection's patience, and say so.
type Patient struct{ c *Conn }

// Bytes returns the connection's bytes.
func (c *Conn) Bytes() Patient { return Patient{c} }

// Read reads from the connection and waits no longer than its patience.
func (p Patient) Read(b []byte) (int, error) {
	stream := p.c.Stream()
	stream.SetReadDeadline(time.Now().Add(p.c.Patience))
	n, err := stream.Read(b)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF // without close_notify, which nobody waits for after WebSocket's own close
	}
	return n, p.explain(err)
}

// Write writes to the connection and waits, for each part that the peer takes, no longer
// than its patience.
func (p Patient) Write(b []byte) (written int, err error) {
	stream := p.c.Stream()
	for piece := range slices.Chunk(b, 1<<20) {
		stream.SetWriteDeadline(time.Now().Add(p.c.Patience))
		n, err := stream.Write(piece)
		written += n
		if err != nil {
			return written, p.explain(err)
		}
	}
	return written, nil
}

// explain returns err, or for a deadline how long it was.
func (p Patient) explain(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return silence(p.c.Patience)
	}
	return err
}

// silence is the error when nothing has come or gone for so long.
type silence time.Duration

func (s silence) Error() string { return fmt.Sprintf("nothing for %v", time.Duration(s)) }

// Is makes a silence an error of a deadline.
func (s silence) Is(target error) bool { return target == os.ErrDeadlineExceeded }

// Send sends frames in one segment.
func (c *Conn) Send(what string, frames ...frame.Frame) { c.Write(what, frame.Encode(frames...)) }

// Got fails the check: something else came than what was expected.
func (c *Conn) Got(what, expected, section string) {
	c.e.Fail("sent %s, expected %s (%s), got %s", c.Sent, expected, section, what)
}

// TryFrame reads the next frame.
func (c *Conn) TryFrame() (frame.Frame, error) {
	return frame.ReadFrame(c.r, c.Deflate)
}

// frame reads the next frame and fails if none comes.
func (c *Conn) frame(expected, section string) frame.Frame {
	f, err := c.TryFrame()
	if err != nil {
		c.Got(Describe(err), expected, section)
	}
	return f
}

// ExpectMessage reads one message, whole or in fragments, and fails unless it
// is the echo of one of type op with that payload.
func (c *Conn) ExpectMessage(op frame.Opcode, payload []byte) {
	const section = "RFC 6455 section 5.6 and the contract"
	expected := fmt.Sprintf("its echo, a %s message of %d bytes", op, len(payload))
	f := c.frame(expected, section)
	if f.Op != op {
		c.Got(f.String(), expected, section)
	}
	message := f.Payload
	for f.More {
		f = c.frame("the rest of "+expected, section)
		if f.Op != frame.OpContinuation {
			c.Got(f.String(), "the rest of "+expected, section)
		}
		message = append(message, f.Payload...)
	}
	if !bytes.Equal(message, payload) {
		c.Got(difference(message, payload), expected, section)
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

// ExpectPong reads a pong with that payload.
func (c *Conn) ExpectPong(payload []byte) {
	const section = "RFC 6455 section 5.5.3"
	expected := fmt.Sprintf("a pong frame with the same %d bytes", len(payload))
	if f := c.frame(expected, section); f.Op != frame.OpPong || !bytes.Equal(f.Payload, payload) {
		c.Got(f.String(), expected, section)
	}
}

// NoCode stands for a close frame that has no code.
const NoCode uint16 = 0

// ExpectClose reads a close frame with one of codes, answers it as a client
// must, and waits for the end of the connection. The server may reset it then:
// it owes nothing to a peer that broke the protocol (RFC 6455 section 7.1.7).
func (c *Conn) ExpectClose(section string, codes ...uint16) {
	c.ExpectCloseFrame(section, codes...)
	c.Bytes().Write(frame.Encode(frame.Frame{Op: frame.OpClose})) // the server may be gone already
	c.ExpectEnd("after the close frame", section)
}

// ExpectCloseAnswer reads the answer to a close frame that was sent, with one
// of codes, and then the end of the connection, which the server owes at once
// and without a reset (RFC 6455 sections 5.5.1 and 7.1.1).
func (c *Conn) ExpectCloseAnswer(codes ...uint16) {
	const section = "RFC 6455 sections 5.5.1 and 7.1.1"
	c.ExpectCloseFrame(section, codes...)
	expected := "the end of the connection after the close frames"
	f, err := c.TryFrame()
	switch {
	case err == nil:
		c.Got(f.String(), expected, section)
	case err != io.EOF:
		c.Got(Describe(err), expected, section)
	}
}

// ExpectCloseFrame reads a close frame and fails unless it has one of codes.
func (c *Conn) ExpectCloseFrame(section string, codes ...uint16) {
	expected := "a close frame"
	for i, code := range slices.Compact(codes) {
		if i > 0 {
			expected += " or"
		}
		if code == NoCode {
			expected += " without a code"
		} else {
			expected += fmt.Sprintf(" with code %d", code)
		}
	}
	f := c.frame(expected, section)
	if f.Op != frame.OpClose || len(f.Payload) == 1 || !slices.Contains(codes, f.Code()) {
		c.Got(f.String(), expected, section)
	}
}

// ExpectPeersEnd waits for the end of a connection after this side has ended its
// half. A close frame may come first: the server owes none, and may send one.
func (c *Conn) ExpectPeersEnd(section string) {
	f, err := c.TryFrame()
	if err == nil && f.Op == frame.OpClose {
		f, err = c.TryFrame()
	}
	const expected = "the end of the connection, or a close frame and then the end"
	switch {
	case err == nil:
		c.Got(f.String(), expected, section)
	case !Ended(err):
		c.Got(Describe(err), expected, section)
	}
}

// ExpectEndOfBytes waits for the end of a connection on which nothing more may come.
func (c *Conn) ExpectEndOfBytes(section string) {
	const expected = "the end of the connection"
	_, err := c.r.ReadByte()
	switch {
	case err == nil:
		c.Got("more bytes", expected, section)
	case !Ended(err):
		c.Got(Describe(err), expected, section)
	}
}

// ExpectEnd waits for the end of the connection, orderly or by a reset.
func (c *Conn) ExpectEnd(when, section string) {
	expected := "the end of the connection"
	if when != "" {
		expected += " " + when
	}
	f, err := c.TryFrame()
	switch {
	case err == nil:
		c.Got(f.String(), expected, section)
	case !Ended(err):
		c.Got(Describe(err), expected, section)
	}
}

// Reset ends the connection with an RST segment (socket(7), SO_LINGER with a
// time of 0) and so without a word.
func (c *Conn) Reset() {
	c.TCP.SetLinger(0)
	c.TCP.Close()
}

// Ended says whether err is the end of a connection: FIN or RST.
func Ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// Describe says what came instead of bytes, or why they are no frame.
func Describe(err error) string {
	var none silence
	switch {
	case errors.As(err, &none):
		return none.Error()
	case errors.Is(err, io.EOF):
		return "the end of the connection"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the end of the connection in the middle of an answer"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "a reset of the connection"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Sprintf("nothing for %v", Patience)
	}
	return err.Error()
}
