package load

import (
	"connbench/clients/control"
	"connbench/clients/internal/clock"
	"connbench/clients/internal/connections"
)

// storm drops all connections at once and reopens them as fast as the server accepts them, or
// each after a random back-off. Its latency is the time from the storm's beginning until a
// connection is open again. Offered counts those dropped, Delivered those back.
type storm struct {
	comeback
	members  []int32 // not yet dropped
	began    int64
	deadline int64
}

func init() {
	Register("storm", Traits{Checks: []Check{Seconds, Timeout, SomeOpen}, Active: true}, beginStorm)
}

func beginStorm(t *connections.Table, job Job, o control.ComebackOptions) (Load, error) {
	members := t.Members()
	s := &storm{
		comeback: newComeback(t, job, o),
		// The list is lent for as long as the load lasts, and nobody else writes to it.
		members:  members[:min(job.Connections, len(members))],
		began:    job.Start,
		deadline: job.Start + nanoseconds(job.Seconds),
	}
	t.Tally.Began, t.Tally.Ended = job.Start, job.Start
	return s, nil
}

// mostDropped is how many connections are dropped between two looks at what has come in.
const mostDropped = 1024

func (s *storm) Step(now int64, stopped bool) (next int64, done bool) {
	if now < s.began {
		return s.began, stopped
	}
	n := min(mostDropped, len(s.members))
	for _, i := range s.members[:n] {
		if s.table.At(int(i)).Phase == connections.Open {
			s.drop(int(i), s.began, now)
		}
	}
	if s.members = s.members[n:]; len(s.members) > 0 && !stopped {
		return now, false
	}
	next = s.tryAll(now)
	if s.over() || stopped || now >= s.deadline {
		return 0, true
	}
	return min(next, s.deadline), false
}

func (s *storm) Opened(i int) {
	s.comeback.Opened(i)
	s.table.Tally.Ended = clock.Now()
}
