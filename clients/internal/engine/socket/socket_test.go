package socket

import (
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"connbench/clients/internal/engine"
	"connbench/clients/internal/engine/enginetest"
	"connbench/clients/internal/peer"
)

func TestEngine(t *testing.T) {
	for host, source := range map[string]string{"127.0.0.1": "127.3.0.1", "::1": "::1"} {
		t.Run(host, func(t *testing.T) {
			enginetest.Run(t, enginetest.Subject{
				New: func(t *testing.T, capacity, wake int) engine.Engine {
					e, err := New(capacity, wake)
					if err != nil {
						t.Fatal(err)
					}
					return e
				},
				Host: host,
				From: func(i int) netip.AddrPort {
					return netip.AddrPortFrom(netip.MustParseAddr(source), uint16(21000+i))
				},
			})
		})
	}
}

// flooded is a handler of connections whose peers never stop sending. Before it has
// taken some data, there is as much again to be taken.
type flooded struct {
	t     *testing.T
	e     *Engine
	reads map[int]int // since it was emptied
	// stalled says that a peer's bytes did not come for some seconds. Kernels have been seen to
	// deliver nothing more on a loopback connection that overflowed, for as long as one waits.
	stalled bool
}

func (f *flooded) Opened(int)                     {}
func (f *flooded) Writable(int)                   {}
func (f *flooded) Closed(i int, _ engine.Failure) { f.t.Fatalf("connection %d ended", i) }
func (f *flooded) Data(i int, _ []byte) {
	if f.reads[i]++; f.reads[i] > 2 {
		f.t.Fatalf("connection %d was read from %d times in one turn", i, f.reads[i])
	}
	descriptor := int(f.e.slots[i].descriptor())
	end := time.Now().Add(5 * time.Second)
	for waiting := 0; waiting < len(f.e.buffer); {
		if f.stalled = time.Now().After(end); f.stalled {
			f.t.Logf("connection %d has stalled with %d bytes", i, waiting)
			return
		}
		var err error
		if waiting, err = unix.IoctlGetInt(descriptor, unix.SIOCINQ); err != nil {
			f.t.Fatal(err)
		}
	}
}

// Peers that never stop sending take no more than their share of a turn, and the
// engine still waits for others.
func TestFlood(t *testing.T) {
	const connections = 3
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	e, err := New(connections, int(r.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Release()
	e.buffer = e.buffer[:1<<10] // less than there is at any time
	flood := make([]byte, 1<<20)
	server := peer.Start(t, "127.0.0.1", func(_ int, c *peer.Conn) {
		for c.Send(flood) == nil {
		}
	})
	h := &flooded{t: t, e: e, reads: map[int]int{}}
	for i := range connections {
		from := netip.AddrPortFrom(netip.MustParseAddr("127.3.0.2"), uint16(21000+i))
		if f := e.Open(i, from, netip.MustParseAddrPort(server.Address)); f.Err != nil {
			t.Fatal(f)
		}
	}
	all := map[int]bool{}
	end := time.Now().Add(time.Minute)
	turn := func() (woken bool) {
		t.Helper()
		clear(h.reads)
		woken, err := e.Wait(time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		e.Deliver(h)
		for i := range h.reads {
			all[i] = true
		}
		if time.Now().After(end) {
			t.Fatalf("not all connections have sent for a minute: %v", all)
		}
		return woken
	}
	for len(all) < connections {
		turn()
	}
	for range 50 {
		if h.stalled {
			break // there are fewer turns to be seen
		}
		if turn() {
			t.Fatal("woken without a reason")
		}
	}
	w.Write([]byte("x"))
	for !turn() {
	}
}
