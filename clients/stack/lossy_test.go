package stack

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"connbench/clients/addresses"
	"connbench/clients/internal/clock"
	"connbench/clients/stack/stacktest"
	"connbench/clients/stack/tun"
	"connbench/clients/stack/wire"
)

func TestMain(m *testing.M) { os.Exit(stacktest.Main(m)) }

// hosts are the address to listen on and the prefix of each family.
var hosts = map[string]string{stacktest.IPv4Host: stacktest.IPv4Prefix, stacktest.IPv6Host: stacktest.IPv6Prefix}

func plan(t testing.TB, prefix, target string) *addresses.Tuples {
	t.Helper()
	p, err := addresses.NewTuples([]string{prefix}, []string{target}, addresses.PortRange{First: 20000, Last: 60000}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// lossy is a device that loses, doubles and swaps packets, in both directions: a
// part of each, by a seed.
type lossy struct {
	Device
	random   *rand.Rand
	part     float64
	incoming [][]byte // to be read before anything else
	held     [][]byte // to be written after what is written next
	lost     int
}

func (l *lossy) chance() bool { return l.random.Float64() < l.part }

func (l *lossy) Read(p []byte) int {
	for {
		if len(l.incoming) > 0 {
			n := copy(p, l.incoming[0])
			l.incoming = l.incoming[1:]
			return n
		}
		n := l.Device.Read(p)
		switch {
		case n == 0:
			return 0
		case l.chance():
			l.lost++
			continue
		case l.chance():
			l.incoming = append(l.incoming, slices.Clone(p[:n]))
		case l.chance():
			first := slices.Clone(p[:n])
			if n = l.Device.Read(p); n == 0 {
				return copy(p, first)
			}
			l.incoming = append(l.incoming, first)
		}
		return n
	}
}

func (l *lossy) Write(p []byte) syscall.Errno {
	switch {
	case l.chance():
		l.lost++
		return 0
	case l.chance():
		l.Device.Write(p)
	case l.chance():
		l.held = append(l.held, slices.Clone(p))
		return 0
	}
	errno := l.Device.Write(p)
	l.release()
	return errno
}

func (l *lossy) release() {
	for _, p := range l.held {
		l.Device.Write(p)
	}
	l.held = nil
}

func (l *lossy) Wait(timeout time.Duration) (bool, error) {
	l.release()
	if len(l.incoming) > 0 {
		timeout = 0
	}
	return l.Device.Wait(timeout)
}

// traffic sends on each connection what is to be sent, and compares what comes
// back.
type traffic struct {
	t              *testing.T
	e              *Stack
	all            [][]byte
	sent, received []int
	opened, closed int
	failed         map[string]int
	closing        bool
}

func (c *traffic) pump(i int) {
	for c.sent[i] < len(c.all[i]) {
		// In pieces of all sizes.
		piece := c.all[i][c.sent[i]:]
		piece = piece[:min(len(piece), 1+(c.sent[i]*7919+i*31)%9000)]
		n, err := c.e.Send(i, piece)
		if err != nil {
			c.t.Errorf("connection %d: %v", i, err)
			return
		}
		c.sent[i] += n
		if n < len(piece) {
			return
		}
	}
}

func (c *traffic) Opened(i int)   { c.opened++; c.pump(i) }
func (c *traffic) Writable(i int) { c.pump(i) }

func (c *traffic) Data(i int, p []byte) {
	if at := c.received[i]; at+len(p) > c.sent[i] || !bytes.Equal(p, c.all[i][at:at+len(p)]) {
		c.t.Errorf("connection %d: %d bytes at %d are not those sent", i, len(p), at)
	}
	c.received[i] += len(p)
}

func (c *traffic) Ended(i int) {
	c.e.Abort(i)
	c.over(nil)
}

func (c *traffic) Closed(i int, why error) { c.over(why) }

func (c *traffic) over(why error) {
	if !c.closing || why != nil && why != unix.ECONNRESET {
		c.failed[fmt.Sprint(why)]++
	}
	c.closed++
}

// Against the kernel's TCP, over a link that loses, doubles and swaps one packet in
// a hundred, and one in ten: every byte comes, once and in order, both ways; and
// every connection hears of its end.
func TestBadLink(t *testing.T) {
	stacktest.Need(t)
	for _, part := range []float64{0.01, 0.1} {
		for host, prefix := range hosts {
			t.Run(fmt.Sprintf("%g of %s", part, host), func(t *testing.T) {
				t.Parallel()
				badLink(t, part, host, prefix)
			})
		}
	}
}

func badLink(t *testing.T, part float64, host, prefix string) {
	const connections = 60
	whole := netip.MustParsePrefix(prefix)
	// Side by side, each part has a prefix of its own.
	if part == 0.1 {
		if whole.Addr().Is4() {
			whole = netip.MustParsePrefix("198.18.1.0/24")
		} else {
			whole = netip.MustParsePrefix("fd00:c2::/120")
		}
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	end := make(chan bool)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				go func() { <-end; conn.(*net.TCPConn).CloseWrite() }()
				io.Copy(conn, conn)
				conn.Close()
			}()
		}
	}()

	share := plan(t, whole.String(), listener.Addr().String()).Slice(0, 1)
	device, err := tun.Open(share.Sources().Prefixes(), -1, wire.MTU)
	if err != nil {
		t.Fatal(err)
	}
	seed := uint64(part * 1000)
	link := &lossy{Device: device, random: rand.New(rand.NewPCG(seed, 7)), part: part}
	e, err := newPlanned(share, connections, link, clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Release()
	c := &traffic{t: t, e: e, sent: make([]int, connections), received: make([]int, connections), failed: map[string]int{}}
	r := rand.New(rand.NewPCG(seed, 8))
	for i := range connections {
		size := 1 + r.IntN(3000)
		if i%10 == 0 {
			size = 1 + r.IntN(int(1000/part)) // some of every kind of misfortune
		}
		p := make([]byte, size)
		for k := range p {
			p[k] = byte(r.Uint32())
		}
		c.all = append(c.all, p)
	}
	for i := range connections {
		if errno := e.Connect(i); errno != 0 {
			t.Fatal(errno)
		}
	}
	run := func(what string, done func() bool) {
		t.Helper()
		for limit := time.Now().Add(4 * time.Minute); !done(); {
			if time.Now().After(limit) {
				t.Fatalf("after four minutes, still not: %s; %d opened, %d closed, received %v", what, c.opened, c.closed, c.received)
			}
			if _, err := e.Wait(100 * time.Millisecond); err != nil {
				t.Fatal(err)
			}
			e.Deliver(c)
		}
	}
	began := time.Now()
	run("all echoed", func() bool {
		for i := range c.all {
			if c.received[i] < len(c.all[i]) {
				return false
			}
		}
		return true
	})
	if c.opened != connections || len(c.failed) > 0 {
		t.Errorf("%d opened, failures %v", c.opened, c.failed)
	}
	c.closing = true
	close(end)
	run("all ended", func() bool { return c.closed == connections })
	if len(c.failed) > 0 {
		t.Errorf("ended by %v", c.failed)
	}
	if link.lost == 0 {
		t.Error("nothing was lost")
	}
	if e.blocks.InUse() != 0 {
		t.Errorf("%d blocks are left over", e.blocks.InUse())
	}
	t.Logf("%d packets lost, %v", link.lost, time.Since(began).Round(time.Millisecond))
}
