package stack

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"connbench/clients/addresses"
	"connbench/clients/stack/wire"
)

// wire is a device in memory: what the engine has sent waits in out.
type cable struct {
	in, out [][]byte
}

func (w *cable) Wait(time.Duration) (bool, error) { return false, nil }
func (w *cable) Close()                           {}

func (w *cable) Read(p []byte) int {
	if len(w.in) == 0 {
		return 0
	}
	n := copy(p, w.in[0])
	w.in = w.in[1:]
	return n
}

func (w *cable) Write(p []byte) syscall.Errno {
	w.out = append(w.out, slices.Clone(p))
	return 0
}

// script is a peer that sends what the test says, on a clock that stands still.
// It is the handler, too.
type script struct {
	t      *testing.T
	e      *Stack
	wire   *cable
	now    int64
	share  addresses.Share
	fixed  func(i int) wire.Tuple // instead of the share's
	events []string
	data   []byte
	on     func(event string)

	// Of connection 0, as the peer sees it: what it sends next and expects next.
	next, expected uint32
}

const irs = 1000 // the peer's initial sequence number, unless a test says otherwise

func newScript(t *testing.T) *script { return newScriptOf(t, "198.18.0.0/24", "198.19.0.1:9") }

func newScriptOf(t *testing.T, prefix, target string) *script {
	t.Helper()
	p, err := addresses.NewTuples([]string{prefix}, []string{target}, addresses.PortRange{First: 20000, Last: 20003}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &script{t: t, wire: &cable{}, now: 1e15, share: p.Slice(0, 1), next: irs}
	s.e, err = newPlanned(s.share, 8, s.wire, func() int64 { return s.now })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.e.Release)
	return s
}

func (s *script) note(event string, i int) {
	event = fmt.Sprint(event, " ", i)
	s.events = append(s.events, event)
	if s.on != nil {
		s.on(event)
	}
}

func (s *script) Opened(i int)         { s.note("opened", i) }
func (s *script) Writable(i int)       { s.note("writable", i) }
func (s *script) Data(i int, p []byte) { s.data = append(s.data, p...); s.note("data", i) }
func (s *script) Closed(i int, why error) {
	if why == nil {
		s.note("closed", i)
		return
	}
	s.note(fmt.Sprint("closed by ", unix.ErrnoName(why.(syscall.Errno))), i)
}

// Ended does as a client that closes by resets; a server only notes it.
func (s *script) Ended(i int) {
	if s.fixed != nil {
		s.note("ended", i)
		return
	}
	s.e.Abort(i)
	s.note("closed by end", i)
}

// planned are the places of connections by their numbers.
type planned struct {
	share  addresses.Share
	finder *addresses.Finder
	open   func(i int) bool
}

func (p *planned) Find(t wire.Tuple) (i int, ok bool) {
	j, ok := p.finder.Find(t.From, t.To)
	return int(j), ok && j < capacity && p.open(int(j))
}

func (p *planned) Tuple(i int) wire.Tuple {
	t := p.share.Tuple(uint64(i))
	return wire.Tuple{From: t.From, To: t.To}
}

func (p *planned) Ours(a netip.Addr) bool        { return p.share.Sources().Contains(a) }
func (p *planned) Take(wire.Tuple) (int, Answer) { return 0, Refused }
func (p *planned) Left(int)                      {}

// newPlanned returns a stack whose connections have the tuples of a share.
func newPlanned(share addresses.Share, capacity int, device Device, clock func() int64) (*Stack, error) {
	p := &planned{share: share, finder: share.Finder()}
	e, err := New(Config{Device: device, Places: p, Clock: clock, Capacity: capacity, BufferBytes: 16 << 20})
	if err == nil {
		p.open = e.Open
	}
	return e, err
}

const capacity = 100

// tupleOf is connection i's own.
func (s *script) tupleOf(i int) wire.Tuple {
	if s.fixed != nil {
		return s.fixed(i)
	}
	t := s.share.Tuple(uint64(i))
	return wire.Tuple{From: t.From, To: t.To}
}

// build makes a packet from the peer's end of a tuple, its checksum computed.
func build(t wire.Tuple, sequence, acknowledge uint32, bits byte, window uint16, options, data string) []byte {
	p := make([]byte, wire.LinkHeader)
	p[0] = wire.ValidChecksum
	size := wire.TCPHeader + len(options)
	if t.To.Addr().Is4() {
		ip := make([]byte, wire.IPv4Header)
		ip[0], ip[8], ip[9] = 0x45, 64, wire.ProtocolTCP
		binary.BigEndian.PutUint16(ip[2:], uint16(wire.IPv4Header+size+len(data)))
		copy(ip[12:], t.To.Addr().AsSlice())
		copy(ip[16:], t.From.Addr().AsSlice())
		binary.BigEndian.PutUint16(ip[10:], ^wire.Fold(wire.Sum(ip, 0)))
		p = append(p, ip...)
	} else {
		ip := make([]byte, wire.IPv6Header)
		ip[0], ip[6], ip[7] = 0x60, wire.ProtocolTCP, 64
		binary.BigEndian.PutUint16(ip[4:], uint16(size+len(data)))
		copy(ip[8:], t.To.Addr().AsSlice())
		copy(ip[24:], t.From.Addr().AsSlice())
		p = append(p, ip...)
	}
	tcp := make([]byte, size)
	binary.BigEndian.PutUint16(tcp, t.To.Port())
	binary.BigEndian.PutUint16(tcp[2:], t.From.Port())
	binary.BigEndian.PutUint32(tcp[4:], sequence)
	binary.BigEndian.PutUint32(tcp[8:], acknowledge)
	tcp[12], tcp[13] = byte(size/4)<<4, bits
	binary.BigEndian.PutUint16(tcp[14:], window)
	copy(tcp[wire.TCPHeader:], options)
	tcp = append(tcp, data...)
	binary.BigEndian.PutUint16(tcp[16:], ^wire.Fold(wire.Sum(tcp, wire.Pseudo(t.To.Addr(), t.From.Addr(), len(tcp)))))
	return append(p, tcp...)
}

// deliver hands packets to the engine.
func (s *script) deliver(packets ...[]byte) {
	s.wire.in = append(s.wire.in, packets...)
	s.e.Deliver(s)
}

// say sends a segment on connection 0 with the acknowledgment due, and a window of
// 60,000.
func (s *script) say(sequence uint32, bits byte, data string) {
	s.saySo(sequence, s.expected, bits, 60000, data)
}

func (s *script) saySo(sequence, acknowledge uint32, bits byte, window uint16, data string) {
	s.deliver(build(s.tupleOf(0), sequence, acknowledge, bits, window, "", data))
}

// pass lets time pass.
func (s *script) pass(d time.Duration) {
	s.now += int64(d)
	s.e.Deliver(s)
}

// sent takes the next packet that the engine has sent, and checks what can be
// checked of any: lengths, and the checksum as it is handed to the kernel.
func (s *script) sent() *wire.Segment {
	s.t.Helper()
	if len(s.wire.out) == 0 {
		s.t.Fatalf("nothing was sent; events %v", s.events)
	}
	p := s.wire.out[0]
	s.wire.out = s.wire.out[1:]
	n, ok := wire.ParseIP(p[wire.LinkHeader:])
	if !ok || n.Protocol != wire.ProtocolTCP {
		s.t.Fatalf("sent % x", p)
	}
	headers := len(p) - wire.LinkHeader - len(n.Payload)
	if start, offset := binary.NativeEndian.Uint16(p[6:]), binary.NativeEndian.Uint16(p[8:]); p[0] != wire.NeedsChecksum || int(start) != headers || offset != 16 {
		s.t.Fatalf("link header % x", p[:wire.LinkHeader])
	}
	if got, want := binary.BigEndian.Uint16(n.Payload[16:]), wire.Fold(wire.Pseudo(n.From, n.To, len(n.Payload))); got != want {
		s.t.Fatalf("checksum so far is %x, want %x", got, want)
	}
	sent := &wire.Segment{}
	if !sent.Parse(n) {
		s.t.Fatalf("sent % x", n.Payload)
	}
	sent.Tuple = wire.Tuple{From: sent.Tuple.To, To: sent.Tuple.From}
	return sent
}

// expect checks the next packet sent: on connection 0, and acknowledging what the
// peer has said so far.
func (s *script) expect(sequence uint32, bits byte, data string) *wire.Segment {
	s.t.Helper()
	got := s.sent()
	want := fmt.Sprintf("%d+%d %05b %q", sequence-s.expected, len(data), bits, short(data))
	if have := fmt.Sprintf("%d+%d %05b %q", got.Sequence-s.expected, len(got.Data), got.Bits, short(string(got.Data))); have != want || string(got.Data) != data {
		s.t.Fatalf("sent %s, want %s (sequence relative to what is not acknowledged)", have, want)
	}
	if bits&wire.ACK != 0 && got.Ack != s.next {
		s.t.Fatalf("acknowledges %d, want %d", got.Ack-irs, s.next-irs)
	}
	if got.Tuple != s.tupleOf(0) {
		s.t.Fatalf("sent on %v", got.Tuple)
	}
	return got
}

func short(s string) string { return s[:min(len(s), 20)] }

// quiet checks that nothing more was sent.
func (s *script) quiet() {
	s.t.Helper()
	if len(s.wire.out) > 0 {
		s.t.Fatalf("sent %+v", s.sent())
	}
}

// happened checks all events since the last time.
func (s *script) happened(events ...string) {
	s.t.Helper()
	if got, want := strings.Join(s.events, ", "), strings.Join(events, ", "); got != want {
		s.t.Fatalf("events %q, want %q", got, want)
	}
	s.events = nil
}

func (s *script) open(i int) {
	s.t.Helper()
	if errno := s.e.Connect(i); errno != 0 {
		s.t.Fatal(errno)
	}
}

// begin opens connection 0 as far as the SYN.
func (s *script) begin() {
	s.t.Helper()
	s.open(0)
	syn := s.sent()
	s.expected = syn.Sequence + 1
}

const mss1460 = "\x02\x04\x05\xb4"

// establish opens connection 0; the peer allows a window.
func (s *script) establish(window uint16) {
	s.t.Helper()
	s.begin()
	s.deliver(build(s.tupleOf(0), s.next, s.expected, wire.SYN|wire.ACK, window, mss1460, ""))
	s.next++
	s.happened("opened 0")
	s.expect(s.expected, wire.ACK, "")
	s.quiet()
}

// send has the engine send bytes. It must take all of them.
func (s *script) send(p string) {
	s.t.Helper()
	if n, err := s.e.Send(0, []byte(p)); n != len(p) || err != nil {
		s.t.Fatalf("%d of %d bytes were taken, %v", n, len(p), err)
	}
}

func pattern(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8)
	}
	return string(b)
}
