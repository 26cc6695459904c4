package packet

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"connbench/clients/addresses"
	"connbench/clients/control"
	"connbench/clients/internal/engine"
)

// wire is a device in memory: what the engine has sent waits in out.
type wire struct {
	in, out [][]byte
}

func (w *wire) wait(time.Duration) (bool, error) { return false, nil }
func (w *wire) close()                           {}

func (w *wire) read(p []byte) int {
	if len(w.in) == 0 {
		return 0
	}
	n := copy(p, w.in[0])
	w.in = w.in[1:]
	return n
}

func (w *wire) write(p []byte) syscall.Errno {
	w.out = append(w.out, slices.Clone(p))
	return 0
}

// script is a peer that sends what the test says, on a clock that stands still.
// It is the handler, too.
type script struct {
	t      *testing.T
	e      *Engine
	wire   *wire
	now    int64
	share  addresses.Share
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
	s := &script{t: t, wire: &wire{}, now: 1e15, share: p.Slice(0, 1), next: irs}
	s.e, err = newEngine(Config{Share: s.share, Capacity: 8}, s.wire, func() int64 { return s.now })
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
func (s *script) Closed(i int, why engine.Failure) {
	if why.Err == control.Closed {
		s.note("closed by end", i)
		return
	}
	s.note(fmt.Sprint("closed by ", why.Name()), i)
}

// tupleOf is connection i's own.
func (s *script) tupleOf(i int) tuple {
	t := s.share.Tuple(uint64(i))
	return tuple{t.From, t.To}
}

// build makes a packet from the peer's end of a tuple, its checksum computed.
func build(t tuple, sequence, acknowledge uint32, bits byte, window uint16, options, data string) []byte {
	p := make([]byte, linkHeader)
	p[0] = validChecksum
	size := tcpHeader + len(options)
	if t.to.Addr().Is4() {
		ip := make([]byte, ipv4Header)
		ip[0], ip[8], ip[9] = 0x45, 64, protocolTCP
		binary.BigEndian.PutUint16(ip[2:], uint16(ipv4Header+size+len(data)))
		copy(ip[12:], t.to.Addr().AsSlice())
		copy(ip[16:], t.from.Addr().AsSlice())
		binary.BigEndian.PutUint16(ip[10:], ^fold(sum(ip, 0)))
		p = append(p, ip...)
	} else {
		ip := make([]byte, ipv6Header)
		ip[0], ip[6], ip[7] = 0x60, protocolTCP, 64
		binary.BigEndian.PutUint16(ip[4:], uint16(size+len(data)))
		copy(ip[8:], t.to.Addr().AsSlice())
		copy(ip[24:], t.from.Addr().AsSlice())
		p = append(p, ip...)
	}
	tcp := make([]byte, size)
	binary.BigEndian.PutUint16(tcp, t.to.Port())
	binary.BigEndian.PutUint16(tcp[2:], t.from.Port())
	binary.BigEndian.PutUint32(tcp[4:], sequence)
	binary.BigEndian.PutUint32(tcp[8:], acknowledge)
	tcp[12], tcp[13] = byte(size/4)<<4, bits
	binary.BigEndian.PutUint16(tcp[14:], window)
	copy(tcp[tcpHeader:], options)
	tcp = append(tcp, data...)
	binary.BigEndian.PutUint16(tcp[16:], ^fold(sum(tcp, pseudo(t.to.Addr(), t.from.Addr(), len(tcp)))))
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
func (s *script) sent() *segment {
	s.t.Helper()
	if len(s.wire.out) == 0 {
		s.t.Fatalf("nothing was sent; events %v", s.events)
	}
	p := s.wire.out[0]
	s.wire.out = s.wire.out[1:]
	n, ok := parseIP(p[linkHeader:])
	if !ok || n.protocol != protocolTCP {
		s.t.Fatalf("sent % x", p)
	}
	headers := len(p) - linkHeader - len(n.payload)
	if start, offset := binary.NativeEndian.Uint16(p[6:]), binary.NativeEndian.Uint16(p[8:]); p[0] != needsChecksum || int(start) != headers || offset != 16 {
		s.t.Fatalf("link header % x", p[:linkHeader])
	}
	if got, want := binary.BigEndian.Uint16(n.payload[16:]), fold(pseudo(n.from, n.to, len(n.payload))); got != want {
		s.t.Fatalf("checksum so far is %x, want %x", got, want)
	}
	sent := &segment{}
	if !sent.parse(n) {
		s.t.Fatalf("sent % x", n.payload)
	}
	sent.tuple = tuple{sent.tuple.to, sent.tuple.from}
	return sent
}

// expect checks the next packet sent: on connection 0, and acknowledging what the
// peer has said so far.
func (s *script) expect(sequence uint32, bits byte, data string) *segment {
	s.t.Helper()
	got := s.sent()
	want := fmt.Sprintf("%d+%d %05b %q", sequence-s.expected, len(data), bits, short(data))
	if have := fmt.Sprintf("%d+%d %05b %q", got.sequence-s.expected, len(got.data), got.bits, short(string(got.data))); have != want || string(got.data) != data {
		s.t.Fatalf("sent %s, want %s (sequence relative to what is not acknowledged)", have, want)
	}
	if bits&ack != 0 && got.ack != s.next {
		s.t.Fatalf("acknowledges %d, want %d", got.ack-irs, s.next-irs)
	}
	if got.tuple != s.tupleOf(0) {
		s.t.Fatalf("sent on %v", got.tuple)
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
	t := s.tupleOf(i)
	if f := s.e.Open(i, t.from, t.to); f != (engine.Failure{}) {
		s.t.Fatal(f)
	}
}

// begin opens connection 0 as far as the SYN.
func (s *script) begin() {
	s.t.Helper()
	s.open(0)
	syn := s.sent()
	s.expected = syn.sequence + 1
}

const mss1460 = "\x02\x04\x05\xb4"

// establish opens connection 0; the peer allows a window.
func (s *script) establish(window uint16) {
	s.t.Helper()
	s.begin()
	s.deliver(build(s.tupleOf(0), s.next, s.expected, syn|ack, window, mss1460, ""))
	s.next++
	s.happened("opened 0")
	s.expect(s.expected, ack, "")
	s.quiet()
}

// send has the engine send bytes, of which it must take all.
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
