package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sys/unix"

	"connbench/servers/contract"
)

// fault is a way to fail, in one or more of these.
type fault struct {
	// start is called before the server listens.
	start func(o *contract.Options, questions *bufio.Scanner)
	// accept returns the listener to accept from.
	accept func(*net.TCPListener) net.Listener
	// raw serves a connection instead of WebSocket.
	raw func(net.Conn)
	// opened is called when connection n, from 1, is open.
	opened func(c *websocket.Conn, n int64)
	// message is called with each message before its echo.
	message func(c *websocket.Conn, m *message)
	// answer answers a question instead of the server.
	answer func(contract.Stats)
	// copies is how often connection n gets message k of a broadcast, both from 1; nil: once.
	copies func(n, k int64) int
}

// message is one that has come: by what connection, the how manieth of it and of all.
type message struct {
	connection, sequence, number int64
	text                         []byte
	// swallow leaves out the echo.
	swallow bool
}

// dieAt is the number of connections at which a server with such a fault ends.
const dieAt = 40

// faults are the ways to fail.
var faults = map[string]fault{
	"sound": {},

	// The process.
	"never-ready": {start: func(_ *contract.Options, questions *bufio.Scanner) {
		for questions.Scan() {
		}
		os.Exit(0)
	}},
	"elsewhere": {start: func(o *contract.Options, _ *bufio.Scanner) { o.Listen[0] = "127.0.0.99:0" }},
	"starts-once": {start: func(o *contract.Options, _ *bufio.Scanner) {
		if _, port, _ := net.SplitHostPort(o.Listen[0]); port != "0" { // it has had one before
			fmt.Fprintln(os.Stderr, "faulty: once is enough")
			os.Exit(1)
		}
	}},
	"leaves-a-child": {start: func(*contract.Options, *bufio.Scanner) {
		if err := exec.Command("setsid", "sleep", "1000").Start(); err != nil {
			panic(err)
		}
	}},
	"dies-in-ramp": {opened: func(_ *websocket.Conn, n int64) {
		if n == dieAt {
			fmt.Fprintln(os.Stderr, "faulty: out of luck at connection", n)
			os.Exit(3)
		}
	}},
	"dies-in-load": {message: func(_ *websocket.Conn, m *message) {
		if m.sequence == 2 {
			fmt.Fprintln(os.Stderr, "faulty: out of luck at the second message")
			os.Exit(3)
		}
	}},
	"panics": {opened: func(_ *websocket.Conn, n int64) {
		if n == dieAt {
			debug.SetTraceback("all")
			for range 300 {
				go func() { select {} }()
			}
			go panic(fmt.Sprintf("out of luck at connection %d", n))
			select {}
		}
	}},

	// Accepting.
	"hoards":          {accept: func(l *net.TCPListener) net.Listener { return hoarder{l} }},
	"stops-accepting": {accept: func(l *net.TCPListener) net.Listener { return &tired{TCPListener: l} }},
	"goes-deaf":       {accept: func(l *net.TCPListener) net.Listener { return &tired{TCPListener: l, deaf: true} }},

	// Answers to questions.
	"silent":          {answer: func(contract.Stats) {}},
	"speaks-in-words": {answer: func(s contract.Stats) { fmt.Println(s.Connections, "connections") }},
	"counts-nan":      {answer: func(contract.Stats) { fmt.Println(`{"connections": NaN}`) }},
	"counts-one-more": {answer: func(s contract.Stats) { fmt.Printf(`{"connections": %d}`+"\n", s.Connections+min(s.Connections, 1)) }},
	"negative-heap": {answer: func(s contract.Stats) {
		fmt.Printf(`{"connections": %d, "heap_in_use_bytes": -5}`+"\n", s.Connections)
	}},
	"enormous-heap": {answer: func(s contract.Stats) {
		fmt.Printf(`{"connections": %d, "heap_in_use_bytes": 2000000000000000000}`+"\n", s.Connections)
	}},
	"clock-runs-back": {answer: func(s contract.Stats) {
		fmt.Printf(`{"connections": %d, "user_seconds": %d}`+"\n", s.Connections, 1000-s.Connections)
	}},
	"endless-line":  {opened: func(_ *websocket.Conn, n int64) { write(n, "xxxxxxxx") }},
	"unasked-lines": {opened: func(_ *websocket.Conn, n int64) { write(n, "x\n") }},

	// The protocol.
	"speaks-mail": {raw: func(c net.Conn) {
		fmt.Fprint(c, "220 mail ESMTP\r\n")
		c.Read(make([]byte, 1<<10))
	}},
	"frame-of-8-eib": {opened: func(c *websocket.Conn, _ int64) {
		c.NetConn().Write([]byte{0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0})
	}},
	"floods-with-pings": {opened: func(c *websocket.Conn, n int64) {
		if n > 3 {
			return
		}
		pings := bytes.Repeat([]byte{0x89, 0}, 512)
		go func() {
			for ; ; time.Sleep(10 * time.Millisecond) {
				if _, err := c.NetConn().Write(pings); err != nil {
					return
				}
			}
		}()
	}},
	"sends-unasked": {opened: func(c *websocket.Conn, _ int64) {
		go func() {
			for some := make([]byte, 1<<14); c.WriteMessage(websocket.BinaryMessage, some) == nil; {
			}
		}()
	}},

	// Broadcasts.
	"misses-tenth": {copies: func(n, _ int64) int { return int(min(n%10, 1)) }},
	"goes-silent":  {copies: func(_, k int64) int { return int(max(0, min(16-k, 1))) }},
	"repeats-fifth": {copies: func(_, k int64) int {
		if k%5 == 1 { // not the last, after which nobody may listen
			return 2
		}
		return 1
	}},

	// Slow peers.
	"hoards-echoes": {message: func(c *websocket.Conn, m *message) {
		m.swallow = true
		hoardFor(c) <- m.text
	}},
	"drops-deaf": {message: func(c *websocket.Conn, m *message) {
		if m.swallow = m.sequence > 20; m.swallow { // only they send as many
			c.NetConn().(*net.TCPConn).SetLinger(0)
			c.Close()
		}
	}},

	// Echoes.
	"corrupts": {message: func(_ *websocket.Conn, m *message) {
		if m.number%100 == 0 {
			m.text[len(m.text)-1] ^= 1
		}
	}},
	"corrupts-warmup": {message: func(_ *websocket.Conn, m *message) {
		if m.sequence == 2 && m.connection <= 5 { // the first is the census
			m.text[len(m.text)-1] ^= 1
		}
	}},
	"mute-fifth": {message: func(_ *websocket.Conn, m *message) {
		m.swallow = m.sequence > 1 && m.connection%5 == 0
	}},
	"closes-fifth": {message: func(c *websocket.Conn, m *message) {
		if m.sequence > 1 && m.connection%5 == 0 {
			c.Close()
		}
	}},
}

// hoardFor is what is to be sent to a connection, without a bound. It ends with the process.
func hoardFor(c *websocket.Conn) chan<- []byte {
	queue, known := hoards.Load(c)
	if !known {
		messages := make(chan []byte, 1<<20)
		go func() {
			for text := range messages {
				c.WriteMessage(websocket.BinaryMessage, text)
			}
		}()
		hoards.Store(c, messages)
		queue = messages
	}
	return queue.(chan []byte)
}

var hoards sync.Map // of *websocket.Conn

// write begins to write something to standard output for ever, in the middle of a step
// of the ramp.
func write(n int64, something string) {
	if n != dieAt/2+1 {
		return
	}
	go func() {
		for piece := strings.Repeat(something, 512); ; {
			os.Stdout.WriteString(piece)
		}
	}()
}

// hoarder keeps a MiB for each connection, which is there before the connection is open.
type hoarder struct{ *net.TCPListener }

type hoard struct {
	net.Conn
	bytes []byte
}

func (h hoarder) Accept() (net.Conn, error) {
	c, err := h.TCPListener.Accept()
	return hoard{c, bytes.Repeat([]byte{1}, 1<<20)}, err
}

// tired accepts so many connections and then no more. One that is deaf also has the
// kernel drop the packets of those to come, as if they had been lost on the way.
type tired struct {
	*net.TCPListener
	deaf     bool
	accepted atomic.Int64
}

// tireAt is the number of connections that it accepts.
const tireAt = 120

func (t *tired) Accept() (net.Conn, error) {
	if t.accepted.Add(1) <= tireAt {
		return t.TCPListener.Accept()
	}
	if t.deaf {
		t.drop()
	}
	select {}
}

// drop attaches a filter that lets nothing in (socket(7), SO_ATTACH_FILTER).
func (t *tired) drop() {
	nothing := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0}
	err := control(t.TCPListener, func(fd int) error {
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing})
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "faulty:", err)
		os.Exit(1)
	}
}
