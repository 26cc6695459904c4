package load

import (
	"connbench/clients/internal/connections"
)

// hold keeps the connections and sends nothing.
type hold struct {
	Base
	table *connections.Table
	end   int64
}

func init() {
	Register("hold", Traits{Checks: []Check{Seconds}}, beginHold)
}

func beginHold(t *connections.Table, job Job, _ struct{}) (Load, error) {
	t.Tally.Began = job.Now
	return &hold{table: t, end: job.Now + nanoseconds(job.Seconds)}, nil
}

func (h *hold) Step(now int64, stopped bool) (next int64, done bool) {
	h.table.Tally.Ended = now
	return h.end, now >= h.end || stopped
}
