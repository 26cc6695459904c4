package searches

import (
	"math"
	"math/rand/v2"
	"testing"

	"connbench/harness/record"
)

// run lets a search end on a server that keeps up to a level.
func (s *search) run(t *testing.T, keeps func(level int) bool) (f found, tries int) {
	t.Helper()
	for level := s.next(); level != 0; level = s.next() {
		if tries++; level < 1 || level > s.most || tries > 60 {
			t.Fatalf("try %d is of level %d, of %d", tries, level, s.most)
		}
		limit := ""
		if !keeps(level) {
			limit = KeptLatency
		}
		s.tried(level, limit)
	}
	return s.result(), tries
}

// However many connections a server keeps, the search ends at about that number,
// wherever it begins, and has tried the levels next to it several times.
func TestSearchFindsWhatIsKept(t *testing.T) {
	const most, resolution = 15000, 1.05
	for _, keeps := range []int{0, 1, 2, 31, 90, 800, 4000, 14000, most, 10 * most} {
		for _, first := range []int{1, firstTry, most} {
			s := search{most: most, between: byHalves(first, most, resolution)}
			f, tries := s.run(t, func(level int) bool { return level <= keeps })
			want := min(keeps, most)
			if f.kept > want || float64(want) > math.Max(float64(f.kept)*resolution, float64(f.kept)) {
				t.Errorf("keeps %d, begun at %d: found %+v after %d tries", keeps, first, f, tries)
			}
			if f.low != f.kept || want < most && (f.high <= f.kept || s.levels[f.high].notKept != triesEach) {
				t.Errorf("keeps %d, begun at %d: found %+v, a sharp limit", keeps, first, f)
			}
			if f.kept > 0 && s.levels[f.kept].kept != triesEach {
				t.Errorf("keeps %d, begun at %d: %d tries at the knee", keeps, first, s.levels[f.kept].kept)
			}
			reason := KeptLatency
			if want == most {
				reason = KeptAll
			}
			if f.limit != reason {
				t.Errorf("keeps %d, begun at %d: stopped by %q, want %q", keeps, first, f.limit, reason)
			}
		}
	}
}

// A limit that is not sharp has an interval around it, and a single bad try does not
// decide.
func TestSearchWithinNoise(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		s := search{most: 10, between: inTurn}
		// Up to 4 always, from 7 on never, between by chance.
		f, _ := s.run(t, func(level int) bool { return level <= 4 || level < 7 && random.IntN(2) == 0 })
		if f.kept < 4 || f.kept > 6 || f.low < 4 || f.low > f.kept || f.high <= f.kept || f.high > 7 {
			t.Errorf("found %+v", f)
		}
	}
	bad := true
	s := search{most: 10, between: inTurn}
	f, _ := s.run(t, func(level int) bool {
		once := level == 5 && bad
		if once {
			bad = false
		}
		return level <= 8 && !once
	})
	if f.kept != 8 || f.low != 4 || f.high != 9 {
		t.Errorf("one bad try of 5, all up to 8 kept: found %+v", f)
	}
}

// A level that failed because the swarm was late does not show the server's limit.
func TestSearchStoppedByTheClient(t *testing.T) {
	s := search{most: 10, between: inTurn}
	for level := s.next(); level != 0; level = s.next() {
		switch {
		case level < 3:
			s.tried(level, "")
		case s.levels[level] == nil:
			s.tried(level, KeptLatency)
		default:
			s.tried(level, KeptClient)
		}
	}
	if f := s.result(); f.kept != 2 || f.limit != KeptClient {
		t.Errorf("found %+v", f)
	}
}

// Why a load is not kept.
func TestNotKept(t *testing.T) {
	load := func(p99, delivered float64, clientBound bool) record.Load {
		offered, late := int64(1000), int64(20) // what comes back late has come back
		return record.Load{Offered: &offered, Delivered: int64(delivered) - late, Late: &late, Latency: record.Latency{P99US: p99}, ClientBound: clientBound}
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
		{load(100, 20, false), KeptDelivery},
	} {
		if got := notKept(test.load, 100); got != test.want {
			t.Errorf("p99 %g µs, %d of 1000 delivered, client-bound %v: %q, want %q",
				test.load.P99US, test.load.Delivered, test.load.ClientBound, got, test.want)
		}
	}
}
