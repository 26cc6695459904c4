// Command nbio is a WebSocket echo server on nbio: its pollers, its HTTP parser
// and its WebSocket parser. Where nbio lets pass what RFC 6455 forbids, a check
// stands before it.
package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"
	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/logging"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"
	"golang.org/x/sys/unix"

	"connbench/servers/contract"
	"connbench/servers/internal/lifecycle"
	"connbench/servers/internal/listener"
	"connbench/servers/internal/session"
	"connbench/servers/internal/work"
)

// never is a keepalive time that no run outlasts. nbio takes 0 for 120 s
// (nbhttp.NewEngine).
const never = 10 * 365 * 24 * time.Hour

// maxOpenFiles is nbio's own number of descriptors (its engine.go).
const maxOpenFiles = 2 << 20

// maxUnsent is how much may wait for a peer that does not read, in bytes; nbio
// drops it for more. It cannot stop reading a connection.
const maxUnsent = 16 << 20

func main() {
	// Standard output belongs to the contract.
	logging.Output = os.Stderr
	logging.SetLevel(logging.LevelError)
	lifecycle.Main(start)
}

func start(o contract.Options) (lifecycle.Server, error) {
	listeners, err := listener.Listen(o.Listen, o.Backlog)
	if err != nil {
		return lifecycle.Server{}, err
	}
	// nbio lowers this to RLIMIT_NOFILE, and lays out a pointer for each: its memory
	// would depend on a limit that has nothing to do with the connections.
	nbio.MaxOpenFiles = maxOpenFiles

	s := &server{maxMessage: o.MaxMessage, work: o.Work()}
	engine := nbhttp.NewEngine(s.config(o, listeners))
	s.upgrader = s.newUpgrader(engine)
	engine.OnData(s.inspect)
	engine.OnClose(func(c net.Conn, _ error) { s.requests.Delete(c) })
	// Text is checked in echo, since nbio answers what is not UTF-8 by 1002.
	engine.CheckUtf8 = func([]byte) bool { return true }
	if err := engine.Start(); err != nil {
		return lifecycle.Server{}, fmt.Errorf("start nbio: %w", err)
	}
	return lifecycle.Server{
		Addresses:   listener.Addresses(listeners),
		Connections: s.open.Load,
	}, nil
}

type server struct {
	upgrader   *websocket.Upgrader
	maxMessage int
	work       time.Duration
	open       atomic.Int64
	// requests counts the bytes of opening requests that are not whole yet:
	// *nbio.Conn to int.
	requests sync.Map
}

func (s *server) config(o contract.Options, listeners []net.Listener) nbhttp.Config {
	waiting := listeners
	config := nbhttp.Config{
		Network: "tcp",
		Addrs:   listener.Addresses(listeners),
		// The engine asks for one listener after the other, in the order of Addrs.
		Listen: func(string, string) (l net.Listener, err error) {
			l, waiting = waiting[0], waiting[1:]
			return l, nil
		},
		Handler:       http.HandlerFunc(s.upgrade),
		NPoller:       o.Loops,
		MaxLoad:       maxOpenFiles,
		KeepaliveTime: never,
		// One message is echoed in one frame, and so is a ping.
		MaxWebsocketFramePayloadSize: max(o.MaxMessage, ws.MaxControlFramePayloadSize),
		MaxWriteBufferSize:           maxUnsent,
		// It bounds what is cached of a connection: a message, and a read.
		ReadLimit: o.MaxMessage + 2*nbio.DefaultReadBufferSize,
	}
	if o.Class == "tuned" {
		config.ServerExecutor = func(f func()) { f() }
		config.SupportServerOnly = true
		config.ReleaseWebsocketPayload = true
		// BodyAllocator stays the default: mempool.NewAligned panics once a control
		// frame without payload has been released into it.
	}
	return config
}

func (s *server) newUpgrader(engine *nbhttp.Engine) *websocket.Upgrader {
	u := websocket.NewUpgrader()
	u.Engine = engine
	u.CheckOrigin = func(*http.Request) bool { return true }
	u.KeepaliveTime = 0 // here 0 means none (Upgrader.Upgrade)
	// inspect holds messages to their limit; this one would count a ping in the
	// middle of a message as part of it.
	u.MessageLengthLimit = s.maxMessage + ws.MaxControlFramePayloadSize
	u.OnMessage(s.echo)
	u.SetCloseHandler(answerClose)
	u.OnOpen(func(*websocket.Conn) { s.open.Add(1) })
	u.OnClose(func(*websocket.Conn, error) { s.open.Add(-1) })
	return u
}

func (s *server) upgrade(w http.ResponseWriter, r *http.Request) {
	// nbio leaves the spaces behind a value (RFC 9110 section 5.5), and takes any
	// key and any version of HTTP.
	for _, values := range r.Header {
		for i := range values {
			values[i] = strings.TrimSpace(values[i])
		}
	}
	// As HTTP/1.0 and Connection: close ask for, nbio would close in the middle of
	// the handler's job, while a goroutine adds a job that takes the parser's lock.
	// Is that quick enough, and are handlers inline, the poller runs it while it
	// holds that lock itself (Parser.Parse), and serves nobody any more.
	closes := r.Close
	if closes {
		r.Close = false
		w.Header().Set("Connection", "close")
	}
	if !s.upgraded(w, r) && closes {
		c := w.(*nbhttp.Response).Parser.Conn
		time.AfterFunc(listener.LingerTime, func() { c.Close() })
	}
}

// upgraded is false when it has refused.
func (s *server) upgraded(w http.ResponseWriter, r *http.Request) bool {
	if key, err := base64.StdEncoding.DecodeString(r.Header.Get("Sec-WebSocket-Key")); err != nil || len(key) != 16 || !r.ProtoAtLeast(1, 1) {
		http.Error(w, http.StatusText(http.StatusBadRequest), http.StatusBadRequest)
		return false
	}
	_, err := s.upgrader.Upgrade(w, r, nil) // has answered in case of an error
	return err == nil
}

func (s *server) echo(c *websocket.Conn, kind websocket.MessageType, message []byte) {
	if kind == websocket.TextMessage && !utf8.Valid(message) {
		c.WriteClose(int(ws.StatusInvalidFramePayloadData), "")
		c.Close()
		return
	}
	work.Do(s.work)
	c.WriteMessage(kind, message)
}

// answerClose answers a close frame; nbio then closes. The code is 1005 for a
// frame without one, and has been checked otherwise, but for 1015.
func answerClose(c *websocket.Conn, code int, reason string) {
	switch {
	case code == int(ws.StatusNoStatusRcvd):
		c.WriteMessage(websocket.CloseMessage, nil)
	case code == int(ws.StatusTLSHandshake):
		c.WriteClose(int(ws.StatusProtocolError), "")
	case !utf8.ValidString(reason):
		c.WriteClose(int(ws.StatusInvalidFramePayloadData), "")
	default:
		c.WriteClose(code, "")
	}
}

// failed takes the place of an inspector after a violation: what still comes is
// discarded.
type failed struct{}

// inspect stands between a poller and nbio's parsers, which set no limit to a
// request, accept unmasked frames, drop a connection without a close frame where
// there should be one, and swallow empty messages.
func (s *server) inspect(c *nbio.Conn, data []byte) {
	conn, ok := c.Session().(*websocket.Conn)
	if !ok {
		if s.requestFits(c, data) {
			c.DataHandler()(c, data)
		} else {
			c.Close()
		}
		return
	}
	// The session of an idle connection is nil: it costs nothing.
	var inspector session.Inspector
	switch state := conn.Session().(type) {
	case failed:
		return
	case *session.Inspector:
		inspector = *state
	}
	wasAtRest := inspector.AtRest()
	for len(data) > 0 {
		n, found := inspector.Inspect(data, s.maxMessage)
		if n > 0 {
			c.DataHandler()(c, data[:n])
			data = data[n:]
		}
		// By Execute, to come after the answers to what was before.
		switch {
		case found.Violation != 0:
			conn.SetSession(failed{})
			conn.Execute(func() { fail(c, conn, found.Violation) })
			return
		case found.Empty != 0:
			conn.Execute(func() { s.echo(conn, websocket.MessageType(found.Empty), nil) })
		}
	}
	if !inspector.AtRest() {
		unfinished := inspector
		conn.SetSession(&unfinished)
	} else if !wasAtRest {
		conn.SetSession(nil)
	}
}

// fail tells the peer of a violation, and lingers as listener.Linger does.
func fail(c *nbio.Conn, conn *websocket.Conn, code ws.StatusCode) {
	conn.WriteClose(int(code), "")
	c.SetReadDeadline(time.Now().Add(listener.LingerTime))
	unix.Shutdown(c.Hash(), unix.SHUT_WR) // on Unix, Hash is the descriptor
}

// requestFits counts the bytes of a request that comes in parts.
func (s *server) requestFits(c *nbio.Conn, data []byte) bool {
	size := len(data)
	if before, ok := s.requests.Load(c); ok {
		size += before.(int)
	}
	if bytes.HasSuffix(data, []byte("\r\n\r\n")) {
		s.requests.Delete(c)
	} else {
		s.requests.Store(c, size)
	}
	return size <= session.MaxRequest
}
