// Package listener opens the listening sockets of all Go variants alike: no
// Multipath TCP, no TCP keepalive, TCP_NODELAY on, the backlog that is asked for.
package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// RetryPause is how long accepting rests when descriptors or kernel memory have
// run out. The connection that could not be accepted stays in the backlog, so
// that a readiness loop would spin.
const RetryPause = 100 * time.Millisecond

// Listen listens on each address by package net, for servers that are built on
// it. Accept of these listeners rests instead of failing for want of
// descriptors. After an error those that listen already are left to the end of
// the process, which is near.
func Listen(addresses []string, backlog int) ([]net.Listener, error) {
	bare, err := ListenBare(addresses, backlog)
	listeners := make([]net.Listener, len(bare))
	for i, l := range bare {
		listeners[i] = patient{l.(*net.TCPListener)}
	}
	return listeners, err
}

// ListenBare is Listen without the rest when descriptors run out, for libraries that take
// package net's own listeners alone.
func ListenBare(addresses []string, backlog int) (listeners []net.Listener, err error) {
	for _, address := range addresses {
		l, err := listen(address, backlog)
		if err != nil {
			return nil, err
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

// Addresses are the addresses that the listeners listen on.
func Addresses(listeners []net.Listener) []string {
	addresses := make([]string, len(listeners))
	for i, l := range listeners {
		addresses[i] = l.Addr().String()
	}
	return addresses
}

func listen(address string, backlog int) (*net.TCPListener, error) {
	// KeepAlive: negative turns it off for accepted connections.
	config := net.ListenConfig{KeepAlive: -1}
	// Go listens on Multipath TCP sockets where the kernel can; raw sockets and
	// the libraries' own do not.
	config.SetMultipathTCP(false)
	l, err := config.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, err
	}
	tcp := l.(*net.TCPListener)
	if err := control(tcp, func(fd int) error {
		// Sockets inherit TCP_NODELAY from their listener in Linux. Package net
		// sets it anew for each; raw ones are spared the call.
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			return fmt.Errorf("set TCP_NODELAY on %s: %w", address, err)
		}
		return SetBacklog(fd, backlog)
	}); err != nil {
		tcp.Close()
		return nil, err
	}
	return tcp, nil
}

// SetBacklog sets the length of the accept queue of a socket that listens
// already: a second listen(2) does that, and nothing else. Package net and gnet
// offer no way to choose it.
func SetBacklog(fd, backlog int) error {
	if err := unix.Listen(fd, backlog); err != nil {
		return fmt.Errorf("listen with backlog %d: %w", backlog, err)
	}
	return nil
}

// portTries is how often ports are chosen before it is given up.
const portTries = 10

// OnFreePorts calls start with addresses in which port 0 is replaced by ports that are
// free, for servers whose library cannot say which port it got. Others may take a
// port before start listens on it; then start is called again, with other ports.
func OnFreePorts(addresses []string, start func(addresses []string) error) error {
	for try := 1; ; try++ {
		chosen, err := choosePorts(addresses)
		if err != nil {
			return err
		}
		err = start(chosen)
		if !errors.Is(err, unix.EADDRINUSE) || slices.Equal(chosen, addresses) || try == portTries {
			return err
		}
	}
}

// choosePorts replaces port 0 in addresses by ports that are free.
func choosePorts(addresses []string) ([]string, error) {
	chosen := make([]string, len(addresses))
	for i, address := range addresses {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		// All are held until each has its own.
		l, err := listen(address, 1)
		if err != nil {
			return nil, err
		}
		defer l.Close()
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			return nil, err
		}
		chosen[i] = net.JoinHostPort(host, port)
	}
	return chosen, nil
}

func control(l syscall.Conn, do func(fd int) error) error {
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = do(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// OutOfResources reports whether an error of accept(2) means that descriptors or
// kernel memory have run out: to be waited out, not to be given up on. It says so
// on standard error the first time, as evidence of what limited the server.
func OutOfResources(err error) bool {
	for _, errno := range []syscall.Errno{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM} {
		if errors.Is(err, errno) {
			sayOnce.Do(func() { fmt.Fprintf(os.Stderr, "accept: %v: resting until there is room\n", errno) })
			return true
		}
	}
	return false
}

var sayOnce sync.Once

// patient is a listener that rests when accept runs out of descriptors. Without
// it nbio would spin.
type patient struct{ *net.TCPListener }

func (l patient) Accept() (net.Conn, error) {
	for {
		c, err := l.TCPListener.Accept()
		if err == nil || !OutOfResources(err) {
			return c, err
		}
		time.Sleep(RetryPause)
	}
}

// LingerTime is how long a connection that has failed is kept for the peer to
// read why.
const LingerTime = time.Second

// Linger closes c so that the peer can still read what was sent last. A plain
// close with unread data resets the connection, and a reset may overtake the
// close frame (RFC 9293 section 3.6.1; RFC 6455 section 7.1.1).
func Linger(c net.Conn) {
	if secure, ok := c.(*tls.Conn); ok {
		secure.CloseWrite()
		c = secure.NetConn()
	}
	defer c.Close()
	if tcp, ok := c.(*net.TCPConn); ok && tcp.CloseWrite() == nil && tcp.SetReadDeadline(time.Now().Add(LingerTime)) == nil {
		discard(tcp)
	}
}

// Reset ends a connection at once: what is unsent is dropped, and the peer gets RST.
func Reset(c net.Conn) {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	switch tcp := c.(type) {
	case *net.TCPConn:
		tcp.SetLinger(0)
		tcp.Close()
	case lingeringConn:
		tcp.SetLinger(0)
		tcp.TCPConn.Close()
	default:
		c.Close()
	}
}

func discard(c net.Conn) {
	var scrap [512]byte
	for {
		if _, err := c.Read(scrap[:]); err != nil {
			return
		}
	}
}

// Lingering makes the connections of listeners linger when they are closed, for libraries
// that close right after they have said why.
func Lingering(listeners []net.Listener) []net.Listener {
	wrapped := make([]net.Listener, len(listeners))
	for i, l := range listeners {
		wrapped[i] = lingering{l}
	}
	return wrapped
}

type lingering struct{ net.Listener }

func (l lingering) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok {
		c = lingeringConn{tcp}
	}
	return c, err
}

type lingeringConn struct{ *net.TCPConn }

func (c lingeringConn) Close() error {
	Linger(c.TCPConn)
	return nil
}
