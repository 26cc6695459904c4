package searches

import (
	"cmp"
	"maps"
	"math"
	"slices"
)

// triesEach is how often a search tries the two levels between which it ends: near the
// limit, chance decides a single try.
const triesEach = 3

// search finds the largest level of a load that a server keeps. A level is a number of
// connections, or the place of a rate in the plan's list. The majority of its tries
// decides. The levels next to the limit are tried triesEach times, and the search goes on
// if that changes the outcome.
type search struct {
	// most is the largest level.
	most int
	// between returns the level to try next. kept is the largest level that is kept,
	// notKept the smallest above it that is not; 0 means not found yet. It returns one of
	// the two if no level between them is worth a try.
	between func(kept, notKept int) int

	levels map[int]*verdict
}

// verdict is the outcome of the tries of one level.
type verdict struct {
	kept, notKept int
	limits        map[string]int // why it was not kept, and how often
}

// tried notes the outcome of a try: why the level was not kept, or "" if it was.
func (s *search) tried(level int, limit string) {
	if s.levels == nil {
		s.levels = map[int]*verdict{}
	}
	v := s.levels[level]
	if v == nil {
		v = &verdict{limits: map[string]int{}}
		s.levels[level] = v
	}
	if limit == "" {
		v.kept++
		return
	}
	v.notKept++
	v.limits[limit]++
}

// bounds returns the largest level that is kept and the smallest that is not; 0 means not
// found. Levels above one that is not kept do not count.
func (s *search) bounds() (kept, notKept int) {
	for _, level := range slices.Sorted(maps.Keys(s.levels)) {
		if v := s.levels[level]; v.notKept >= v.kept {
			return kept, level
		}
		kept = level
	}
	return kept, 0
}

// next returns the level to try; 0 if the search has ended.
func (s *search) next() int {
	kept, notKept := s.bounds()
	if kept < s.most {
		if level := s.between(kept, notKept); level != kept && level != notKept && level >= 1 && s.levels[level] == nil {
			return level
		}
	}
	for _, level := range []int{notKept, kept} {
		if v := s.levels[level]; v != nil && v.kept+v.notKept < triesEach {
			return level
		}
	}
	// The limit is not sharp: look for the level from which on nothing is kept.
	if notKept > 0 && s.result().high == 0 {
		if tried := slices.Max(slices.Collect(maps.Keys(s.levels))); tried < s.most {
			return min(s.most, s.between(tried, 0))
		}
	}
	return 0
}

// found is the result of a search.
type found struct {
	// kept is the largest level that was kept in most of its tries; 0 if none was.
	kept int
	// low is the largest level up to which every try was kept. high is the smallest from
	// which on no try was kept, 0 if not found.
	low, high int
	// limit says why no more was kept.
	limit string
}

func (s *search) result() found {
	kept, notKept := s.bounds()
	f := found{kept: kept, limit: KeptAll}
	for _, level := range slices.Sorted(maps.Keys(s.levels)) {
		v := s.levels[level]
		if v.notKept > 0 {
			break
		}
		f.low = level
	}
	for _, level := range slices.Backward(slices.Sorted(maps.Keys(s.levels))) {
		if s.levels[level].kept > 0 {
			break
		}
		f.high = level
	}
	if notKept > 0 {
		f.limit = s.levels[notKept].limit()
	}
	return f
}

// limit returns the most frequent reason. If two are equally frequent, the swarm's comes
// before the server's: a slow swarm says nothing about a server.
func (v *verdict) limit() string {
	return slices.MaxFunc(slices.Sorted(maps.Keys(v.limits)), func(a, b string) int {
		return cmp.Or(cmp.Compare(v.limits[a], v.limits[b]), cmp.Compare(bool2int(a == KeptClient), bool2int(b == KeptClient)))
	})
}

func bool2int(b bool) int {
	if b {
		return 1
	}
	return 0
}

// inTurn tries levels in ascending order.
func inTurn(kept, notKept int) int { return kept + 1 }

// byHalves doubles from first until a level is not kept, or halves until one is. Then it
// halves the interval until that is within resolution.
func byHalves(first, most int, resolution float64) func(kept, notKept int) int {
	return func(kept, notKept int) int {
		switch {
		case kept == 0 && notKept == 0:
			return min(first, most)
		case notKept == 0:
			return min(2*kept, most)
		case kept == 0:
			return notKept / 2
		case float64(notKept) <= float64(kept)*resolution:
			return kept
		}
		return int(math.Round(math.Sqrt(float64(kept) * float64(notKept))))
	}
}
