package phase

import (
	"cmp"
	"maps"
	"math"
	"slices"
)

// triesEach is how often a search tries the two levels between which it ends: one
// try near the limit is decided by chance.
const triesEach = 3

// search finds the largest level of a load, a number of connections or the place of a
// rate, that a server keeps. A level's verdict is that of most of its tries; the
// levels next to the limit are tried triesEach times, and the search goes on where
// that changes a verdict.
type search struct {
	// most is the largest level.
	most int
	// between is the level to try next, where kept is the largest that is kept (0: none
	// yet) and notKept the smallest above it that is not (0: none yet). It returns kept
	// or notKept where nothing worth trying lies between.
	between func(kept, notKept int) int

	levels map[int]*verdict
}

// verdict is what came of the tries of one level.
type verdict struct {
	kept, notKept int
	limits        map[string]int // why not, and how often
}

// tried notes what came of a level: why it was not kept, or "" where it was.
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

// bounds are the largest level that is kept, and the smallest that is not; 0 where
// there is none. Levels above one that is not kept do not count.
func (s *search) bounds() (kept, notKept int) {
	for _, level := range slices.Sorted(maps.Keys(s.levels)) {
		if v := s.levels[level]; v.notKept >= v.kept {
			return kept, level
		}
		kept = level
	}
	return kept, 0
}

// next is the level to try, 0 when the search has ended.
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

// found is what a search came to.
type found struct {
	// kept is the largest level that was kept in most of its tries, 0 if none was.
	kept int
	// low and high bound it: low is the largest up to which every try was kept, high the
	// smallest from which on none was; high is 0 where there is none.
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

// limit is the most frequent reason. The swarm's is named before the server's where
// they are as frequent: what the swarm cannot do says nothing about a server.
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

// byHalves doubles from first until a level is not kept, or halves until one is, and
// then divides what lies between until it is within resolution.
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
