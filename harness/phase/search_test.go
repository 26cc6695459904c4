package phase

import (
	"math"
	"testing"

	"connbench/harness/record"
)

// However many connections a server keeps, the search ends at about that number,
// wherever it begins, and in not many more tries than a plan reckons with.
func TestSearchFindsWhatIsKept(t *testing.T) {
	const most, resolution = 15000, 1.05
	for _, keeps := range []int{0, 1, 2, 31, 90, 800, 4000, 14000, most, 10 * most} {
		for _, begin := range []int{1, firstTry, most} {
			s := search{next: begin, most: most, resolution: resolution}
			tries := 0
			for ; !s.done(); tries++ {
				if s.next < 1 || s.next > most || tries > 30 {
					t.Fatalf("keeps %d, begun at %d: try %d is of %d connections", keeps, begin, tries, s.next)
				}
				limit := ""
				if s.next > keeps {
					limit = KeptLatency
				}
				s.tried(limit)
			}
			want := min(keeps, most)
			if s.kept > want || float64(want) > math.Max(float64(s.kept)*resolution, float64(s.kept)) {
				t.Errorf("keeps %d, begun at %d: found %d after %d tries", keeps, begin, s.kept, tries)
			}
			reason := KeptLatency
			if want == most {
				reason = KeptAll
			}
			if s.limit != reason {
				t.Errorf("keeps %d, begun at %d: stopped by %q, want %q", keeps, begin, s.limit, reason)
			}
		}
	}
}

// Why a load is not kept.
func TestNotKept(t *testing.T) {
	load := func(p99, delivered float64, clientBound bool) record.Load {
		return record.Load{OfferedPerSecond: new(1000.0), DeliveredPerSecond: delivered, Latency: record.Latency{P99US: p99}, ClientBound: clientBound}
	}
	for _, test := range []struct {
		load record.Load
		want string
	}{
		{load(100, 1000, false), ""},
		{load(100, 990, false), ""},
		{load(100, 1000, true), ""}, // it was kept even so
		{load(101, 1000, false), KeptLatency},
		{load(100, 989, false), KeptDelivery},
		{load(101, 1000, true), KeptClient},
		{load(100, 0, false), KeptDelivery},
	} {
		if got := notKept(test.load, 100); got != test.want {
			t.Errorf("p99 %g µs, %g of 1000 delivered, client-bound %v: %q, want %q",
				test.load.P99US, test.load.DeliveredPerSecond, test.load.ClientBound, got, test.want)
		}
	}
}
