package stack

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"connbench/clients/stack/wire"
)

// newServer returns a script against a stack that listens, with room for some
// connections, and is connection 0 of it.
func newServer(t *testing.T, capacity, halfOpen int) *script {
	t.Helper()
	listener := netip.MustParseAddrPort("198.18.0.1:80")
	places, err := NewPeers([]netip.AddrPort{listener}, capacity)
	if err != nil {
		t.Fatal(err)
	}
	s := &script{t: t, wire: &cable{}, now: 1e15, next: irs}
	s.fixed = func(i int) wire.Tuple {
		return wire.Tuple{From: listener, To: netip.AddrPortFrom(netip.MustParseAddr("198.19.0.9"), uint16(1000+i))}
	}
	s.e, err = New(Config{Device: s.wire, Places: places, Clock: func() int64 { return s.now }, Capacity: capacity, BufferBytes: 1 << 20, HalfOpen: halfOpen})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.e.Release(); places.Release() })
	return s
}

// syn has the peer begin connection 0.
func (s *script) syn() {
	s.t.Helper()
	s.deliver(build(s.tupleOf(0), s.next, 0, wire.SYN, 60000, mss1460, ""))
	s.next++
	first := s.sent()
	if first.Bits != wire.SYN|wire.ACK || first.Ack != s.next || first.MSS != wire.OwnMSS(true) || first.Window != receiveWindow {
		s.t.Fatalf("a SYN is answered by %+v", first)
	}
	s.expected = first.Sequence + 1
	s.quiet()
	s.happened()
}

// accepted opens connection 0.
func (s *script) accepted() {
	s.t.Helper()
	s.syn()
	s.say(s.next, wire.ACK, "")
	s.happened("opened 0")
	s.quiet()
}

// gone checks that nothing is left of any connection.
func (s *script) gone() {
	s.t.Helper()
	if n := s.e.places.(*Peers).count; n != 0 {
		s.t.Errorf("%d connections are left", n)
	}
	flights := 0
	for k := s.e.flights.free; k != 0; k = s.e.flights.at(k).next {
		flights++
	}
	if flights != int(s.e.flights.used)-1 || s.e.blocks.InUse() != 0 || s.e.halfOpen != (line{}) {
		s.t.Errorf("%d of %d flights are free, %d blocks in use, half open %+v", flights, s.e.flights.used-1, s.e.blocks.InUse(), s.e.halfOpen)
	}
	s.pass(time.Hour)
	s.quiet()
}

// Section 3.10.7.2: a SYN is answered, again when it comes again or nothing comes, and
// the ACK opens the connection, also with data.
func TestPassiveOpen(t *testing.T) {
	s := newServer(t, 8, 4)
	s.syn()
	s.deliver(build(s.tupleOf(0), s.next-1, 0, wire.SYN, 60000, mss1460, ""))
	s.expect(s.expected-1, wire.SYN|wire.ACK, "")
	s.pass(time.Second + 10*time.Millisecond)
	s.expect(s.expected-1, wire.SYN|wire.ACK, "")
	s.saySo(s.next, s.expected+5, wire.ACK, 100, "") // of what was not sent
	s.expect(s.expected+5, wire.RST, "")
	s.happened()
	s.on = func(event string) {
		if event == "data 0" {
			s.send("answer")
		}
	}
	s.say(s.next, wire.ACK|wire.PSH, "question")
	s.next += 8
	s.happened("opened 0", "data 0")
	s.expect(s.expected, wire.ACK|wire.PSH, "answer")
	s.expected += 6
	s.say(s.next, wire.ACK, "")
	if s.e.conns[0].flight() != 0 || s.e.halfOpen != (line{}) {
		t.Error("a connection at rest has a flight")
	}
	s.e.Abort(0)
	s.expect(s.expected, wire.RST|wire.ACK, "")
	s.gone()
}

// A peer that does not go on is forgotten, and nobody hears of it.
func TestHalfOpenIsGivenUp(t *testing.T) {
	for _, end := range []string{"silence", "reset", "SYN of something else"} {
		s := newServer(t, 8, 4)
		s.syn()
		switch end {
		case "silence":
			for range passiveRetries {
				s.pass(40 * time.Second)
				s.expect(s.expected-1, wire.SYN|wire.ACK, "")
			}
			s.pass(2 * time.Minute)
		case "reset":
			s.say(s.next, wire.RST, "")
		default: // RFC 5961 section 4.2
			s.say(s.next+100, wire.SYN, "")
			s.expect(s.expected, wire.ACK, "")
			s.say(s.next, wire.RST, "")
		}
		s.happened()
		s.gone()
	}
}

// What is no SYN alone, and a SYN to where nobody listens, is answered by a reset; one
// for which there is no place, by nothing.
func TestNobodyListens(t *testing.T) {
	s := newServer(t, 1, 4)
	at := s.tupleOf(0)
	at.From = netip.MustParseAddrPort("198.18.0.1:81")
	s.deliver(build(at, 5, 0, wire.SYN, 100, "", ""))
	if got := s.sent(); got.Bits != wire.RST|wire.ACK || got.Ack != 6 || got.Tuple != at {
		t.Errorf("sent %+v", got)
	}
	at.From = netip.MustParseAddrPort("198.18.0.2:80") // not the stack's address
	s.deliver(build(at, 5, 0, wire.SYN, 100, "", ""))
	s.quiet()
	for bits, want := range map[byte]byte{
		wire.SYN | wire.FIN: wire.RST | wire.ACK, wire.SYN | wire.ACK: wire.RST, wire.ACK: wire.RST,
		wire.SYN | wire.RST: 0, wire.RST: 0, wire.FIN: wire.RST | wire.ACK, 0: wire.RST | wire.ACK,
	} {
		s.deliver(build(s.tupleOf(0), 5, 7, bits, 100, "", ""))
		if want == 0 {
			s.quiet()
		} else if got := s.sent(); got.Bits != want {
			t.Errorf("%b is answered by %b, want %b", bits, got.Bits, want)
		}
	}
	for _, nobody := range []string{"224.0.0.1:9", "255.255.255.255:9", "0.0.0.0:9", "127.0.0.1:9", "198.18.0.1:80"} {
		at.From, at.To = s.tupleOf(0).From, netip.MustParseAddrPort(nobody)
		s.deliver(build(at, 5, 0, wire.SYN, 100, "", ""))
		s.quiet()
	}
	s.accepted()
	s.deliver(build(s.tupleOf(1), 5, 0, wire.SYN, 100, "", ""))
	s.quiet()
	s.e.Abort(0)
	s.sent()
	s.gone()
}

// A flood of SYNs takes no more than is set aside, and nothing from those that are open.
func TestFloodOfSYNs(t *testing.T) {
	const most = 16
	s := newServer(t, 1000, most)
	s.accepted()
	for i := 1; i < 900; i++ {
		s.deliver(build(s.tupleOf(i), uint32(i), 0, wire.SYN, 100, mss1460, ""))
		if s.e.halfOpen.count > most || s.e.places.(*Peers).count > most+1 {
			t.Fatalf("%d half-open connections, %d places", s.e.halfOpen.count, s.e.places.(*Peers).count)
		}
	}
	var last *wire.Segment
	for len(s.wire.out) > 0 {
		last = s.sent()
	}
	s.deliver(build(last.Tuple, last.Ack, last.Sequence+1, wire.ACK, 100, "", "")) // the newest may go on
	if len(s.events) != 1 {
		t.Fatalf("events %v", s.events)
	}
	s.events = nil
	s.deliver(build(s.tupleOf(1), 2, 5, wire.ACK, 100, "", "")) // the oldest was pushed out
	if got := s.sent(); got.Bits != wire.RST {
		t.Errorf("sent %+v", got)
	}
	s.say(s.next, wire.ACK|wire.PSH, "still served")
	s.happened("data 0")
}

// A SYN for which there is no place pushes nobody out.
func TestSYNWithoutAPlace(t *testing.T) {
	s := newServer(t, 8, 1)
	s.syn()
	refused, full := s.tupleOf(1), s.tupleOf(1)
	refused.From = netip.MustParseAddrPort("198.18.0.1:81")
	s.deliver(build(refused, 5, 0, wire.SYN, 100, "", ""))
	if got := s.sent(); !got.Is(wire.RST) {
		t.Errorf("sent %+v", got)
	}
	full.To = netip.MustParseAddrPort("127.0.0.1:9") // no peer has it
	s.deliver(build(full, 5, 0, wire.SYN, 100, "", ""))
	s.quiet()
	s.say(s.next, wire.ACK, "")
	s.happened("opened 0")
	s.quiet()
}

// Section 3.6, the peer closes first: this side may still send, then its own FIN ends
// the connection.
func TestPeerCloses(t *testing.T) {
	s := newServer(t, 8, 4)
	s.accepted()
	s.say(s.next, wire.FIN|wire.ACK|wire.PSH, "last")
	s.next += 5
	s.happened("data 0", "ended 0")
	s.expect(s.expected, wire.ACK, "")
	s.say(s.next-1, wire.FIN|wire.ACK, "") // it did not see the ACK
	s.expect(s.expected, wire.ACK, "")
	s.happened()
	s.send("answer")
	s.expect(s.expected, wire.ACK|wire.PSH, "answer")
	s.e.Close(0)
	s.expect(s.expected+6, wire.FIN|wire.ACK, "")
	if _, err := s.e.Send(0, []byte("more")); err != unix.ENOTCONN {
		t.Errorf("after Close: %v", err)
	}
	s.pass(leastTimeout + 20*time.Millisecond) // both were lost
	s.expect(s.expected, wire.FIN|wire.PSH|wire.ACK, "answer")
	s.expected += 6
	s.say(s.next, wire.ACK, "")
	s.pass(time.Second)
	s.expect(s.expected, wire.FIN|wire.ACK, "")
	s.expected++
	s.say(s.next, wire.ACK, "")
	s.happened()
	s.gone()
	s.say(s.next, wire.ACK, "")
	s.expect(s.expected, wire.RST, "")
}

// Section 3.6, this side closes first, and TIME-WAIT.
func TestActiveClose(t *testing.T) {
	closed := func() *script {
		s := newServer(t, 8, 4)
		s.accepted()
		s.send("last")
		s.expect(s.expected, wire.ACK|wire.PSH, "last")
		s.e.Close(0)
		s.expect(s.expected+4, wire.FIN|wire.ACK, "")
		s.expected += 5
		return s
	}
	timeWait := func() *script {
		s := closed()
		s.say(s.next, wire.ACK, "")
		s.quiet()
		s.say(s.next, wire.FIN|wire.ACK, "")
		s.next++
		s.expect(s.expected, wire.ACK, "")
		return s
	}
	s := timeWait()
	s.pass(30 * time.Second)
	s.say(s.next-1, wire.FIN|wire.ACK, "") // once more: the time begins anew
	s.expect(s.expected, wire.ACK, "")
	s.pass(50 * time.Second)
	s.quiet()
	if s.e.places.(*Peers).count != 1 {
		t.Error("TIME-WAIT is over too early")
	}
	s.pass(11 * time.Second)
	s.happened()
	s.gone()

	s = timeWait()
	s.say(s.next, wire.RST, "")
	s.gone()

	// Section 3.10.7.4, fourth: a new connection on the same tuple.
	s = timeWait()
	s.next += 1000
	s.accepted()
	s.e.Abort(0)
	s.sent()
	s.gone()
	s = timeWait()
	s.deliver(build(s.tupleOf(0), s.next-1000, 0, wire.SYN, 100, "", "")) // an old SYN opens nothing
	s.expect(s.expected, wire.ACK, "")

	// The FIN of both sides, with our ACK of it.
	s = closed()
	s.say(s.next, wire.FIN|wire.ACK, "")
	s.next++
	s.expect(s.expected, wire.ACK, "")
	s.pass(waitTime + 10*time.Millisecond)
	s.gone()

	// A peer that never closes is waited for as long as TIME-WAIT lasts.
	s = closed()
	s.say(s.next, wire.ACK, "")
	s.pass(waitTime - 20*time.Millisecond)
	if s.e.places.(*Peers).count != 1 {
		t.Error("FIN-WAIT-2 is over too early")
	}
	s.pass(40 * time.Millisecond)
	s.gone()

	// One that sends on hears that nobody reads it.
	s = closed()
	s.say(s.next, wire.ACK|wire.PSH, "more")
	if got := s.sent(); !got.Is(wire.RST) {
		t.Errorf("sent %+v", got)
	}
	s.happened()
	s.gone()

	// One that is gone is given up.
	s = closed()
	for range orphanRetries {
		s.pass(2 * time.Minute)
		if got := s.sent(); !got.Is(wire.FIN) || string(got.Data) != "last" {
			t.Errorf("sent %+v", got)
		}
	}
	s.pass(2 * time.Minute)
	s.happened()
	s.gone()
}

// Section 3.6, figure 13.
func TestSimultaneousClose(t *testing.T) {
	s := newServer(t, 8, 4)
	s.accepted()
	s.e.Shutdown(0)
	s.expect(s.expected, wire.FIN|wire.ACK, "")
	s.say(s.next, wire.FIN|wire.ACK, "")
	s.next++
	s.happened("ended 0")
	s.expect(s.expected+1, wire.ACK, "")
	s.expected++
	s.say(s.next, wire.ACK, "")
	s.quiet()
	s.pass(waitTime - 20*time.Millisecond)
	s.happened()
	s.pass(40 * time.Millisecond)
	s.happened("closed 0")
	s.gone()
}

// Section 3.6: after Shutdown the peer may go on to send, and is heard.
func TestShutdown(t *testing.T) {
	s := newServer(t, 8, 4)
	s.accepted()
	s.e.Shutdown(0)
	s.expect(s.expected, wire.FIN|wire.ACK, "")
	s.expected++
	s.say(s.next, wire.ACK|wire.PSH, "still")
	s.next += 5
	s.happened("data 0")
	s.pass(time.Minute) // no time-out: the handler is there
	s.expect(s.expected, wire.ACK, "")
	s.say(s.next, wire.FIN|wire.ACK, "")
	s.next++
	s.happened("ended 0")
	s.expect(s.expected, wire.ACK, "")
	s.e.Close(0)
	s.pass(2 * time.Minute)
	s.happened()
	s.gone()

	s = newServer(t, 8, 4)
	s.accepted()
	s.e.Shutdown(0)
	s.sent()
	s.expected++
	s.say(s.next, wire.ACK, "")
	s.e.Close(0)
	s.pass(2 * time.Minute)
	s.happened()
	s.gone()
}

// A connection that is held takes what was allowed and no more. The window never moves
// back, and opens at once afterwards (section 3.8.6.2.2).
func TestHold(t *testing.T) {
	s := newServer(t, 8, 4)
	s.accepted()
	s.on = func(event string) {
		if event == "data 0" {
			s.e.Hold(0)
		}
	}
	all := pattern(4096)
	edge := uint32(0)
	for edge == 0 || s.next != edge {
		piece := all
		if edge != 0 {
			piece = all[:min(4096, edge-s.next)]
		}
		s.say(s.next, wire.ACK|wire.PSH, piece)
		s.next += uint32(len(piece))
		for len(s.wire.out) > 0 {
			got := s.sent()
			if now := got.Ack + uint32(got.Window); edge == 0 {
				edge = now
			} else if now != edge {
				t.Fatalf("the window ends at %d, before at %d", now-irs, edge-irs)
			}
		}
	}
	s.pass(50 * time.Millisecond)
	s.wire.out = nil
	got := len(s.data)
	if got != int(edge-irs-1) || got < receiveWindow {
		t.Fatalf("%d bytes came", got)
	}
	for _, probe := range []func(){
		func() { s.say(s.next, wire.ACK, "x") },
		func() { s.say(s.next-1, wire.ACK, "") },
		func() { s.say(s.next, wire.ACK|wire.FIN|wire.PSH, "xyz") },
	} {
		probe()
		if got := s.expect(s.expected, wire.ACK, ""); got.Window != 0 {
			t.Errorf("window %d", got.Window)
		}
	}
	if len(s.data) != got {
		t.Error("bytes beyond the window were taken")
	}
	s.on, s.events = nil, nil
	s.send("the other way goes on")
	s.expect(s.expected, wire.ACK|wire.PSH, "the other way goes on")
	s.expected += 21
	s.say(s.next, wire.ACK, "") // in a closed window
	s.e.Resume(0)
	if got := s.expect(s.expected, wire.ACK, ""); got.Window != receiveWindow {
		t.Errorf("window %d", got.Window)
	}
	s.say(s.next, wire.ACK|wire.PSH, "x")
	s.happened("data 0")
	s.next++
	s.pass(50 * time.Millisecond)
	s.sent()
	if s.e.conns[0].flight() != 0 {
		t.Error("a connection at rest has a flight")
	}
	s.e.Hold(0)
	s.e.Resume(0)
	s.quiet() // nothing to say
	s.e.Hold(0)
	s.e.Close(0)
	s.expect(s.expected, wire.FIN|wire.ACK, "")

	// A FIN right behind a window that is used up is taken, and the window stays closed.
	s = newServer(t, 8, 4)
	s.accepted()
	s.e.Hold(0)
	for edge := s.next + receiveWindow; s.next != edge; {
		piece := all[:min(4096, edge-s.next)]
		s.say(s.next, wire.ACK|wire.PSH, piece)
		s.next += uint32(len(piece))
	}
	s.pass(50 * time.Millisecond)
	s.wire.out, s.events = nil, nil
	s.say(s.next, wire.FIN|wire.ACK, "")
	s.next++
	s.happened("ended 0")
	if got := s.expect(s.expected, wire.ACK, ""); got.Window != 0 {
		t.Errorf("window %d", got.Window)
	}
	s.e.Close(0)
	s.expect(s.expected, wire.FIN|wire.ACK, "")
}

// Section 3.8.6.1: what the peer's window does not take is asked for, and the FIN comes
// last.
func TestCloseIntoZeroWindow(t *testing.T) {
	s := newServer(t, 8, 4)
	s.syn()
	s.saySo(s.next, s.expected, wire.ACK, 0, "")
	s.happened("opened 0")
	s.send("abc")
	s.e.Close(0)
	s.quiet()
	for range 3 {
		s.pass(2 * time.Minute)
		s.expect(s.expected, wire.ACK, "a")
		s.saySo(s.next, s.expected, wire.ACK, 0, "")
	}
	s.expected++
	s.saySo(s.next, s.expected, wire.ACK, 10, "")
	s.expect(s.expected, wire.FIN|wire.PSH|wire.ACK, "bc")
	s.expected += 3
	s.say(s.next, wire.FIN|wire.ACK, "")
	s.next++
	s.expect(s.expected, wire.ACK, "")
	s.pass(2 * time.Minute)
	s.gone()
}
