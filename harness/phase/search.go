package phase

import "math"

// search finds the largest number of connections that is kept: it doubles until
// one is not kept, or halves until one is, and then divides what lies between.
type search struct {
	// next is the number to try, most the largest that may be.
	next, most int
	resolution float64
	// kept is the largest number that was kept, notKept the least that was not, and
	// limit says why; 0 and "" before there is one.
	kept, notKept int
	limit         string
}

// tried notes what came of next: why it was not kept, or "" where it was.
func (s *search) tried(limit string) {
	if limit == "" {
		s.kept = s.next
	} else {
		s.notKept, s.limit = s.next, limit
	}
	switch {
	case s.notKept == 0:
		s.next = min(2*s.kept, s.most)
	case s.kept == 0:
		s.next = s.notKept / 2
	default:
		s.next = int(math.Round(math.Sqrt(float64(s.kept) * float64(s.notKept))))
	}
	if s.kept == s.most {
		s.limit = KeptAll
	}
}

// done is true when there is nothing left to try.
func (s *search) done() bool {
	switch {
	case s.kept == s.most:
		return true
	case s.notKept == 0:
		return false
	case s.kept == 0:
		return s.notKept == 1
	}
	return s.notKept <= s.kept+1 || float64(s.notKept) <= float64(s.kept)*s.resolution
}
