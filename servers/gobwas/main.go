// Command gobwas is a WebSocket echo server with a goroutine for each connection, on raw
// TCP and gobwas/ws: no net/http, and no buffer while a connection is idle.
//
// A goroutine waits in the runtime's poller without a buffer (syscall.RawConn), and takes one
// from a pool only when there is something to read.
package main

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"connbench/servers/contract"
	"connbench/servers/internal/audience"
	"connbench/servers/internal/lifecycle"
	"connbench/servers/internal/listener"
	"connbench/servers/internal/session"
)

// readBytes is the most that is read at once.
const readBytes = 16 << 10

func main() {
	lifecycle.Main(start, contract.CompressionDeflate)
}

func start(o contract.Options) (lifecycle.Server, error) {
	listeners, err := listener.Listen(o.Listen, o.Backlog)
	if err != nil {
		return lifecycle.Server{}, err
	}
	addresses := listener.Addresses(listeners)
	if o.TLS != "" {
		listeners = waiting(listeners)
	}
	if listeners, err = listener.Secure(listeners, o.TLS); err != nil {
		return lifecycle.Server{}, err
	}
	s := &server{rules: session.RulesOf(o)}
	if o.Broadcast {
		s.audience = new(audience.Audience[[]byte])
	}
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- s.accept(l) }()
	}
	return lifecycle.Server{
		Addresses:   addresses,
		Connections: s.open.Load,
		Failed:      failed,
	}, nil
}

type server struct {
	rules session.Rules
	open  atomic.Int64
	// audience is nil unless messages go to all connections. What is published are frames.
	audience *audience.Audience[[]byte]
}

func (s *server) accept(l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		if secure, ok := c.(*tls.Conn); ok {
			go s.shakeHands(secure)
		} else {
			go s.serve(c)
		}
	}
}

// shakeHands leaves the connection to another goroutine, whose stack has not grown with the
// handshake.
func (s *server) shakeHands(c *tls.Conn) {
	if err := c.Handshake(); err != nil {
		c.Close()
		return
	}
	go s.serve(c)
}

// serve is the life of a connection.
func (s *server) serve(c net.Conn) {
	state := connection{Conn: c}
	if err := state.prepare(); err != nil {
		c.Close()
		return
	}
	err := s.untilEnd(&state)
	state.member.Leave()
	if state.session.Upgraded() {
		s.open.Add(-1)
	}
	state.session.Release()
	if errors.Is(err, errFailed) {
		state.linger()
		return
	}
	c.Close()
}

// connection is what is kept of one, besides the stack of its goroutine.
type connection struct {
	net.Conn
	raw     syscall.RawConn
	session session.Session
	secure  *waiter                  // below TLS; nil without
	member  *audience.Member[[]byte] // nil unless messages go to all
	// read is tryToRead, which has taken buffers and read into them, or failed.
	read    func(fd uintptr) bool
	buffers *buffers
	err     error
}

// buffers are what a connection needs while it is handled.
type buffers struct {
	in  [readBytes]byte
	n   int // of in is filled
	out []byte
}

var pool = sync.Pool{New: func() any { return new(buffers) }}

// pooledBytes is the largest output buffer that goes back into the pool: a few large
// messages must not pin memory for good.
const pooledBytes = 128 << 10

// tryToRead is false where there is nothing to read: the goroutine then waits, without a
// buffer.
func (c *connection) tryToRead(fd uintptr) bool {
	c.buffers = pool.Get().(*buffers)
	for {
		c.buffers.n, c.err = unix.Read(int(fd), c.buffers.in[:])
		if c.err != unix.EINTR {
			break
		}
	}
	if c.err == unix.EAGAIN {
		c.release()
		return false
	}
	return true
}

// prepare makes ready to wait for what comes.
func (c *connection) prepare() (err error) {
	if secure, ok := c.Conn.(*tls.Conn); ok {
		c.secure = secure.NetConn().(*waiter)
		c.raw, c.read = c.secure.raw, c.tryToDecrypt
		return nil
	}
	c.raw, err = c.Conn.(*net.TCPConn).SyscallConn()
	c.read = c.tryToRead
	return err
}

// linger closes c so that the peer can still read what was sent last.
func (c *connection) linger() {
	if c.secure != nil {
		c.Conn.(*tls.Conn).CloseWrite()
	}
	listener.Linger(c.bare())
}

// bare is c without TLS.
func (c *connection) bare() net.Conn {
	if c.secure != nil {
		return c.secure.TCPConn
	}
	return c.Conn
}

func (c *connection) release() {
	if cap(c.buffers.out) > pooledBytes {
		c.buffers.out = nil
	}
	pool.Put(c.buffers)
	c.buffers = nil
}

// errFailed is the end of a connection whose peer has broken the rules.
var errFailed = errors.New("the peer has broken the rules")

func (s *server) untilEnd(c *connection) error {
	for {
		if err := c.raw.Read(c.read); err != nil {
			return err
		}
		err := s.answer(c)
		c.release()
		if err != nil {
			return err
		}
	}
}

// join makes c one of those that messages go to, if they go to all. Writes by two goroutines do not
// mix.
func (s *server) join(c *connection) {
	if s.audience == nil {
		return
	}
	c.member = s.audience.Join(
		func(frame []byte) error { _, err := c.Write(frame); return err },
		func() { listener.Reset(c.bare()) },
	)
}

// answer answers what has been read. Writing waits for a peer that does not read, and
// nobody else.
func (s *server) answer(c *connection) error {
	if c.err != nil {
		return c.err
	}
	if c.buffers.n == 0 {
		return io.EOF
	}
	rules := s.rules
	if s.audience != nil {
		rules.Publish = func(frame []byte) { s.audience.PublishToOthers(c.member, frame, len(frame)) }
	}
	for in := c.buffers.in[:c.buffers.n]; len(in) > 0; {
		wasUpgraded := c.session.Upgraded()
		var next session.Next
		in, c.buffers.out, next = c.session.Feed(in, c.buffers.out[:0], rules)
		if next != session.Continue {
			c.member.Leave() // nothing follows a close frame
		}
		_, err := c.Write(c.buffers.out)
		if c.session.Upgraded() != wasUpgraded {
			s.join(c)
			s.open.Add(1)
		}
		if err != nil {
			return err
		}
		switch next {
		case session.Close:
			return io.EOF
		case session.Fail:
			return errFailed
		}
	}
	return nil
}
