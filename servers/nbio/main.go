// Command nbio is a WebSocket echo server on nbio: its pollers, its HTTP parser
// and its WebSocket parser. Where nbio lets pass what RFC 6455 forbids, a check
// stands before it.
package main

import (
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

	"connbench/servers/contract"
	"connbench/servers/internal/audience"
	"connbench/servers/internal/lifecycle"
	"connbench/servers/internal/listener"
	"connbench/servers/internal/work"
	"connbench/servers/internal/writable"
)

// never is a keepalive time that no run outlasts. nbio takes 0 for 120 s
// (nbhttp.NewEngine).
const never = 10 * 365 * 24 * time.Hour

// maxOpenFiles is the number of descriptors that nbio lays out a pointer for. Its own
// number, 2 Mi (its engine.go), would be 16 MiB that are never free: the collector would
// let as much garbage gather, which is most of the memory of 10,000 connections.
const maxOpenFiles = 256 << 10

func main() {
	// Standard output belongs to the contract.
	logging.Output = os.Stderr
	logging.SetLevel(logging.LevelError)
	lifecycle.Main(start, contract.CompressionDeflate)
}

func start(o contract.Options) (lifecycle.Server, error) {
	listeners, err := listener.Listen(o.Listen, o.Backlog)
	if err != nil {
		return lifecycle.Server{}, err
	}
	// nbio lowers this to RLIMIT_NOFILE, and lays out a pointer for each: its memory
	// would depend on a limit that has nothing to do with the connections.
	nbio.MaxOpenFiles = maxOpenFiles

	writable, err := writable.New()
	if err != nil {
		return lifecycle.Server{}, err
	}
	s := &server{maxMessage: o.MaxMessage, work: o.Work(), writable: writable, broadcasts: o.Broadcast}
	engine := nbhttp.NewEngine(s.config(o, listeners))
	s.upgrader = s.newUpgrader(engine)
	if o.Compression != "" {
		s.compressing = s.newUpgrader(engine)
		s.compressing.EnableCompression(true)
	}
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
	upgrader *websocket.Upgrader
	// compressing is that of clients that offer compression; nil: they are served as others are.
	compressing *websocket.Upgrader
	maxMessage  int
	work        time.Duration
	open        atomic.Int64
	writable    *writable.Watcher
	// requests are opening requests that are not whole yet, or refused: *nbio.Conn to
	// *request.
	requests sync.Map

	// broadcasts says that messages go to all connections. members are those: *websocket.Conn to
	// *audience.Member.
	broadcasts bool
	audience   audience.Audience[message]
	members    sync.Map
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
	u.SetCloseHandler(s.answerClose)
	u.OnOpen(func(c *websocket.Conn) {
		s.join(c)
		s.open.Add(1)
	})
	u.OnClose(func(c *websocket.Conn, _ error) {
		s.open.Add(-1)
		s.leave(c)
	})
	return u
}

// upgrade gets no request but those that request has let pass.
func (s *server) upgrade(w http.ResponseWriter, r *http.Request) {
	u := s.upgrader
	if s.compressing != nil && offersDeflate(r.Header) {
		u = s.compressing
	}
	u.Upgrade(w, r, nil) // answers in case of an error
}

// offersDeflate says whether a request offers permessage-deflate, as nbio looks for it.
func offersDeflate(h http.Header) bool {
	for _, field := range h.Values("Sec-WebSocket-Extensions") {
		for offer := range strings.SplitSeq(field, ",") {
			if name, _, _ := strings.Cut(offer, ";"); strings.TrimSpace(name) == "permessage-deflate" {
				return true
			}
		}
	}
	return false
}

func (s *server) echo(c *websocket.Conn, kind websocket.MessageType, message []byte) {
	if len(message) > s.maxMessage { // it was compressed
		c.WriteClose(int(ws.StatusMessageTooBig), "")
		s.closeWhenSent(c)
		c.Close()
		return
	}
	if kind == websocket.TextMessage && !utf8.Valid(message) {
		s.leave(c)
		c.WriteClose(int(ws.StatusInvalidFramePayloadData), "")
		s.closeWhenSent(c)
		c.Close()
		return
	}
	work.Do(s.work)
	if s.broadcasts {
		s.publish(kind, message)
		return
	}
	c.WriteMessage(kind, message)
}

// answerClose answers a close frame; nbio then closes, which loses what is unsent. The
// code is 1005 for a frame without one, and has been checked otherwise, but for 1015.
func (s *server) answerClose(c *websocket.Conn, code int, reason string) {
	s.leave(c)
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
	s.closeWhenSent(c)
}

// closeWhenSent has c.Close, which comes next, wait until everything is sent.
func (s *server) closeWhenSent(c *websocket.Conn) {
	raw := c.Conn.(*nbhttp.Conn).Conn.(*nbio.Conn)
	if unsent(raw) > 0 {
		c.Conn = &closing{Conn: c.Conn, whenSent: func() { s.whenSent(raw, func() { raw.Close() }) }}
	}
}

// closing is a connection that only sends what already waits.
type closing struct {
	net.Conn
	once     sync.Once
	whenSent func()
}

func (c *closing) Write(b []byte) (int, error) { return len(b), nil }

func (c *closing) Close() error {
	c.once.Do(c.whenSent)
	return nil
}
