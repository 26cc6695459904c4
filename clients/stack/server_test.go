package stack

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"connbench/clients/internal/clock"
	"connbench/clients/stack/stacktest"
	"connbench/clients/stack/tun"
	"connbench/clients/stack/wire"
)

// echoes is a server that sends every byte back, and closes when the peer has.
type echoes struct {
	t      *testing.T
	e      *Stack
	unsent map[int][]byte
	ended  map[int]bool
	open   map[int]bool
	held   int
	resets int
}

func (s *echoes) Opened(i int) {
	if s.open[i] {
		s.t.Errorf("connection %d opened twice", i)
	}
	s.open[i] = true
}

func (s *echoes) Data(i int, p []byte) {
	if !s.open[i] {
		s.t.Errorf("%d bytes on connection %d", len(p), i)
	}
	s.unsent[i] = append(s.unsent[i], p...)
	if len(s.unsent[i]) > 2*receiveWindow {
		s.t.Errorf("%d bytes came on a connection that is held", len(s.unsent[i]))
	}
	s.Writable(i)
}

func (s *echoes) Writable(i int) {
	n, err := s.e.Send(i, s.unsent[i])
	if err != nil {
		s.t.Errorf("connection %d: %v", i, err)
	}
	if s.unsent[i] = s.unsent[i][n:]; len(s.unsent[i]) > 0 {
		s.held++
		s.e.Hold(i)
		return
	}
	delete(s.unsent, i)
	s.e.Resume(i)
	if s.ended[i] {
		s.e.Close(i)
		s.forget(i)
	}
}

func (s *echoes) Ended(i int) {
	s.ended[i] = true
	if len(s.unsent[i]) == 0 {
		s.e.Close(i)
		s.forget(i)
	}
}

func (s *echoes) Closed(i int, why error) {
	if why != unix.ECONNRESET {
		s.t.Errorf("connection %d: %v", i, why)
	}
	s.resets++
	s.forget(i)
}

func (s *echoes) forget(i int) {
	delete(s.unsent, i)
	delete(s.ended, i)
	delete(s.open, i)
}

func newEchoes(t *testing.T, e *Stack) *echoes {
	return &echoes{t: t, e: e, unsent: map[int][]byte{}, ended: map[int]bool{}, open: map[int]bool{}}
}

// serve runs a server on an address, on a device that link changes, until stop returns.
func serve(t *testing.T, at netip.AddrPort, link func(Device) Device, handler func(*Stack) Handler) (stop func()) {
	t.Helper()
	device, err := tun.Open([]netip.Prefix{netip.PrefixFrom(at.Addr(), at.Addr().BitLen())}, -1, wire.MTU)
	if err != nil {
		t.Fatal(err)
	}
	places, err := NewPeers([]netip.AddrPort{at}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(Config{Device: link(device), Places: places, Clock: clock.Now, Capacity: 1000, BufferBytes: 4 << 20, HalfOpen: 100})
	if err != nil {
		t.Fatal(err)
	}
	h := handler(e)
	end, ended := make(chan bool), make(chan bool)
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				e.Deliver(h) // what the peers have sent last
				return
			default:
			}
			if _, err := e.Wait(10 * time.Millisecond); err != nil {
				t.Error(err)
				return
			}
			e.Deliver(h)
		}
	}()
	return func() {
		close(end)
		<-ended
		e.Release()
		places.Release()
	}
}

// The kernel's TCP as the client, over links that lose, duplicate and reorder packets: every
// byte comes back, once and in order; either side may close first, both may at a time,
// one half may go on alone, and a peer that does not read holds nobody up.
func TestServesTheKernel(t *testing.T) {
	stacktest.Need(t)
	for n, part := range []float64{0, 0.01, 0.1} {
		for _, form := range []string{"198.18.9.%d", "fd00:c9::%d"} {
			at := netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf(form, n+1)), 80)
			t.Run(fmt.Sprintf("%g to %s", part, at), func(t *testing.T) {
				t.Parallel()
				var s *echoes
				stop := serve(t, at, func(d Device) Device {
					if part == 0 {
						return d
					}
					return &lossy{Device: d, random: rand.New(rand.NewPCG(uint64(part*1000), 9)), part: part}
				}, func(e *Stack) Handler {
					s = newEchoes(t, e)
					return s
				})
				const connections = 40
				var all sync.WaitGroup
				for k := range connections {
					size := 1 + k*977%4000
					if k%10 == 0 {
						size = 300_000
						if part > 0.05 {
							size = 30_000
						}
					}
					all.Go(func() { exchange(t, at, size, k) })
				}
				all.Wait()
				stop()
				if t.Failed() {
					return
				}
				if s.held == 0 && part == 0 {
					t.Error("no connection was held")
				}
				if part == 0 && s.resets == 0 {
					t.Error("no connection was reset")
				}
				if len(s.open) > 0 && part == 0 {
					t.Errorf("%d connections are open still", len(s.open))
				}
			})
		}
	}
}

// exchange sends bytes, reads them back and ends the connection in the k-th way.
func exchange(t *testing.T, at netip.AddrPort, size, k int) {
	c, err := net.DialTimeout("tcp", at.String(), time.Minute)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(3 * time.Minute))
	tcp, want := c.(*net.TCPConn), []byte(pattern(size))
	fail := func(what string, err error) { t.Errorf("connection %d of %d bytes: %s: %v", k, size, what, err) }
	wrote := make(chan error, 1)
	write := func() {
		_, err := c.Write(want)
		if err == nil && k%2 == 0 {
			err = tcp.CloseWrite() // the other half goes on
		}
		wrote <- err
	}
	if k%10 == 0 {
		// More than both sides have room for, before anything is read.
		tcp.SetReadBuffer(4096)
		go write()
		select {
		case err := <-wrote:
			wrote <- err
		case <-time.After(300 * time.Millisecond):
		}
	} else {
		write()
	}
	got := make([]byte, size)
	if _, err := io.ReadFull(c, got); err != nil {
		fail("reading", err)
		return
	}
	if !bytes.Equal(got, want) {
		fail("reading", fmt.Errorf("other bytes"))
	}
	if err := <-wrote; err != nil {
		fail("writing", err)
	}
	switch {
	case k%2 == 0:
		if n, err := c.Read(got); n != 0 || err != io.EOF {
			fail("the end", err)
		}
	case k%4 == 1:
		tcp.SetLinger(0) // a reset
	}
}

// crossing keeps a FIN of this side back until that of the peer has come, so that both
// are under way at a time.
type crossing struct {
	Device
	held [][]byte
}

func hasFIN(p []byte) bool {
	var s wire.Segment
	n, ok := wire.ParseIP(p[wire.LinkHeader:])
	return ok && s.Parse(n) && s.Is(wire.FIN)
}

func (c *crossing) Write(p []byte) syscall.Errno {
	if hasFIN(p) {
		c.held = append(c.held, slices.Clone(p))
		return 0
	}
	return c.Device.Write(p)
}

func (c *crossing) Read(p []byte) int {
	n := c.Device.Read(p)
	if n > 0 && hasFIN(p[:n]) {
		for _, fin := range c.held {
			c.Device.Write(fin)
		}
		c.held = nil
	}
	return n
}

// first closes each connection as soon as something comes.
type first struct {
	echoes
	closes  chan bool
	closing int
}

func (f *first) Data(i int, p []byte) {
	f.e.Shutdown(i)
	f.closes <- true
}

func (f *first) Ended(i int) {
	if f.e.conns[i].state() == closing {
		f.closing++
	}
	f.e.Close(i)
	f.forget(i)
}

// Section 3.6, figure 13, with the kernel as the peer.
func TestBothClose(t *testing.T) {
	stacktest.Need(t)
	at := netip.MustParseAddrPort("198.18.8.1:80")
	f := &first{closes: make(chan bool, 1)}
	stop := serve(t, at, func(d Device) Device { return &crossing{Device: d} }, func(e *Stack) Handler {
		f.echoes = *newEchoes(t, e)
		return f
	})
	const times = 20
	for range times {
		c, err := net.Dial("tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Minute))
		c.Write([]byte("x"))
		<-f.closes
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, c); n != 0 || err != nil {
			t.Fatalf("%d bytes, %v", n, err)
		}
	}
	stop()
	if f.closing != times || len(f.open) != 0 {
		t.Errorf("%d of %d closed at a time with the peer, %d are open", f.closing, times, len(f.open))
	}
}
