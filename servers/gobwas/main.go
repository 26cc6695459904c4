// Command gobwas is a WebSocket echo server with a goroutine for each connection, on raw
// TCP and gobwas/ws: no net/http, and no buffer while a connection is idle.
//
// A goroutine waits in the runtime's poller without a buffer (syscall.RawConn), and takes one
// from a pool only when there is something to read.
package main

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"connbench/servers/contract"
	"connbench/servers/internal/lifecycle"
	"connbench/servers/internal/listener"
	"connbench/servers/internal/session"
)

// readBytes is the most that is read at once.
const readBytes = 16 << 10

func main() {
	lifecycle.Main(start)
}

func start(o contract.Options) (lifecycle.Server, error) {
	listeners, err := listener.Listen(o.Listen, o.Backlog)
	if err != nil {
		return lifecycle.Server{}, err
	}
	s := &server{rules: session.RulesOf(o)}
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- s.accept(l) }()
	}
	return lifecycle.Server{
		Addresses:   listener.Addresses(listeners),
		Connections: s.open.Load,
		Failed:      failed,
	}, nil
}

type server struct {
	rules session.Rules
	open  atomic.Int64
}

func (s *server) accept(l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go s.serve(c.(*net.TCPConn))
	}
}

// serve is the life of a connection.
func (s *server) serve(c *net.TCPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		c.Close()
		return
	}
	state := connection{TCPConn: c, raw: raw}
	state.read = state.tryToRead
	err = s.untilEnd(&state)
	if state.session.Upgraded() {
		s.open.Add(-1)
	}
	state.session.Release()
	if errors.Is(err, errFailed) {
		listener.Linger(c)
		return
	}
	c.Close()
}

// connection is what is kept of one, besides the stack of its goroutine.
type connection struct {
	*net.TCPConn
	raw     syscall.RawConn
	session session.Session
	// read is tryToRead, which has taken a buffer and filled it as far as n, or failed.
	read    func(fd uintptr) bool
	buffers *buffers
	n       int
	err     error
}

// buffers are what a connection needs while it is handled.
type buffers struct {
	in  [readBytes]byte
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
		c.n, c.err = unix.Read(int(fd), c.buffers.in[:])
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

// answer answers what has been read. Writing waits for a peer that does not read, and
// nobody else.
func (s *server) answer(c *connection) error {
	if c.err != nil {
		return c.err
	}
	if c.n == 0 {
		return io.EOF
	}
	for in := c.buffers.in[:c.n]; len(in) > 0; {
		wasUpgraded := c.session.Upgraded()
		var next session.Next
		in, c.buffers.out, next = c.session.Feed(in, c.buffers.out[:0], s.rules)
		if c.session.Upgraded() != wasUpgraded {
			s.open.Add(1)
		}
		if _, err := c.Write(c.buffers.out); err != nil {
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
