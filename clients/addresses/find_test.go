package addresses

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

// Slices are disjoint and complete, even over the targets, and every tuple of
// theirs is found again, and nothing else.
func TestSlices(t *testing.T) {
	for _, c := range []struct {
		targets, workers int
		sources          []string
		first, last      int
		reserved         []PortRange
	}{
		{1, 1, []string{"198.18.0.1"}, 1000, 1000, nil},
		{1, 2, []string{"198.18.0.0/29"}, 1000, 1010, nil},
		{2, 2, []string{"198.18.0.0/29", "198.18.3.7"}, 1000, 1010, []PortRange{{1003, 1004}, {1007, 1007}}},
		{51, 2, []string{"198.18.0.0/28"}, 2000, 2020, nil},
		{6, 4, []string{"198.18.0.9", "198.18.0.10", "198.18.0.200", "198.18.0.0/30"}, 60000, 60010, nil},
		{7, 3, []string{"198.18.0.0/28"}, 65530, 65535, nil},
		{4, 6, []string{"198.18.0.0/27"}, 1, 9, nil},
	} {
		t.Run(fmt.Sprintf("%d targets, %d workers", c.targets, c.workers), func(t *testing.T) {
			p := newTuples(t, c.sources, targets(c.targets), c.first, c.last, c.reserved...)
			seen := map[Tuple]int{}
			owner := map[netip.Addr]int{}
			for w := range c.workers {
				s := p.Slice(w, c.workers)
				f := s.Finder()
				each := make([]int, c.targets)
				for j := range s.Len() {
					tuple := s.Tuple(j)
					if other, taken := seen[tuple]; taken {
						t.Fatalf("%v is in the slices of %d and %d", tuple, other, w)
					}
					seen[tuple] = w
					owner[tuple.From.Addr()] = w
					if got, ok := f.Find(tuple.From, tuple.To); !ok || got != j {
						t.Fatalf("tuple %d of worker %d, %v, is found at %d, %t", j, w, tuple, got, ok)
					}
					each[tuple.Target]++
					if (j+1)%uint64(c.targets) == 0 && slices.Max(each) != slices.Min(each) {
						t.Fatalf("worker %d: %v connections to the targets after %d", w, each, j+1)
					}
				}
				if _, ok := f.Find(netip.MustParseAddrPort("198.17.255.255:1000"), p.Targets()[0]); ok {
					t.Error("found an address that is not in the share")
				}
				if _, ok := f.Find(s.Tuple(0).From, netip.MustParseAddrPort("127.0.0.1:1")); ok {
					t.Error("found a target that is not in the share")
				}
			}
			if uint64(len(seen)) != p.Len() {
				t.Errorf("%d tuples in the slices, %d in the plan", len(seen), p.Len())
			}
			for w := range c.workers {
				s := p.Slice(w, c.workers)
				var sum int
				for _, prefix := range s.Sources().Prefixes() {
					for a := prefix.Addr(); prefix.Contains(a); a = a.Next() {
						if owner[a] != w || !s.Sources().Contains(a) {
							t.Fatalf("%v is routed to worker %d, and belongs to %d", a, w, owner[a])
						}
						sum++
					}
				}
				if uint64(sum) != s.Sources().Len() {
					t.Errorf("%d addresses in the prefixes of worker %d, want %d", sum, w, s.Sources().Len())
				}
			}
		})
	}
}

func TestSlicesTogetherAreEven(t *testing.T) {
	for _, workers := range []int{1, 2, 3, 4, 8} {
		for _, n := range []int{1, 2, 3, 4, 6, 16, 51} {
			p := newTuples(t, []string{"198.18.0.0/24"}, targets(n), 10000, 10100)
			each := make([]int, n)
			for j := range uint64(2 * n * workers) {
				for w := range workers {
					each[p.Slice(w, workers).Tuple(j).Target]++
				}
				if spread := slices.Max(each) - slices.Min(each); spread > 1 {
					t.Fatalf("%d workers, %d targets: %v connections after %d each", workers, n, each, j+1)
				}
			}
		}
	}
}

func TestSlicesOfIPv6(t *testing.T) {
	p := newTuples(t, []string{"fd00::ffff:ffff:ffff:ffe0/123"}, []string{"[fd01::1]:80"}, 1000, 1001)
	for w := range 2 {
		s := p.Slice(w, 2)
		f := s.Finder()
		for j := range s.Len() {
			if got, ok := f.Find(s.Tuple(j).From, s.Tuple(j).To); !ok || got != j {
				t.Fatalf("%v is found at %d, %t", s.Tuple(j), got, ok)
			}
		}
		if got := s.Sources().Prefixes(); len(got) != 1 || got[0].Bits() != 124 {
			t.Errorf("prefixes %v", got)
		}
	}
}
