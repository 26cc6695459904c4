package packet

import (
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"connbench/clients/addresses"
	"connbench/clients/internal/engine"
	"connbench/clients/stack/wire"
)

// cable is a device in memory: what the engine has sent waits in out.
type cable struct{ in, out [][]byte }

func (c *cable) Wait(time.Duration) (bool, error) { return false, nil }
func (c *cable) Close()                           {}

func (c *cable) Read(p []byte) int {
	if len(c.in) == 0 {
		return 0
	}
	n := copy(p, c.in[0])
	c.in = c.in[1:]
	return n
}

func (c *cable) Write(p []byte) syscall.Errno {
	c.out = append(c.out, slices.Clone(p))
	return 0
}

// sent takes what the engine has sent last.
func (c *cable) sent(t *testing.T) (s wire.Segment) {
	t.Helper()
	n, ok := wire.ParseIP(c.out[len(c.out)-1][wire.LinkHeader:])
	if !ok || !s.Parse(n) {
		t.Fatal("no segment")
	}
	c.out = nil
	return s
}

// answer has the peer send a segment on a tuple of the engine's.
func (c *cable) answer(t wire.Tuple, sequence, acknowledge uint32, bits byte) {
	out := make([]byte, wire.LinkHeader+wire.MaxPacket)
	p := wire.Build(out, wire.Tuple{From: t.To, To: t.From}, sequence, acknowledge, bits, 100, 0, 1000)
	c.in = append(c.in, slices.Clone(p))
}

// opened notes which connection opened.
type opened struct {
	engine.Handler
	i int
}

func (o *opened) Opened(i int) { o.i = i }

// Connections that leave their tuple are found at the other one, and nobody else
// is.
func TestMovedTuples(t *testing.T) {
	tuples, err := addresses.NewTuples([]string{"198.18.0.0/24"}, []string{"198.19.0.1:9"}, addresses.PortRange{First: 20000, Last: 20003}, nil)
	if err != nil {
		t.Fatal(err)
	}
	share, link := tuples.Slice(0, 1), &cable{}
	e, err := newEngine(Config{Share: share, Capacity: 8}, link, func() int64 { return 1e15 })
	if err != nil {
		t.Fatal(err)
	}
	defer e.Release()
	tupleOf := func(i int) wire.Tuple {
		t := share.Tuple(uint64(i))
		return wire.Tuple{From: t.From, To: t.To}
	}
	open := func(i int, at wire.Tuple) engine.Failure { return e.Open(i, at.From, at.To) }

	taken := tupleOf(0)
	if f := open(0, taken); f != (engine.Failure{}) {
		t.Fatal(f)
	}
	if f := open(1, taken); f != (engine.Failure{Phase: "connect", Err: unix.EADDRNOTAVAIL}) {
		t.Fatal(f)
	}
	e.Close(0)
	for _, at := range []wire.Tuple{
		tupleOf(0), // of another connection, which has none
		tupleOf(7), // within the capacity
		tupleOf(9), // beyond it
		{From: tupleOf(0).From, To: netip.MustParseAddrPort("198.19.0.2:9")}, // in no plan
	} {
		if f := open(1, at); f != (engine.Failure{}) {
			t.Fatal(f)
		}
		first := link.sent(t)
		if first.Tuple != (wire.Tuple{From: at.To, To: at.From}) {
			t.Fatalf("SYN on %v, want %v", first.Tuple, at)
		}
		o := &opened{i: -1}
		link.answer(at, 5, first.Sequence+1, wire.SYN|wire.ACK)
		e.Deliver(o)
		if o.i != 1 {
			t.Fatalf("connection %d opened", o.i)
		}
		link.out = nil
		link.answer(tupleOf(1), 6, 5, wire.ACK) // its own tuple is nobody's
		e.Deliver(o)
		if got := link.sent(t); got.Bits != wire.RST {
			t.Errorf("sent %+v, want a reset", got)
		}
		if at == tupleOf(0) { // nor may another have it
			if f := open(0, at); f.Err != unix.EADDRNOTAVAIL {
				t.Fatal(f)
			}
		}
		e.Close(1)
		if m := e.places.moved; len(m.byTuple)+len(m.byConn) != 0 {
			t.Errorf("left over: %v", m)
		}
	}
	for _, c := range []struct {
		from, to string
		want     engine.Failure
	}{
		{"198.18.0.1:9", "198.18.0.1:9", engine.Failure{Phase: "bind", Err: unix.EADDRINUSE}},
		{"198.18.1.1:9", "198.19.0.1:9", engine.Failure{Phase: "bind", Err: unix.EADDRNOTAVAIL}},
	} {
		if f := e.Open(1, netip.MustParseAddrPort(c.from), netip.MustParseAddrPort(c.to)); f != c.want {
			t.Errorf("from %s to %s: %v, want %v", c.from, c.to, f, c.want)
		}
	}
}
