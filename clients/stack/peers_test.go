package stack

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"connbench/clients/stack/wire"
)

// The table does what a map does, over many times its first buckets, for both families.
func TestPeers(t *testing.T) {
	v4 := []netip.AddrPort{netip.MustParseAddrPort("198.18.0.1:80"), netip.MustParseAddrPort("198.18.0.1:81")}
	mixed := append([]netip.AddrPort{netip.MustParseAddrPort("[fd00::1]:80")}, v4...)
	for _, listeners := range [][]netip.AddrPort{v4, mixed} {
		const most = 4000
		p, err := NewPeers(listeners, most)
		if err != nil {
			t.Fatal(err)
		}
		random := rand.New(rand.NewPCG(1, 2))
		tuple := func() wire.Tuple {
			from := listeners[random.IntN(len(listeners))]
			n := random.Uint32N(1 << 12)
			to := netip.AddrFrom4([4]byte{198, 19, byte(n >> 8), byte(n)})
			if from.Addr().Is6() {
				to = netip.AddrFrom16([16]byte{0: 0xfd, 14: byte(n >> 8), 15: byte(n)})
			}
			return wire.Tuple{From: from, To: netip.AddrPortFrom(to, uint16(random.Uint32N(3)))}
		}
		want := map[wire.Tuple]int{}
		byNumber := map[int]wire.Tuple{}
		for range 30_000 {
			at := tuple()
			i, found := p.Find(at)
			if j, known := want[at]; known != found || known && i != j {
				t.Fatalf("%v is found at %d (%v), want %d (%v)", at, i, found, j, known)
			}
			switch {
			case found:
				if p.Tuple(i) != at {
					t.Fatalf("connection %d has %v, want %v", i, p.Tuple(i), at)
				}
				if random.IntN(3) == 0 {
					p.Left(i)
					delete(want, at)
					delete(byNumber, i)
				}
			case len(want) == most:
				if _, answer := p.Take(at); answer != Full {
					t.Fatalf("a place beyond the capacity")
				}
			default:
				i, answer := p.Take(at)
				if _, taken := byNumber[i]; taken || answer != Taken {
					t.Fatalf("place %d, answer %d", i, answer)
				}
				want[at], byNumber[i] = i, at
			}
		}
		if len(want) < most/2 || p.buckets < most/2 {
			t.Fatalf("%d connections in %d buckets: the test is too small", len(want), p.buckets)
		}
		longest := 0
		for _, n := range p.heads[:p.buckets] {
			length := 0
			for ; n != 0; n = p.after[n-1] {
				length++
			}
			longest = max(longest, length)
		}
		if longest > 16 { // of a mean of one
			t.Errorf("%d connections in one bucket", longest)
		}
		for at, i := range want {
			if p.Tuple(i) != at {
				t.Fatalf("connection %d has %v, want %v", i, p.Tuple(i), at)
			}
			p.Left(i)
		}
		if p.count != 0 {
			t.Errorf("%d are left", p.count)
		}
		if _, answer := p.Take(wire.Tuple{From: netip.MustParseAddrPort("198.18.0.1:82"), To: v4[0]}); answer != Refused {
			t.Error("a place where nobody listens")
		}
		p.Release()
	}
}

// What an idle connection of a server takes: less than 128 bytes, without a pointer.
func TestIdleConnectionsAreSmall(t *testing.T) {
	for address, want := range map[string]int{"198.18.0.1:80": 32, "[fd00::1]:80": 44} {
		p, err := NewPeers([]netip.AddrPort{netip.MustParseAddrPort(address)}, 1)
		if err != nil {
			t.Fatal(err)
		}
		if got := StateBytes() + p.StateBytes(); got != want {
			t.Errorf("listening on %s: %d bytes, want %d", address, got, want)
		}
		p.Release()
	}
}
