package sources

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

func newPlan(t *testing.T, sources, targets []string, first, last int, reserved ...PortRange) *Plan {
	t.Helper()
	p, err := New(sources, targets, first, last, reserved)
	if err != nil {
		t.Fatal(err)
	}
	return p
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
			p := newPlan(t, c.sources, targets(c.targets), c.first, c.last, c.reserved...)
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
			p := newPlan(t, []string{"127.1.0.0/24"}, targets(n), 10000, 10100)
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
	p := newPlan(t, []string{"127.1.0.0/28"}, targets(1), 1000, 1999)
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

func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		sources []string
		targets string
		want    string // first, last, and how many
	}{
		{[]string{"127.1.0.0/30"}, "127.0.0.1:1", "127.1.0.1 127.1.0.2 2"},
		{[]string{"127.1.0.0/31"}, "127.0.0.1:1", "127.1.0.0 127.1.0.1 2"},
		{[]string{"127.1.0.5/32"}, "127.0.0.1:1", "127.1.0.5 127.1.0.5 1"},
		{[]string{"127.1.2.3/16"}, "127.0.0.1:1", "127.1.0.1 127.1.255.254 65534"},
		{[]string{"10.0.0.0/7"}, "127.0.0.1:1", "10.0.0.1 11.0.0.0 16777216"},
		{[]string{"::1"}, "[::1]:1", "::1 ::1 1"},
		{[]string{"fd00::fff0/124"}, "[::1]:1", "fd00::fff0 fd00::ffff 16"},
		{[]string{"fd00::ffff:ffff:ffff:ff00/104"}, "[::1]:1", "fd00::ffff:ffff:ff00:0 fd00::ffff:ffff:ffff:ffff 16777216"},
		{[]string{"127.1.0.4", "127.1.0.2", "127.1.0.3"}, "127.0.0.1:1", "127.1.0.2 127.1.0.4 3"},
	} {
		p := newPlan(t, c.sources, []string{c.targets}, 1, 1)
		s := p.Share(0, 1)
		got := fmt.Sprint(s.Tuple(0).From.Addr(), s.Tuple(s.Len()-1).From.Addr(), s.Len())
		if got != c.want {
			t.Errorf("%v: %s; want %s", c.sources, got, c.want)
		}
		if len(p.addresses) != 1 {
			t.Errorf("%v: %d blocks, want one", c.sources, len(p.addresses))
		}
	}
}

func TestAddCarries(t *testing.T) {
	got := add(netip.MustParseAddr("fd00::ffff:ffff:ffff:ffff"), 2)
	if want := netip.MustParseAddr("fd00:0:0:1::1"); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestBadPlans(t *testing.T) {
	one, target := []string{"127.1.0.1"}, []string{"127.0.0.1:80"}
	for _, c := range []struct {
		sources, targets []string
		first, last      int
		reserved         []PortRange
		want             string
	}{
		{nil, target, 1, 2, nil, "sources: none given"},
		{one, nil, 1, 2, nil, "targets: none given"},
		{[]string{"localhost"}, target, 1, 2, nil, `source "localhost" is neither`},
		{[]string{"fe80::1%lo"}, []string{"[::1]:80"}, 1, 2, nil, "is neither"},
		{one, []string{"localhost:80"}, 1, 2, nil, `target "localhost:80" is not`},
		{one, []string{"127.0.0.1:0"}, 1, 2, nil, `target "127.0.0.1:0" is not`},
		{one, []string{"127.0.0.1:80", "127.0.0.1:80"}, 1, 2, nil, "given twice"},
		{one, []string{"127.0.0.1:80", "[::1]:80"}, 1, 2, nil, "different address families"},
		{one, []string{"[::1]:80"}, 1, 2, nil, "different address families"},
		{[]string{"127.1.0.0/24", "127.1.0.77"}, target, 1, 2, nil, "127.1.0.77 is given twice"},
		{one, target, 0, 2, nil, "not a range"},
		{one, target, 3, 2, nil, "not a range"},
		{one, target, 1, 65536, nil, "not a range"},
		{one, target, 5, 9, []PortRange{{8, 12}, {1, 7}}, "all in net.ipv4.ip_local_reserved_ports"},
	} {
		_, err := New(c.sources, c.targets, c.first, c.last, c.reserved)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v to %v, ports %d to %d: error %v; want one with %q", c.sources, c.targets, c.first, c.last, err, c.want)
		}
	}
}

func TestParsePorts(t *testing.T) {
	got, err := parsePorts("8080,9148-9150")
	if want := []PortRange{{8080, 8080}, {9148, 9150}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	if got, err := parsePorts(""); got != nil || err != nil {
		t.Errorf("of nothing: %v, %v", got, err)
	}
	for _, bad := range []string{"x", "1-", "1-2-3", "65536"} {
		if _, err := parsePorts(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestLocalPorts(t *testing.T) {
	local, _, err := LocalPorts()
	if err != nil {
		t.Fatal(err)
	}
	if local.First < 1 || local.First > local.Last || local.Last > 65535 {
		t.Errorf("range %v", local)
	}
}
