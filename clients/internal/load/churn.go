package load

import (
	"connbench/clients/control"
	"connbench/clients/internal/connections"
)

// churn replaces connections on a schedule, one after the other, while the others stay open. Its
// latency is the time from when a replacement was due until the connection is open again.
type churn struct {
	comeback
	members  []int32
	schedule schedule
	total    uint64 // due in all
	next     uint64 // the next to become due
}

func init() {
	Register("churn", Traits{Checks: []Check{Seconds, Timeout, Rate, SomeOpen}, Active: true, Scheduled: true}, beginChurn)
}

func beginChurn(t *connections.Table, job Job, o control.ComebackOptions) (Load, error) {
	schedule, err := newSchedule(job, job.Start)
	if err != nil {
		return nil, err
	}
	members := t.Members()
	c := &churn{
		comeback: newComeback(t, job, o),
		members:  members[:min(job.Connections, len(members))],
		schedule: schedule,
	}
	c.end = job.Start + nanoseconds(job.Seconds)
	if len(c.members) > 0 && job.RatePerSecond > 0 {
		c.total = schedule.before(job.Seconds * 1e9)
	}
	t.Tally.Began, t.Tally.Ended = job.Start, c.end
	return c, nil
}

func (c *churn) Step(now int64, stopped bool) (next int64, done bool) {
	if stopped || c.stoppedBy != "" && len(c.opening) == 0 {
		c.table.Tally.Ended = min(now, c.end)
		return 0, true
	}
	next = c.end
	for range burst {
		if c.next == c.total {
			break
		}
		due := c.schedule.due(c.next)
		if due > now {
			next = due
			break
		}
		i := int(c.members[(c.table.Turn+c.next)%uint64(len(c.members))])
		c.next++
		if c.table.At(i).Phase == connections.Open { // and not still on its way back
			c.table.Tally.Lag.Record(now - due)
			c.drop(i, due, now)
		}
		next = now
	}
	next = min(next, c.tryAll(now))
	if c.next == c.total && now >= c.end {
		return min(next, c.end+c.timeout), c.away == 0 || now >= c.end+c.timeout
	}
	return next, false
}

// End implements [Load]. The next churn goes on with the connections that follow.
func (c *churn) End(now int64, stopped bool) {
	c.table.Turn += c.next
	c.comeback.End(now, stopped)
}
