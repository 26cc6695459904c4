package stack

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"connbench/clients/stack/arena"
	"connbench/clients/stack/wire"
)

// RFC 9293 section 3.5, figure 6: the SYN has the option MSS, and what is sent at
// once goes with the ACK of the peer's SYN.
func TestHandshake(t *testing.T) {
	for _, hosts := range [][2]string{{"198.18.0.0/24", "198.19.0.1:9"}, {"fd00::/120", "[fd01::1]:9"}} {
		s := newScriptOf(t, hosts[0], hosts[1])
		s.open(0)
		first := s.sent()
		if first.Bits != wire.SYN || first.MSS != wire.OwnMSS(strings.Contains(hosts[0], ".")) || first.Window != receiveWindow {
			t.Fatalf("wire.SYN %+v", first)
		}
		s.expected = first.Sequence + 1
		s.on = func(event string) {
			if event == "opened 0" {
				s.send("hello")
			}
		}
		s.deliver(build(s.tupleOf(0), s.next, s.expected, wire.SYN|wire.ACK, 100, mss1460, ""))
		s.next++
		s.expect(s.expected, wire.ACK|wire.PSH, "hello")
		s.quiet()
		s.expected += 5
		s.say(s.next, wire.ACK, "")
		s.quiet()
		if s.e.flights.free == 0 || s.e.blocks.InUse() != 0 || s.e.conns[0].flight() != 0 {
			t.Error("a connection at rest has a flight")
		}
	}
}

// Section 3.8.1: a SYN is sent again after 1, 2, 4 ... seconds, and is given up
// in the end.
func TestSYNIsRepeated(t *testing.T) {
	s := newScript(t)
	s.begin()
	for k := range synRetries {
		s.pass(time.Second<<k - 10*time.Millisecond)
		s.quiet()
		s.pass(20 * time.Millisecond)
		s.expect(s.expected-1, wire.SYN, "")
		s.quiet()
	}
	s.pass(time.Minute)
	s.quiet()
	s.pass(10 * time.Second)
	s.happened("closed by ETIMEDOUT 0")
	s.quiet()
}

// Section 3.10.7.3: what is not an answer to the SYN is none.
func TestAnswersToSYN(t *testing.T) {
	for _, c := range []struct {
		name    string
		offset  uint32 // of the acknowledgment
		bits    byte
		event   string
		answers byte // 0: none
	}{
		{"refused", 0, wire.RST | wire.ACK, "closed by ECONNREFUSED 0", 0},
		{"wire.RST of something else", 1, wire.RST | wire.ACK, "", 0},
		{"wire.RST without wire.ACK", 0, wire.RST, "", 0},
		{"wire.SYN-wire.ACK of something else", 1, wire.SYN | wire.ACK, "", wire.RST},
		{"wire.ACK of something else", 1 << 31, wire.ACK, "", wire.RST},
		{"wire.ACK without wire.SYN", 0, wire.ACK, "", 0},
		{"nothing", 0, 0, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t)
			s.begin()
			s.saySo(irs, s.expected+c.offset, c.bits, 100, "")
			if c.event != "" {
				s.happened(c.event)
			} else {
				s.happened()
			}
			if c.answers != 0 {
				s.expect(s.expected+c.offset, c.answers, "")
			}
			s.quiet()
			if c.event == "" { // the connection still comes about
				s.saySo(irs, s.expected, wire.SYN|wire.ACK, 100, "")
				s.happened("opened 0")
			}
		})
	}
}

// Section 3.5, figure 7.
func TestSimultaneousOpen(t *testing.T) {
	s := newScript(t)
	s.begin()
	s.deliver(build(s.tupleOf(0), s.next, 0, wire.SYN, 100, mss1460, ""))
	s.next++
	s.happened()
	s.expect(s.expected-1, wire.SYN|wire.ACK, "")
	s.pass(3 * time.Second)
	s.expect(s.expected-1, wire.SYN|wire.ACK, "") // sent again
	s.say(s.next, wire.ACK, "")
	s.happened("opened 0")
	s.say(s.next, wire.ACK|wire.PSH, "data")
	s.happened("data 0")

	s = newScript(t)
	s.begin()
	s.deliver(build(s.tupleOf(0), s.next, 0, wire.SYN, 100, mss1460, ""))
	s.next++
	s.sent()
	s.saySo(s.next, s.expected+7, wire.ACK, 100, "")
	s.expect(s.expected+7, wire.RST, "")
	s.say(s.next, wire.RST, "")
	s.happened("closed by ECONNREFUSED 0")
}

// RFC 6528: no number says anything about another, and each grows with time.
func TestInitialNumbers(t *testing.T) {
	n, err := wire.NewISN()
	if err != nil {
		t.Fatal(err)
	}
	m, err := wire.NewISN()
	if err != nil {
		t.Fatal(err)
	}
	to := netip.MustParseAddrPort("198.19.0.1:9")
	seen := map[uint32]bool{}
	steps := map[uint32]int{}
	var last uint32
	for port := range 10000 {
		at := wire.Tuple{From: netip.AddrPortFrom(netip.MustParseAddr("198.18.0.1"), uint16(port)), To: to}
		number := n.Initial(at, 0)
		seen[number] = true
		steps[number-last]++
		last = number
		if n.Initial(at, 4000*77) != number+77 {
			t.Fatal("the clock is not of 4 µs")
		}
		if m.Initial(at, 0) == number {
			t.Fatal("another secret makes the same number")
		}
	}
	if len(seen) < 9990 || len(steps) < 9990 {
		t.Errorf("%d different numbers with %d different steps of 10000", len(seen), len(steps))
	}
	if again := n.Initial(wire.Tuple{From: netip.MustParseAddrPort("198.18.0.1:9999"), To: to}, 0); again != last {
		t.Error("the same tuple has another number")
	}
}

// Section 3.8.1 and RFC 6298: data is sent again, after longer and longer.
func TestDataIsRepeated(t *testing.T) {
	s := newScript(t)
	s.establish(60000)
	s.pass(time.Second)
	s.send("once")
	s.expect(s.expected, wire.ACK|wire.PSH, "once")
	timeout := leastTimeout // the handshake took no time
	for range 5 {
		s.pass(timeout - 10*time.Millisecond)
		s.quiet()
		s.pass(20 * time.Millisecond)
		s.expect(s.expected, wire.ACK|wire.PSH, "once")
		timeout *= 2
	}
	s.expected += 4
	s.say(s.next, wire.ACK, "")
	s.pass(time.Hour)
	s.quiet()
	// The next one starts anew.
	s.send("again")
	s.expect(s.expected, wire.ACK|wire.PSH, "again")
	s.pass(leastTimeout + 20*time.Millisecond)
	s.expect(s.expected, wire.ACK|wire.PSH, "again")
	for range dataRetries - 1 {
		s.pass(2 * time.Minute)
		s.expect(s.expected, wire.ACK|wire.PSH, "again")
	}
	s.happened()
	s.pass(2 * time.Minute)
	s.happened("closed by ETIMEDOUT 0")
	s.quiet()
}

// RFC 6298: the time-out follows the round-trip time, and by Karn's rule not that
// of what was sent twice.
func TestRoundTrip(t *testing.T) {
	s := newScript(t)
	s.begin()
	s.now += int64(400 * time.Millisecond)
	s.deliver(build(s.tupleOf(0), s.next, s.expected, wire.SYN|wire.ACK, 60000, mss1460, ""))
	s.next++
	s.sent()
	if got := s.e.roundTrip.timeout(0); got != 1200*time.Millisecond { // SRTT + 4 · SRTT/2
		t.Errorf("time-out %v, want 1.2 s", got)
	}
	s.send("x")
	s.sent()
	s.pass(1300 * time.Millisecond)
	s.expect(s.expected, wire.ACK|wire.PSH, "x")
	s.expected++
	before := s.e.roundTrip
	s.say(s.next, wire.ACK, "")
	if s.e.roundTrip != before {
		t.Error("measured what was sent twice")
	}
	s.send("y")
	s.sent()
	s.now += int64(200 * time.Millisecond)
	s.expected++
	s.say(s.next, wire.ACK, "")
	if s.e.roundTrip.smoothed != int64(375*time.Millisecond) {
		t.Errorf("smoothed %v, want 375 ms", time.Duration(s.e.roundTrip.smoothed))
	}
}

// RFC 5681 section 3.2: three duplicate ACKs, and the segment is sent again.
func TestFastRetransmit(t *testing.T) {
	s := newScript(t)
	s.establish(60000)
	all := pattern(14600)
	s.send(all) // the initial window, ten segments
	s.expect(s.expected, wire.ACK|wire.PSH, all)
	for range 2 {
		s.say(s.next, wire.ACK, "")
	}
	s.quiet()
	s.say(s.next, wire.ACK, "")
	s.expect(s.expected, wire.ACK, all[:1460])
	s.quiet()
	// A partial ACK: the next one is missing, too (RFC 6582).
	s.expected += 1460
	s.say(s.next, wire.ACK, "")
	s.expect(s.expected, wire.ACK, all[1460:2920])
	s.expected += 14600 - 1460
	s.say(s.next, wire.ACK, "")
	s.quiet()
	s.pass(time.Hour)
	s.quiet()
}

// RFC 5681 section 3.1: the congestion window grows with what is acknowledged, and
// begins anew after a time-out.
func TestCongestion(t *testing.T) {
	s := newScript(t)
	s.establish(65535)
	all := pattern(60000)
	s.send(all)
	s.expect(s.expected, wire.ACK, all[:14600])
	s.quiet()
	s.expected += 1460
	s.say(s.next, wire.ACK, "")
	s.expect(s.expected+13140, wire.ACK, all[14600:14600+2920]) // slow start: one for the ACK, one more
	s.quiet()
	s.pass(leastTimeout + 20*time.Millisecond)
	s.expect(s.expected, wire.ACK, all[1460:2920])
	s.quiet()
	s.expected += 1460
	s.say(s.next, wire.ACK, "")
	s.expect(s.expected, wire.ACK, all[2920:2920+2*1460])
	s.quiet()
	// All of it had come but the first.
	s.expected += 14600 - 1460
	s.say(s.next, wire.ACK, "")
	got := s.sent()
	if got.Sequence != s.expected {
		t.Errorf("goes on at %d, want 0", got.Sequence-s.expected)
	}
}

// Section 3.8.6: no more than the window, whole segments; a closed one is probed
// (section 3.8.6.1), for ever as long as there are answers.
func TestPeersWindow(t *testing.T) {
	s := newScript(t)
	s.establish(3000)
	all := pattern(5000)
	s.send(all)
	s.expect(s.expected, wire.ACK, all[:2920])
	s.quiet()
	s.expected += 2920
	s.saySo(s.next, s.expected, wire.ACK, 0, "")
	s.quiet()
	timeout := leastTimeout
	for range 3 * dataRetries {
		s.pass(timeout + 20*time.Millisecond)
		s.expect(s.expected, wire.ACK, all[2920:2921])
		s.quiet()
		s.saySo(s.next, s.expected, wire.ACK, 0, "")
		timeout = min(2*timeout, mostTimeout)
	}
	s.happened()
	// What the peer sends meanwhile is acknowledged from where its window ends: it
	// would not look at what is beyond.
	s.saySo(s.next, s.expected, wire.ACK|wire.PSH, 0, "data")
	s.next += 4
	s.happened("data 0")
	s.pass(ackDelay + 10*time.Millisecond)
	s.expect(s.expected, wire.ACK, "")
	s.saySo(s.next, s.expected, wire.ACK, 60000, "")
	s.expect(s.expected, wire.ACK|wire.PSH, all[2920:])
	s.expected += 5000 - 2920
	s.say(s.next, wire.ACK, "")
	s.pass(time.Hour)
	s.quiet()

	// A probe that is not answered ends in ETIMEDOUT.
	s.saySo(s.next, s.expected, wire.ACK, 0, "")
	s.send("x")
	for range dataRetries {
		s.pass(time.Hour)
		s.expect(s.expected, wire.ACK|wire.PSH, "x")
	}
	s.pass(time.Hour)
	s.happened("closed by ETIMEDOUT 0")
}

// A window smaller than a segment is still used, once nothing is on its
// way (section 3.8.6.2.1).
func TestTinyWindow(t *testing.T) {
	s := newScript(t)
	s.establish(100)
	all := pattern(250)
	s.send(all)
	s.expect(s.expected, wire.ACK, all[:100])
	s.expected += 60
	s.saySo(s.next, s.expected, wire.ACK, 100, "") // 60 more would fit
	s.quiet()
	s.expected += 40
	s.saySo(s.next, s.expected, wire.ACK, 100, "")
	s.expect(s.expected, wire.ACK, all[100:200])
}

// Sections 3.7.1 and 3.2: the peer's MSS, and what holds without one.
func TestMSS(t *testing.T) {
	for options, want := range map[string]int{
		"":                                 536,
		"\x01\x01\x02\x04\x03\xe8\x00\x00": 1000,
		"\x02\x04\xff\xff":                 1460,
		"\x02\x04\x00\x01":                 leastSegment,
		"\x08\x00\x00\x00":                 536, // broken
	} {
		s := newScript(t)
		s.begin()
		s.deliver(build(s.tupleOf(0), s.next, s.expected, wire.SYN|wire.ACK, 60000, options, ""))
		s.next++
		s.sent()
		s.send(pattern(2 * want))
		p := s.wire.out[0]
		if size := binary.NativeEndian.Uint16(p[4:]); int(size) != want || p[1] != wire.LargeIPv4 {
			t.Errorf("options %q: a large segment of %d each, kind %d; want %d", options, size, p[1], want)
		}
		s.expect(s.expected, wire.ACK|wire.PSH, pattern(2*want))
	}
}

// Section 3.10.7.4, seventh: what comes twice is acknowledged again, what comes out
// of order is dropped and asked for again, at once.
func TestDuplicatesAndOrder(t *testing.T) {
	s := newScript(t)
	s.establish(60000)
	s.say(s.next+4, wire.ACK|wire.PSH, "later")
	s.expect(s.expected, wire.ACK, "")
	s.happened()
	s.say(s.next, wire.ACK|wire.PSH, "soon")
	s.next += 4
	s.happened("data 0")
	s.quiet() // put off
	s.say(s.next-4, wire.ACK|wire.PSH, "soon")
	s.expect(s.expected, wire.ACK, "")
	s.happened()
	s.say(s.next-2, wire.ACK|wire.PSH, "onlater")
	s.next += 5
	s.happened("data 0")
	if string(s.data) != "soonlater" {
		t.Errorf("got %q", s.data)
	}
	s.pass(ackDelay + 10*time.Millisecond)
	s.expect(s.expected, wire.ACK, "")
	s.say(s.next+receiveWindow, wire.ACK|wire.PSH, "beyond the window")
	s.expect(s.expected, wire.ACK, "")
	s.say(s.next+1<<31, wire.ACK|wire.PSH, "far off")
	s.expect(s.expected, wire.ACK, "")
	s.happened()
}

// Section 3.8.6.3: an ACK waits for 40 ms, for something to go with, or for a
// second full segment.
func TestDelayedACK(t *testing.T) {
	s := newScript(t)
	s.establish(60000)
	s.say(s.next, wire.ACK|wire.PSH, "a")
	s.next++
	s.pass(ackDelay - 10*time.Millisecond)
	s.quiet()
	s.pass(20 * time.Millisecond)
	s.expect(s.expected, wire.ACK, "")

	s.say(s.next, wire.ACK|wire.PSH, "b")
	s.next++
	s.send("c")
	s.expect(s.expected, wire.ACK|wire.PSH, "c")
	s.expected++
	s.pass(100 * time.Millisecond)
	s.quiet()

	full := pattern(1460)
	s.say(s.next, wire.ACK, full)
	s.next += 1460
	s.quiet()
	s.say(s.next, wire.ACK, full)
	s.next += 1460
	s.expect(s.expected, wire.ACK, "")
	s.pass(time.Hour)
	s.quiet()
	// The answer from within the handler.
	s.on = func(event string) {
		if event == "data 0" {
			s.send("d")
		}
	}
	s.say(s.next, wire.ACK|wire.PSH, "e")
	s.next++
	s.expect(s.expected, wire.ACK|wire.PSH, "d")
	s.quiet()
}

// Section 3.8.4: keepalives, with and without a byte; and a probe of a window that
// is open.
func TestKeepalive(t *testing.T) {
	s := newScript(t)
	s.establish(60000)
	s.say(s.next-1, wire.ACK, "")
	s.expect(s.expected, wire.ACK, "")
	s.say(s.next-1, wire.ACK, "x")
	s.expect(s.expected, wire.ACK, "")
	s.happened()
	for range 2 * challengesPerSecond { // these are not bounded
		s.say(s.next-1, wire.ACK, "")
		s.expect(s.expected, wire.ACK, "")
	}
}

// RFC 5961 section 3.2.
func TestRST(t *testing.T) {
	s := newScript(t)
	s.establish(60000)
	s.say(s.next+1, wire.RST|wire.ACK, "")
	s.expect(s.expected, wire.ACK, "")
	s.say(s.next-1, wire.RST|wire.ACK, "")
	s.say(s.next+receiveWindow, wire.RST, "")
	s.quiet()
	s.happened()
	s.say(s.next, wire.RST, "")
	s.happened("closed by ECONNRESET 0")
	s.quiet()
}

// RFC 5961 sections 4.2 and 5.2: what an attacker who guesses would send leads to an
// ACK of what is right, and to not too many.
func TestChallenges(t *testing.T) {
	s := newScript(t)
	s.establish(60000)
	for _, sequence := range []uint32{s.next, s.next + 5, s.next - 5, s.next + 1<<31} {
		s.saySo(sequence, 0, wire.SYN, 100, "")
		s.expect(s.expected, wire.ACK, "")
	}
	s.saySo(s.next, s.expected+1, wire.ACK|wire.PSH, 100, "of what was not sent")
	s.expect(s.expected, wire.ACK, "")
	s.saySo(s.next, s.expected-receiveWindow-1, wire.ACK|wire.PSH, 100, "too old")
	s.expect(s.expected, wire.ACK, "")
	s.saySo(s.next-2, s.expected, wire.ACK, 100, "")
	s.expect(s.expected, wire.ACK, "")
	s.saySo(s.next, s.expected, wire.PSH, 100, "no wire.ACK")
	s.quiet()
	s.happened()
	bounds := map[int]bool{}
	for range 5 {
		s.pass(time.Second)
		for range 2 * challengesPerSecond {
			s.saySo(s.next, 0, wire.SYN, 100, "")
		}
		n := len(s.wire.out)
		if n < challengesPerSecond/2 || n >= challengesPerSecond*3/2 {
			t.Errorf("%d challenges in a second", n)
		}
		bounds[n] = true
		s.wire.out = nil
	}
	if len(bounds) == 1 {
		t.Errorf("the bound of each second is %v", bounds)
	}
	s.pass(time.Second)
	s.saySo(s.next, 0, wire.SYN, 100, "")
	s.expect(s.expected, wire.ACK, "")
	s.say(s.next, wire.ACK|wire.PSH, "still here")
	s.happened("data 0")
}

// Section 3.10.7.4, eighth: a FIN counts when all before it has come, with the data
// or after it, and once.
func TestFIN(t *testing.T) {
	s := newScript(t)
	s.establish(60000)
	s.say(s.next+4, wire.FIN|wire.ACK, "")
	s.expect(s.expected, wire.ACK, "") // data is missing
	s.happened()
	s.say(s.next, wire.FIN|wire.ACK|wire.PSH, "last")
	s.next += 5
	s.happened("data 0", "closed by end 0")
	s.expect(s.expected, wire.RST|wire.ACK, "")
	s.quiet()
	s.say(s.next-1, wire.FIN|wire.ACK, "") // sent again
	s.expect(s.expected, wire.RST, "")
	s.happened()

	s = newScript(t)
	s.establish(60000)
	s.send("what is not acknowledged does not matter")
	s.sent()
	s.say(s.next, wire.FIN|wire.ACK, "")
	s.happened("closed by end 0")
	if got := s.sent(); !got.Is(wire.RST) {
		t.Errorf("sent %+v", got)
	}
	s.pass(time.Hour)
	s.quiet()

	// Within what has come already, its end only is new.
	s = newScript(t)
	s.establish(60000)
	s.say(s.next, wire.ACK, "abc")
	s.say(s.next, wire.FIN|wire.ACK, "abc")
	s.happened("data 0", "closed by end 0")
}

// Section 3.10.7.1: what belongs to no connection is answered by a reset.
func TestNoSuchConnection(t *testing.T) {
	s := newScript(t)
	s.expected = 77
	s.saySo(5, 77, wire.ACK, 100, "hello")
	s.expect(77, wire.RST, "")
	s.saySo(5, 0, wire.SYN, 100, "hello")
	if got := s.sent(); got.Bits != wire.RST|wire.ACK || got.Sequence != 0 || got.Ack != 5+5+1 {
		t.Errorf("%+v", got)
	}
	s.saySo(5, 77, wire.RST|wire.ACK, 100, "")
	s.quiet()
	elsewhere := wire.Tuple{From: netip.MustParseAddrPort("198.18.1.1:5"), To: s.tupleOf(0).To} // not of our prefix
	s.deliver(build(elsewhere, 5, 77, wire.ACK, 100, "", ""))
	s.quiet()
	s.happened()
}

// Section 3.10.4 and 3.10.5: a connect that is closed says nothing, and its answer
// is reset; an open connection is.
func TestClose(t *testing.T) {
	s := newScript(t)
	s.begin()
	s.e.Abort(0)
	s.quiet()
	s.saySo(irs, s.expected, wire.SYN|wire.ACK, 100, "")
	s.expect(s.expected, wire.RST, "")

	s = newScript(t)
	s.establish(60000)
	s.send("unacknowledged")
	s.sent()
	s.e.Abort(0)
	s.e.Abort(0)
	if got := s.sent(); got.Bits != wire.RST|wire.ACK || got.Sequence != s.expected+14 {
		t.Errorf("%+v", got)
	}
	s.quiet()
	// The reset was lost: what the peer answers is reset with what it expects.
	s.say(s.next, wire.ACK, "")
	s.expect(s.expected, wire.RST, "")
	s.pass(time.Hour)
	s.quiet()
	s.happened()
	if _, err := s.e.Send(0, []byte("x")); err != unix.ENOTCONN {
		t.Errorf("sent on a closed connection: %v", err)
	}
}

// Section 3.4: sequence numbers of both sides wrap around, within a segment and
// between two.
func TestWrapAround(t *testing.T) {
	for _, room := range []uint32{0, 1, 2, 3, 700, 5000} {
		s := newScript(t)
		s.next = -room - 1 // the SYN's; data begins room before the wrap
		s.now = int64(uint32(-room-1)-s.e.numbers.Initial(s.tupleOf(0), 0)) * 4000
		s.establish(60000)
		if s.expected != -room {
			t.Fatalf("begins at %d, want %d", s.expected, -room)
		}
		all := pattern(3000)
		s.on = func(event string) {
			if event == "data 0" {
				s.send(all)
			}
		}
		for range 3 {
			s.say(s.next, wire.ACK|wire.PSH, all)
			s.next += 3000
			s.expect(s.expected, wire.ACK|wire.PSH, all)
			s.pass(leastTimeout + 20*time.Millisecond)
			s.expect(s.expected, wire.ACK, all[:1460])
			s.expected += 3000
			s.say(s.next, wire.ACK, "")
			s.say(s.next-3000, wire.ACK|wire.PSH, all)
			s.expect(s.expected, wire.ACK, "")
			s.quiet()
		}
		if string(s.data) != all+all+all {
			t.Errorf("room %d: %d bytes came", room, len(s.data))
		}
		s.say(s.next, wire.RST, "")
		s.happened("data 0", "data 0", "data 0", "closed by ECONNRESET 0")
	}
}

// A checksum that the device has not vouched for is looked at (section 3.1).
func TestChecksum(t *testing.T) {
	for _, hosts := range [][2]string{{"198.18.0.0/24", "198.19.0.1:9"}, {"fd00::/120", "[fd01::1]:9"}} {
		s := newScriptOf(t, hosts[0], hosts[1])
		s.establish(60000)
		p := build(s.tupleOf(0), s.next, s.expected, wire.ACK, 100, "", "odd")
		p[0] = 0
		s.deliver(p)
		s.happened("data 0")
		s.next += 3
		for _, place := range []int{len(p) - 1, len(p) - 4} {
			broken := build(s.tupleOf(0), s.next, s.expected, wire.ACK, 100, "", "even")
			broken[0] = 0
			broken[place] ^= 0x10
			s.deliver(broken)
			s.happened()
		}
	}
	s := newScript(t)
	s.establish(60000)
	p := build(s.tupleOf(0), s.next, s.expected, wire.ACK, 100, "", "x")
	p[wire.LinkHeader+8] ^= 1 // the IP header's own
	s.deliver(p)
	s.happened()
}

// What is not taken is asked for when half has gone, and large segments are handed
// over whole.
func TestMoreThanFits(t *testing.T) {
	s := newScript(t)
	s.establish(65535)
	all := pattern(100_000)
	n, err := s.e.Send(0, []byte(all))
	if n != maxQueued || err != nil {
		t.Fatalf("%d bytes were taken, %v", n, err)
	}
	if n, _ := s.e.Send(0, []byte(all[n:])); n != 0 {
		t.Fatalf("%d more bytes were taken", n)
	}
	var got []byte
	for len(s.events) == 0 {
		for len(s.wire.out) > 0 {
			sent := s.sent()
			if sent.Sequence != s.expected {
				t.Fatalf("goes on at %d", sent.Sequence-s.expected)
			}
			got = append(got, sent.Data...)
			s.expected += uint32(len(sent.Data))
		}
		s.say(s.next, wire.ACK, "")
	}
	s.happened("writable 0")
	if len(got) < maxQueued/2 || string(got) != all[:len(got)] {
		t.Errorf("%d bytes were sent before", len(got))
	}
}

// takeBlocks has somebody else hold so many blocks, until the function that it returns
// is called.
func takeBlocks(b *arena.Blocks, n int) (putBack func()) {
	var taken []uint32
	for range n {
		taken = append(taken, b.Take())
	}
	return func() {
		for _, k := range taken {
			b.Put(k, k)
		}
	}
}

// When all blocks are in use, connections wait for them, and go on in turn.
func TestBlocksRunOut(t *testing.T) {
	s := newScript(t)
	s.establish(0)
	putBack := takeBlocks(&s.e.blocks, s.e.blocks.Free()-1)
	if n, _ := s.e.Send(0, []byte(pattern(1000))); n != arena.BlockBytes {
		t.Fatalf("%d bytes were taken, want one block", n)
	}
	if n, _ := s.e.Send(0, []byte(pattern(1000))); n != 0 {
		t.Fatalf("%d bytes were taken", n)
	}
	s.e.Deliver(s)
	s.happened()
	putBack()
	s.e.Deliver(s)
	s.happened("writable 0")
	// One that is closed meanwhile hears nothing, and waits no longer.
	putBack = takeBlocks(&s.e.blocks, s.e.blocks.Free())
	s.e.Send(0, []byte(pattern(1000)))
	if s.e.starved.count != 1 {
		t.Errorf("%+v starved", s.e.starved)
	}
	s.e.Abort(0)
	if s.e.starved != (line{}) {
		t.Errorf("%+v starved", s.e.starved)
	}
	putBack()
	s.e.Deliver(s)
	s.happened()
	if s.e.blocks.InUse() != 0 {
		t.Errorf("%d blocks in use", s.e.blocks.InUse())
	}
}

// Section 3.9.2.2 and RFC 5927: that a target cannot be reached ends a connect, if
// it is said of the SYN that was sent; it does not end a connection.
func TestICMP(t *testing.T) {
	message := func(s *script, kind, code byte, mtu uint16, sequence uint32) []byte {
		own := build(wire.Tuple{From: s.tupleOf(0).To, To: s.tupleOf(0).From}, sequence, 0, wire.SYN, 100, "", "")[wire.LinkHeader:]
		own = own[:wire.IPv4Header+8]
		body := append([]byte{kind, code, 0, 0, 0, 0, byte(mtu >> 8), byte(mtu)}, own...)
		p := build(s.tupleOf(0), 0, 0, 0, 0, "", "")[:wire.LinkHeader+wire.IPv4Header]
		ip := p[wire.LinkHeader:]
		ip[9], ip[10], ip[11] = wire.ProtocolICMP, 0, 0
		binary.BigEndian.PutUint16(ip[2:], uint16(wire.IPv4Header+len(body)))
		binary.BigEndian.PutUint16(ip[10:], ^wire.Fold(wire.Sum(ip, 0)))
		return append(p, body...)
	}
	for code, want := range map[byte]string{0: "ENETUNREACH", 1: "EHOSTUNREACH", 2: "ENOPROTOOPT", 3: "ECONNREFUSED", 13: "EHOSTUNREACH"} {
		s := newScript(t)
		s.begin()
		s.deliver(message(s, 3, code, 0, s.expected+5)) // not of our SYN
		s.deliver(message(s, 11, 0, 0, s.expected-1))   // on its way it got lost
		s.happened()
		s.deliver(message(s, 3, code, 0, s.expected-1))
		s.happened(fmt.Sprintf("closed by %s 0", want))
	}
	s := newScript(t)
	s.establish(60000)
	s.send(pattern(3000))
	s.sent()
	s.deliver(message(s, 3, 1, 0, s.expected))
	s.deliver(message(s, 3, 4, 20, s.expected)) // smaller than any network
	s.happened()
	s.deliver(message(s, 3, 4, 540, s.expected)) // RFC 1191
	s.pass(leastTimeout + 20*time.Millisecond)
	s.expect(s.expected, wire.ACK, pattern(3000)[:500])
}

// The window is that of the newest segment in order, and the last ACK's.
func TestWindowUpdates(t *testing.T) {
	s := newScript(t)
	s.establish(1000)
	s.saySo(s.next+10, s.expected, wire.ACK, 9, "") // out of order: not the newest
	if got := s.e.conns[0].window; got != 1000 {
		t.Errorf("window %d", got)
	}
	s.saySo(s.next, s.expected-1, wire.ACK, 9, "") // an old ACK
	if got := s.e.conns[0].window; got != 1000 {
		t.Errorf("window %d", got)
	}
	s.saySo(s.next, s.expected, wire.ACK, 2000, "")
	if got := s.e.conns[0].window; got != 2000 {
		t.Errorf("window %d", got)
	}
}

func TestStateIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(conn{}); n != 16 {
		t.Errorf("%d bytes a connection, want 16", n)
	}
	if n := StateBytes(); n != 16 {
		t.Errorf("%d bytes reported", n)
	}
}

// Nothing is allocated for a connection or a packet.
func TestNoAllocations(t *testing.T) {
	s := newScript(t)
	e, h := s.e, quiet{}
	to := s.tupleOf(0)
	sink := &sinkWire{}
	e.device = sink
	message := []byte(pattern(100))
	var packets [3][]byte
	for k := range packets {
		packets[k] = build(to, 0, 0, 0, 60000, "", pattern(100)[:k*50])
	}
	patch := func(k int, bits byte, sequence, acknowledge uint32) []byte {
		tcp := packets[k][wire.LinkHeader+wire.IPv4Header:]
		tcp[13] = bits
		binary.BigEndian.PutUint32(tcp[4:], sequence)
		binary.BigEndian.PutUint32(tcp[8:], acknowledge)
		return packets[k]
	}
	if n := testing.AllocsPerRun(1000, func() {
		if errno := e.Connect(0); errno != 0 {
			t.Fatal(errno)
		}
		own := e.conns[0].sendNext
		sink.in = patch(0, wire.SYN|wire.ACK, irs, own)
		e.Deliver(h)
		e.Send(0, message)
		sink.in = patch(1, wire.ACK, irs+1, own+100)
		e.Deliver(h)
		s.now += int64(50 * time.Millisecond)
		e.Deliver(h) // the delayed ACK
		sink.in = patch(2, wire.ACK, irs+1, own+100)
		e.Deliver(h)
		e.Abort(0)
	}); n != 0 {
		t.Errorf("%g allocations for a connection", n)
	}
	if sink.sent < 5000 {
		t.Errorf("%d packets were sent", sink.sent)
	}
}

type quiet struct{}

func (quiet) Opened(int)        {}
func (quiet) Writable(int)      {}
func (quiet) Data(int, []byte)  {}
func (quiet) Closed(int, error) {}
func (quiet) Ended(int)         {}

// sinkWire delivers one packet and forgets what is sent.
type sinkWire struct {
	cable
	in   []byte
	sent int
}

func (w *sinkWire) Read(p []byte) int {
	n := copy(p, w.in)
	w.in = nil
	return n
}

func (w *sinkWire) Write([]byte) unix.Errno { w.sent++; return 0 }
