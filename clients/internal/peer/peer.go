// Package peer is a WebSocket server for the swarm's tests and benchmarks. It
// can misbehave in every way that the swarm has to notice. Its protocol is that
// of gobwas/ws, so that the swarm is not tested against its own ideas. For broadcasts
// over HTTP it has a handler of net/http.
package peer

import (
	"bufio"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

// Server hands each connection to a function, on a goroutine.
type Server struct {
	// Address is host:port.
	Address  string
	listener net.Listener

	handlers sync.WaitGroup
	mutex    sync.Mutex
	conns    map[net.Conn]bool // nil: closed
}

// Start serves on a free port of the host until the test ends. n numbers the
// connections from 0.
func Start(t testing.TB, host string, handle func(n int, c *Conn)) *Server {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	s := Serve(listener, handle)
	t.Cleanup(s.Close)
	return s
}

// Listen listens on a free port of the host until the test ends, for plain TCP: of
// multipath TCP, which is package net's default, filters know nothing.
func Listen(t testing.TB, host string) *net.TCPListener {
	t.Helper()
	config := net.ListenConfig{}
	config.SetMultipathTCP(false)
	listener, err := config.Listen(context.Background(), "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener.(*net.TCPListener)
}

// Filter lets a socket receive only what a program passes (socket(7),
// SO_ATTACH_FILTER), everything if there is none.
func Filter(t testing.TB, socket syscall.Conn, program ...unix.SockFilter) {
	t.Helper()
	raw, err := socket.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	failed := raw.Control(func(fd uintptr) {
		if len(program) == 0 {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
			return
		}
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	})
	if err := errors.Join(failed, err); err != nil {
		t.Fatal(err)
	}
}

// Security, if not nil, has all servers speak TLS.
var Security *tls.Config

// Serve serves until Close.
func Serve(listener net.Listener, handle func(n int, c *Conn)) *Server {
	if Security != nil {
		listener = tls.NewListener(listener, Security)
	}
	s := &Server{Address: listener.Addr().String(), listener: listener, conns: map[net.Conn]bool{}}
	s.handlers.Go(func() {
		for n := 0; ; n++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if !s.keep(conn) {
				conn.Close()
				return
			}
			s.handlers.Go(func() {
				defer s.drop(conn)
				handle(n, &Conn{Conn: conn, in: bufio.NewReaderSize(conn, 512)})
			})
		}
	})
	return s
}

func (s *Server) keep(conn net.Conn) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.conns == nil {
		return false
	}
	s.conns[conn] = true
	return true
}

func (s *Server) drop(conn net.Conn) {
	conn.Close()
	s.mutex.Lock()
	defer s.mutex.Unlock()
	delete(s.conns, conn)
}

// Open is the number of connections that are being handled.
func (s *Server) Open() int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return len(s.conns)
}

// StopListening refuses connections from now on.
func (s *Server) StopListening() { s.listener.Close() }

// Close ends the server and all connections.
func (s *Server) Close() {
	s.listener.Close()
	s.mutex.Lock()
	for conn := range s.conns {
		conn.Close()
	}
	s.conns = nil
	s.mutex.Unlock()
	s.handlers.Wait()
}

// Conn is the server's end of a connection.
type Conn struct {
	net.Conn
	in *bufio.Reader
}

// Request reads the request of the handshake, and returns a right answer to it.
func (c *Conn) Request() (answer string, err error) {
	request, err := http.ReadRequest(c.in)
	if err != nil {
		return "", err
	}
	if request.Host != c.LocalAddr().String() {
		return "", fmt.Errorf("header Host is %q", request.Host)
	}
	return Answer(request.Header.Get("Sec-WebSocket-Key")), nil
}

// Reader is what comes in, for tests that read requests themselves.
func (c *Conn) Reader() *bufio.Reader { return c.in }

// Answer is the right answer to a key.
func Answer(key string) string {
	hash := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(hash[:]) + "\r\n\r\n"
}

// Upgrade answers the handshake.
func (c *Conn) Upgrade() error {
	answer, err := c.Request()
	if err != nil {
		return err
	}
	return c.Send([]byte(answer))
}

// Send writes bytes.
func (c *Conn) Send(p []byte) error {
	_, err := c.Write(p)
	return err
}

// Frame is what a client sent.
type Frame struct {
	Opcode  ws.OpCode
	Payload []byte
}

// Next reads a frame. It is an error if that is not a whole message or a control
// frame, or not masked.
func (c *Conn) Next() (Frame, error) {
	header, err := ws.ReadHeader(c.in)
	if err != nil {
		return Frame{}, err
	}
	if err := ws.CheckHeader(header, ws.StateServerSide); err != nil {
		return Frame{}, err
	}
	if !header.Fin {
		return Frame{}, fmt.Errorf("a fragment")
	}
	payload := make([]byte, header.Length)
	if _, err := io.ReadFull(c.in, payload); err != nil {
		return Frame{}, err
	}
	ws.Cipher(payload, header.Mask, 0)
	return Frame{header.OpCode, payload}, nil
}

// Frames yields the frames that come until [Conn.Next] fails, each with its number from 0.
func (c *Conn) Frames() iter.Seq2[int, Frame] {
	return func(yield func(int, Frame) bool) {
		for k := 0; ; k++ {
			frame, err := c.Next()
			if err != nil || !yield(k, frame) {
				return
			}
		}
	}
}

// Encode encodes a frame as a server does.
func Encode(opcode ws.OpCode, payload []byte) []byte {
	return ws.MustCompileFrame(ws.NewFrame(opcode, true, payload))
}

// Echo answers messages with themselves and a close frame with its like, until
// the client is gone.
func (c *Conn) Echo() {
	for _, frame := range c.Frames() {
		switch frame.Opcode {
		case ws.OpText, ws.OpBinary, ws.OpClose:
			if c.Send(Encode(frame.Opcode, frame.Payload)) != nil {
				return
			}
		}
	}
}

// TCP is the connection below TLS, if there is TLS.
func (c *Conn) TCP() *net.TCPConn {
	if secure, ok := c.Conn.(*tls.Conn); ok {
		return secure.NetConn().(*net.TCPConn)
	}
	return c.Conn.(*net.TCPConn)
}

// Reset closes the connection by RST.
func (c *Conn) Reset() {
	tcp := c.TCP()
	tcp.SetLinger(0)
	tcp.Close()
}

// Unfinished counts connections whose request has not come yet.
type Unfinished struct{ now, most atomic.Int64 }

// Echo is a handler that does everything right, and counts.
func (u *Unfinished) Echo(_ int, c *Conn) {
	now := u.now.Add(1)
	for before := u.most.Load(); now > before && !u.most.CompareAndSwap(before, now); before = u.most.Load() {
	}
	answer, err := c.Request()
	if err != nil {
		return
	}
	u.now.Add(-1)
	c.Send([]byte(answer))
	c.Echo()
}

// Most is the largest number that there was at a time.
func (u *Unfinished) Most() int { return int(u.most.Load()) }

// Echo is a handler that does everything right.
func Echo(_ int, c *Conn) {
	if c.Upgrade() == nil {
		c.Echo()
	}
}

// CloseCode is the code in a close frame's payload.
func CloseCode(payload []byte) int {
	if len(payload) < 2 {
		return 0
	}
	return int(binary.BigEndian.Uint16(payload))
}
