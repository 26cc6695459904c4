package load

import (
	"connbench/clients/control"
	"connbench/clients/internal/clock"
	"connbench/clients/internal/connections"
)

// restart waits until the server has ended all connections, and reopens each as soon as it has
// ended, or after a random back-off. Its latency is the time from the end of the first connection
// until one is open again. Offered counts those that ended, Delivered those back.
type restart struct {
	comeback
	members  int // those that have not ended yet
	ended    []bool
	began    int64 // when the first ended; 0: none has
	deadline int64
}

func init() {
	Register("restart", Traits{Checks: []Check{Seconds, Timeout, SomeOpen}, Active: true}, beginRestart)
}

func beginRestart(t *connections.Table, job Job, o control.ComebackOptions) (Load, error) {
	r := &restart{
		comeback: newComeback(t, job, o),
		members:  len(t.Members()),
		ended:    make([]bool, t.Capacity()),
		deadline: job.Start + nanoseconds(job.Seconds),
	}
	// All are refused until the server listens again: with a new four-tuple for each try none would
	// be left. The old ones are free, as the process that held them is gone.
	r.stays, r.pause = true, downPause
	t.Tally.Began, t.Tally.Ended = job.Start, job.Start
	// Some may have ended already: nobody knows when the server is killed.
	for _, i := range t.LostBetween() {
		r.ended[i] = true
		r.end(int(i), job.Now)
	}
	return r, nil
}

// end notes that connection i has ended.
func (r *restart) end(i int, now int64) {
	if r.began == 0 {
		r.began = now
		r.table.Tally.Began = now
	}
	r.table.Tally.Offered++
	r.left(i, r.began, now)
}

func (r *restart) Step(now int64, stopped bool) (next int64, done bool) {
	next = r.tryAll(now)
	if r.members == 0 && r.over() || stopped || now >= r.deadline {
		return 0, true
	}
	return min(next, r.deadline), false
}

// Lost implements [connections.Events]. A connection that the old server has taken back ends a
// second time.
func (r *restart) Lost(i int) {
	if !r.ended[i] {
		r.ended[i] = true
		r.members--
	}
	r.end(i, clock.Now())
}

func (r *restart) Opened(i int) {
	r.comeback.Opened(i)
	r.table.Tally.Ended = clock.Now()
}
