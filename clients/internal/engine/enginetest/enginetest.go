// Package enginetest tests that an engine keeps the promises of package engine,
// against the kernel's TCP as the peer.
package enginetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"connbench/clients/control"
	"connbench/clients/internal/engine"
	"connbench/clients/internal/peer"
)

// Subject is an engine under test.
type Subject struct {
	// New makes an engine for a number of connections, woken by a descriptor.
	New func(t *testing.T, capacity, wake int) engine.Engine
	// Host is the address on which the tests may listen, From that of connection i.
	Host string
	From func(i int) netip.AddrPort
}

// Run runs all tests.
func Run(t *testing.T, s Subject) {
	for name, test := range map[string]func(*testing.T, Subject){
		"open, send, receive": exchange,
		"end of stream":       endOfStream,
		"reset":               reset,
		"refused":             refused,
		"close resets":        closeResets,
		"release resets":      releaseResets,
		"acknowledged":        acknowledged,
		"more than fits":      moreThanFits,
		"close within events": closeWithinEvents,
		"numbers used again":  reuse,
		"wake and timeout":    wakeAndTimeout,
	} {
		t.Run(name, func(t *testing.T) { test(t, s) })
	}
}

// recorder is a handler that notes what happens.
type recorder struct {
	events []string
	data   map[int][]byte
	on     func(event string, i int)
}

func (r *recorder) note(event string, i int) {
	r.events = append(r.events, fmt.Sprint(event, " ", i))
	if r.on != nil {
		r.on(event, i)
	}
}

func (r *recorder) Opened(i int)   { r.note("opened", i) }
func (r *recorder) Writable(i int) { r.note("writable", i) }

func (r *recorder) Data(i int, p []byte) {
	if r.data == nil {
		r.data = map[int][]byte{}
	}
	r.data[i] = append(r.data[i], p...)
	r.note("data", i)
}

func (r *recorder) Closed(i int, why engine.Failure) { r.note(fmt.Sprint("closed by ", why.Name()), i) }

func (r *recorder) saw(event string) bool { return slices.Contains(r.events, event) }

// until runs the engine until something has happened.
func (r *recorder) until(t *testing.T, e engine.Engine, what string, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !happened(); {
		if time.Now().After(end) {
			t.Fatalf("after a minute, still not: %s; events: %s", what, strings.Join(r.events, ", "))
		}
		if _, err := e.Wait(10 * time.Millisecond); err != nil {
			t.Fatal(err)
		}
		e.Deliver(r)
	}
}

func (r *recorder) untilEvent(t *testing.T, e engine.Engine, event string) {
	t.Helper()
	r.until(t, e, event, func() bool { return r.saw(event) })
}

func newEngine(t *testing.T, s Subject, capacity int) engine.Engine {
	t.Helper()
	e := s.New(t, capacity, -1)
	t.Cleanup(e.Release)
	return e
}

func listen(t *testing.T, s Subject) (net.Listener, netip.AddrPort) {
	t.Helper()
	l := peer.Listen(t, s.Host)
	return l, netip.MustParseAddrPort(l.Addr().String())
}

// open opens connection i and returns the peer's end.
func open(t *testing.T, s Subject, e engine.Engine, r *recorder, l net.Listener, i int) *net.TCPConn {
	t.Helper()
	if f := e.Open(i, s.From(i), netip.MustParseAddrPort(l.Addr().String())); f != (engine.Failure{}) {
		t.Fatal(f)
	}
	r.untilEvent(t, e, fmt.Sprint("opened ", i))
	l.(*net.TCPListener).SetDeadline(time.Now().Add(time.Minute))
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(time.Minute))
	if got := netip.MustParseAddrPort(conn.RemoteAddr().String()); got != s.From(i) {
		t.Fatalf("connection %d comes from %v, want %v", i, got, s.From(i))
	}
	return conn.(*net.TCPConn)
}

func send(t *testing.T, e engine.Engine, i int, p []byte) int {
	t.Helper()
	n, err := e.Send(i, p)
	if err != nil {
		t.Fatalf("connection %d: %v", i, err)
	}
	return n
}

func exchange(t *testing.T, s Subject) {
	e, r := newEngine(t, s, 3), &recorder{}
	l, _ := listen(t, s)
	for i := range 3 {
		conn := open(t, s, e, r, l, i)
		text := fmt.Sprint("hello from ", i)
		if n := send(t, e, i, []byte(text)); n != len(text) {
			t.Fatalf("%d of %d bytes were taken", n, len(text))
		}
		got := make([]byte, len(text))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != text {
			t.Fatalf("%q, %v", got, err)
		}
		if _, err := io.WriteString(conn, "and back to "+text); err != nil {
			t.Fatal(err)
		}
		r.until(t, e, "the answer", func() bool { return string(r.data[i]) == "and back to "+text })
	}
	if e.StateBytes() <= 0 || e.StateBytes() > 64 {
		t.Errorf("%d bytes of state", e.StateBytes())
	}
}

// What came before the end comes first.
func endOfStream(t *testing.T, s Subject) {
	e, r := newEngine(t, s, 1), &recorder{}
	l, _ := listen(t, s)
	conn := open(t, s, e, r, l, 0)
	io.WriteString(conn, "last words")
	conn.Close()
	r.untilEvent(t, e, "closed by closed 0")
	if string(r.data[0]) != "last words" {
		t.Errorf("got %q", r.data[0])
	}
}

func reset(t *testing.T, s Subject) {
	e, r := newEngine(t, s, 1), &recorder{}
	l, _ := listen(t, s)
	conn := open(t, s, e, r, l, 0)
	conn.SetLinger(0)
	conn.Close()
	r.untilEvent(t, e, "closed by ECONNRESET 0")
}

func refused(t *testing.T, s Subject) {
	e, r := newEngine(t, s, 1), &recorder{}
	l, address := listen(t, s)
	l.Close()
	if f := e.Open(0, s.From(0), address); f != (engine.Failure{}) {
		if want := (engine.Failure{Phase: control.PhaseConnect, Err: unix.ECONNREFUSED}); f != want {
			t.Fatalf("%v, want %v", f, want)
		}
		return
	}
	r.untilEvent(t, e, "closed by ECONNREFUSED 0")
	if len(r.events) != 1 {
		t.Errorf("events %v", r.events)
	}
}

func expectReset(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the peer reads %v, want a reset", err)
	}
}

func closeResets(t *testing.T, s Subject) {
	e, r := newEngine(t, s, 1), &recorder{}
	l, _ := listen(t, s)
	conn := open(t, s, e, r, l, 0)
	e.Close(0)
	e.Close(0)
	expectReset(t, conn)
	if len(r.events) != 1 {
		t.Errorf("events %v", r.events)
	}
}

func releaseResets(t *testing.T, s Subject) {
	e, r := s.New(t, 2, -1), &recorder{}
	l, _ := listen(t, s)
	a, b := open(t, s, e, r, l, 0), open(t, s, e, r, l, 1)
	e.Release()
	expectReset(t, a)
	expectReset(t, b)
}

// To a peer whose filter lets nothing in everything is lost on the way; to one that
// only never reads, nothing is.
func acknowledged(t *testing.T, s Subject) {
	e, r := newEngine(t, s, 1), &recorder{}
	l, _ := listen(t, s)
	conn := open(t, s, e, r, l, 0)
	untilAcknowledged := func() {
		t.Helper()
		r.until(t, e, "acknowledged", func() bool { return e.Overdue(0).Err == control.Timeout })
	}
	untilAcknowledged()
	peer.Filter(t, conn, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0})
	send(t, e, 0, []byte("lost"))
	// What is due comes first, so that the packet is on its way or was.
	if _, err := e.Wait(time.Millisecond); err != nil {
		t.Fatal(err)
	}
	e.Deliver(r)
	if e.Overdue(0).Err != control.Unacknowledged {
		t.Error("acknowledged, and the peer has not got it")
	}
	peer.Filter(t, conn)
	untilAcknowledged() // it is sent again
}

// What does not fit is taken later, and nothing is lost or doubled.
func moreThanFits(t *testing.T, s Subject) {
	e, r := newEngine(t, s, 1), &recorder{}
	l, _ := listen(t, s)
	conn := open(t, s, e, r, l, 0)
	all := make([]byte, 32<<20)
	for i := range all {
		all[i] = byte(i ^ i>>8 ^ i>>16)
	}
	sent := send(t, e, 0, all)
	if sent == len(all) {
		t.Skipf("%d bytes were taken at once; nothing is left to be tested", sent)
	}
	r.on = func(event string, i int) {
		if event == "writable" {
			sent += send(t, e, i, all[sent:])
		}
	}
	received := make(chan []byte)
	go func() {
		got := make([]byte, len(all))
		n, err := io.ReadFull(conn, got)
		if err != nil {
			t.Error(err)
		}
		received <- got[:n]
	}()
	var got []byte
	r.until(t, e, "all bytes received", func() bool {
		select {
		case got = <-received:
			return true
		default:
			return false
		}
	})
	if !bytes.Equal(got, all) {
		t.Errorf("%d bytes came, and they are not those sent", len(got))
	}
}

// A handler may close connections for which there are events still to come.
func closeWithinEvents(t *testing.T, s Subject) {
	const connections = 20
	e, r := newEngine(t, s, connections), &recorder{}
	l, _ := listen(t, s)
	var conns []net.Conn
	for i := range connections {
		conns = append(conns, open(t, s, e, r, l, i))
	}
	closed := 0
	r.on = func(event string, first int) {
		if event == "data" && closed == 0 {
			for i := range connections {
				if i != first {
					e.Close(i)
				}
			}
			closed = len(r.events)
		}
	}
	for _, conn := range conns {
		io.WriteString(conn, "x")
	}
	r.until(t, e, "data", func() bool { return closed > 0 })
	for range 10 {
		if _, err := e.Wait(time.Millisecond); err != nil {
			t.Fatal(err)
		}
		e.Deliver(r)
	}
	if len(r.events) != closed {
		t.Errorf("of closed connections: %v", r.events[closed:])
	}
}

// A number, and its address, can be used again at once.
func reuse(t *testing.T, s Subject) {
	e, r := newEngine(t, s, 1), &recorder{}
	l, _ := listen(t, s)
	for n := range 20 {
		r.events, r.data = nil, nil
		conn := open(t, s, e, r, l, 0)
		want := fmt.Sprint("round ", n)
		io.WriteString(conn, want)
		r.until(t, e, want, func() bool { return string(r.data[0]) == want })
		if n%2 == 0 {
			e.Close(0)
			expectReset(t, conn)
		} else {
			conn.SetLinger(0)
			conn.Close()
			r.untilEvent(t, e, "closed by ECONNRESET 0")
		}
	}
}

func wakeAndTimeout(t *testing.T, s Subject) {
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer out.Close()
	e := s.New(t, 1, int(in.Fd()))
	defer e.Release()
	wait := func(timeout time.Duration) bool {
		t.Helper()
		woken, err := e.Wait(timeout)
		if err != nil {
			t.Fatal(err)
		}
		e.Deliver(&recorder{})
		return woken
	}
	untilWoken := func(timeout time.Duration) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !wait(timeout); {
			if time.Now().After(end) {
				t.Fatal("not woken, and there is something to read")
			}
		}
	}
	if wait(time.Millisecond) || wait(0) {
		t.Error("woken without a reason")
	}
	if _, err := out.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	untilWoken(-1)
	untilWoken(time.Minute)
	untilWoken(0)
	if _, err := in.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if wait(0) {
		t.Error("woken, and there is nothing to read")
	}
}
