package addresses

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func targets(n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("127.0.0.1:%d", 9000+i))
	}
	return list
}

func newTuples(t testing.TB, sources, targets []string, first, last int, reserved ...PortRange) *Tuples {
	t.Helper()
	all, err := NewTuples(sources, targets, PortRange{first, last}, reserved)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Every four-tuple there is belongs to one worker, and each worker's part is even
// over the targets.
func TestSharesAreDisjointCompleteAndEven(t *testing.T) {
	for _, c := range []struct {
		targets, workers int
		sources          []string
		first, last      int
		reserved         []PortRange
	}{
		{1, 1, []string{"127.1.0.1"}, 1000, 1000, nil},
		{1, 3, []string{"127.1.0.0/29"}, 1000, 1010, nil},
		{2, 2, []string{"127.1.0.0/29", "127.3.0.7"}, 1000, 1010, []PortRange{{1003, 1004}, {1007, 1007}}},
		{2, 4, []string{"127.1.0.1"}, 1, 64, nil},
		{4, 2, []string{"127.1.0.1"}, 1, 64, nil},
		{3, 54, []string{"127.1.0.0/28"}, 2000, 2080, nil},
		{54, 54, []string{"127.1.0.0/29"}, 2000, 2010, nil},
		{6, 4, []string{"127.1.0.9", "127.1.0.10", "127.1.0.200"}, 60000, 60010, nil},
		{7, 5, []string{"127.1.0.0/30"}, 65530, 65535, nil},
		{5, 40, []string{"127.1.0.1"}, 1, 2, nil},
	} {
		t.Run(fmt.Sprintf("%d targets, %d workers", c.targets, c.workers), func(t *testing.T) {
			p := newTuples(t, c.sources, targets(c.targets), c.first, c.last, c.reserved...)
			seen := map[Tuple]int{}
			for w := range c.workers {
				s := p.Share(w, c.workers)
				each := make([]int, c.targets)
				for j := range s.Len() {
					tuple := s.Tuple(j)
					if other, taken := seen[tuple]; taken {
						t.Fatalf("%v is in the shares of %d and %d", tuple, other, w)
					}
					seen[tuple] = w
					if tuple.To != p.Targets()[tuple.Target] {
						t.Fatalf("%v is not target %d", tuple.To, tuple.Target)
					}
					each[tuple.Target]++
					// As far as it has come, a share is even but for one round.
					if spread := slices.Max(each) - slices.Min(each); spread > c.targets {
						t.Fatalf("worker %d: %v connections to the targets after %d", w, each, j+1)
					}
					if (j+1)%uint64(c.targets) == 0 && slices.Max(each) != slices.Min(each) {
						t.Fatalf("worker %d: %v connections to the targets after %d", w, each, j+1)
					}
				}
			}
			if uint64(len(seen)) != p.Len() {
				t.Errorf("%d tuples in the shares, %d in the plan", len(seen), p.Len())
			}
			for tuple := range seen {
				port := int(tuple.From.Port())
				for _, r := range c.reserved {
					if r.First <= port && port <= r.Last {
						t.Errorf("port %d is reserved", port)
					}
				}
				if port < c.first || port > c.last {
					t.Errorf("port %d is not within %d to %d", port, c.first, c.last)
				}
			}
		})
	}
}

// All workers together are even over the targets wherever they have got to, as
// long as they have got equally far.
func TestWorkersTogetherAreEven(t *testing.T) {
	for _, workers := range []int{1, 2, 3, 4, 8, 12, 54} {
		for _, n := range []int{1, 2, 3, 4, 6, 16, 54} {
			p := newTuples(t, []string{"127.1.0.0/24"}, targets(n), 10000, 10100)
			each := make([]int, n)
			for j := range uint64(2 * n * workers) {
				for w := range workers {
					each[p.Share(w, workers).Tuple(j).Target]++
				}
				if spread := slices.Max(each) - slices.Min(each); spread > 1 {
					t.Fatalf("%d workers, %d targets: %v connections after %d each", workers, n, each, j+1)
				}
			}
		}
	}
}

func TestSourcesAreSpread(t *testing.T) {
	p := newTuples(t, []string{"127.1.0.0/28"}, targets(1), 1000, 1999)
	each := map[netip.Addr]int{}
	s := p.Share(0, 1)
	for j := range uint64(140) {
		each[s.Tuple(j).From.Addr()]++
	}
	for address, n := range each {
		if n != 10 {
			t.Errorf("%d of 140 connections from %v, one of 14 addresses", n, address)
		}
	}
}

func TestTuplesRefuse(t *testing.T) {
	one, target := []string{"127.1.0.1"}, []string{"127.0.0.1:80"}
	for _, c := range []struct {
		sources, targets []string
		want             string
	}{
		{nil, target, "sources: none given"},
		{one, nil, "targets: none given"},
		{one, []string{"localhost:80"}, `target "localhost:80" is not`},
		{one, []string{"127.0.0.1:0"}, `target "127.0.0.1:0" is not`},
		{one, []string{"[fe80::1%lo]:80"}, `target "[fe80::1%lo]:80" is link-local or has a zone`},
		{one, []string{"127.0.0.1:80", "127.0.0.1:80"}, "given twice"},
		{one, []string{"127.0.0.1:80", "[::ffff:127.0.0.1]:80"}, "given twice"},
		{one, []string{"127.0.0.1:80", "[::1]:80"}, "different address families"},
		{one, []string{"[::1]:80"}, "different address families"},
		{[]string{"localhost"}, target, `sources: "localhost" is neither`},
		{[]string{"127.1.0.0/24", "127.1.0.77"}, target, "sources: 127.1.0.77 is given twice"},
		{[]string{"127.1.0.1", "fd00::1"}, target, "source fd00::1 and target 127.0.0.1:80 are of different"},
	} {
		_, err := NewTuples(c.sources, c.targets, PortRange{1, 2}, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v to %v: error %v; want one with %q", c.sources, c.targets, err, c.want)
		}
	}
	if _, err := NewTuples(one, target, PortRange{2, 1}, nil); err == nil {
		t.Error("no error of ports 2 to 1")
	}
	if _, err := NewTuples(one, target, PortRange{1, 2}, []PortRange{{1, 5}}); err == nil || !strings.Contains(err.Error(), "all in net.ipv4.ip_local_reserved_ports") {
		t.Errorf("of reserved ports: error %v", err)
	}
}

// More tuples than 32 bits count, and more than 64 do: the numbers stay exact, at the
// far end too.
func TestManyTuples(t *testing.T) {
	for _, c := range []struct {
		sources, targets []string
		want             uint64
	}{
		{[]string{"10.0.0.0/8"}, targets(3), 3 * (1<<24 - 2) * 65535},
		{[]string{"fd00::/64"}, []string{"[fd01::1]:80", "[fd01::1]:81"}, 2 * 65535 * (Most / (2 * 65535))},
	} {
		all := newTuples(t, c.sources, c.targets, 1, 65535)
		if all.Len() != c.want {
			t.Fatalf("%v: %d tuples, want %d", c.sources, all.Len(), c.want)
		}
		const workers = 5
		var sum, sliced uint64
		for w := range workers {
			s := all.Share(w, workers)
			sum += s.Len()
			last := s.Tuple(s.Len() - 1)
			if last.From.Port() != 65535 || !s.Sources().Contains(last.From.Addr()) {
				t.Errorf("%v: the last tuple of worker %d is %v", c.sources, w, last)
			}
			s = all.Slice(w, workers)
			sliced += s.Len()
			f := s.Finder()
			for _, j := range []uint64{0, 1<<32 + 1, s.Len() - 1} {
				if got, ok := f.Find(s.Tuple(j).From, s.Tuple(j).To); !ok || got != j {
					t.Errorf("%v: tuple %d of worker %d, %v, is found at %d, %t", c.sources, j, w, s.Tuple(j), got, ok)
				}
			}
		}
		if sum != all.Len() || sliced != all.Len() {
			t.Errorf("%v: shares of %d, slices of %d tuples in all, of %d", c.sources, sum, sliced, all.Len())
		}
	}
}
