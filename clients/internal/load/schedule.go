package load

import (
	"math"

	"connbench/clients/internal/pacing"
)

// schedule says when the events of one worker are due.
type schedule struct {
	pacing pacing.Pacing
	start  int64   // nanoseconds of [clock.Now]
	offset float64 // see Job
}

func newSchedule(job Job, start int64) (schedule, error) {
	p, err := pacing.Of(job.Command)
	return schedule{pacing: p, start: start, offset: job.Offset}, err
}

// due returns when event k is due.
func (s *schedule) due(k uint64) int64 {
	return s.start + int64(s.pacing.At(float64(k)+s.offset))
}

// before returns the number of events that are due in the first nanoseconds.
func (s *schedule) before(nanoseconds float64) uint64 {
	// A tolerance, so that rounding does not add an event to an exact number.
	const rounding = 1e-6
	const most = 1 << 53 // a float is exact up to here
	count := math.Ceil(s.pacing.Count(nanoseconds) - s.offset - rounding)
	return uint64(min(max(count, 0), most))
}
