package main

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// waiting makes the connections of listeners waiters.
func waiting(listeners []net.Listener) []net.Listener {
	wrapped := make([]net.Listener, len(listeners))
	for i, l := range listeners {
		wrapped[i] = waiters{l}
	}
	return wrapped
}

type waiters struct{ net.Listener }

func (l waiters) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	tcp := c.(*net.TCPConn)
	raw, err := tcp.SyscallConn()
	if err != nil {
		tcp.Close()
		return nil, err
	}
	return &waiter{TCPConn: tcp, raw: raw}, nil
}

// waiter is a connection below TLS. Once its descriptor is known it does not wait any more in
// Read, where crypto/tls would hold its caller's buffer: it then says that the time is over, after
// which crypto/tls can be called again.
type waiter struct {
	*net.TCPConn
	raw syscall.RawConn
	fd  int
}

func (w *waiter) Read(p []byte) (int, error) {
	if w.fd == 0 {
		return w.TCPConn.Read(p)
	}
	for {
		n, err := unix.Read(w.fd, p)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return 0, os.ErrDeadlineExceeded
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// tryToDecrypt is tryToRead over TLS, where a part of a record is nothing to read yet.
func (c *connection) tryToDecrypt(fd uintptr) bool {
	c.secure.fd = int(fd)
	c.buffers = pool.Get().(*buffers)
	c.buffers.n, c.err = c.Read(c.buffers.in[:])
	if errors.Is(c.err, os.ErrDeadlineExceeded) {
		c.release()
		return false
	}
	if c.buffers.n > 0 {
		c.err = nil // it comes again
	}
	return true
}
