package addresses

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

// Spares are all tuples from some number on, each once, and even over the targets as
// far as whole rows go.
func TestSparesAreAll(t *testing.T) {
	for _, c := range []struct {
		targets, worker, workers int
		first                    uint64
	}{
		{1, 0, 1, 0}, {1, 0, 1, 7}, {1, 2, 3, 100}, {2, 1, 2, 3}, {3, 0, 4, 1}, {4, 1, 2, 5}, {7, 3, 5, 139},
		{1, 0, 1, 1 << 20}, // beyond the end
	} {
		all := newTuples(t, []string{"127.1.0.0/28"}, targets(c.targets), 1000, 1099)
		for _, s := range []Share{all.Share(c.worker, c.workers), all.Slice(c.worker, c.workers)} {
			spares := s.Spares(c.first)
			seen := map[uint64]bool{}
			each := make([]int, c.targets)
			for {
				j, ok := spares.Next()
				if !ok {
					break
				}
				if j < c.first || j >= s.Len() || seen[j] {
					t.Fatalf("%+v: handed out %d of %d to %d", c, j, c.first, s.Len())
				}
				seen[j] = true
				each[s.Tuple(j).Target]++
				if spread := slices.Max(each) - slices.Min(each); spread > 2 {
					t.Fatalf("%+v: %v to the targets", c, each)
				}
			}
			if want := s.Len() - min(c.first, s.Len()); uint64(len(seen)) != want {
				t.Errorf("%+v: %d handed out, want %d", c, len(seen), want)
			}
		}
	}
}

// Whichever few tuples are taken, a free one is found after a few steps, and all free
// ones are found.
func TestSparesPassOverWhatIsTaken(t *testing.T) {
	address := netip.MustParseAddr
	for name, taken := range map[string]func(from netip.AddrPort) bool{
		"two wildcard listeners": func(from netip.AddrPort) bool { return from.Port() == 32768 || from.Port() == 32776 },
		"a hundred of them":      func(from netip.AddrPort) bool { return from.Port() < 32868 },
		"every second port":      func(from netip.AddrPort) bool { return from.Port()%2 == 0 },
		"an address":             func(from netip.AddrPort) bool { return from.Addr() == address("127.17.0.77") },
		"half of the addresses":  func(from netip.AddrPort) bool { return from.Addr().Less(address("127.17.0.128")) },
		"the first of each": func(from netip.AddrPort) bool {
			return from.Addr().Less(address("127.17.0.128")) && from.Port() < 45000
		},
	} {
		for _, workers := range []int{1, 2, 3} {
			for _, n := range []int{1, 3} {
				t.Run(fmt.Sprintf("%s, %d workers, %d targets", name, workers, n), func(t *testing.T) {
					s := newTuples(t, []string{"127.17.0.0/24"}, targets(n), 32768, 60999).Share(0, workers)
					spares := s.Spares(1000)
					inARow, most := 0, 0
					for range 100_000 {
						j, _ := spares.Next()
						if inARow++; !taken(s.Tuple(j).From) {
							inARow = 0
						}
						most = max(most, inARow)
					}
					if most > 16*n {
						t.Errorf("%d taken ones in a row", most)
					}
				})
			}
		}
	}
}

func TestStride(t *testing.T) {
	for n := range uint64(2000) {
		if step := stride(n); n > 0 && (gcd(step, n) != 1 || step > n) {
			t.Errorf("a step of %d through %d", step, n)
		}
	}
	if step := stride(Most); step < Most/2 || step > Most/3*2 {
		t.Errorf("a step of %d through %d", step, uint64(Most))
	}
}
