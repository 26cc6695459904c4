package toys

import (
	"math"

	"connbench/clients/internal/connections"
	"connbench/clients/internal/load"
	"connbench/clients/internal/pacing"
	"connbench/clients/internal/protocol"
)

// greet is a load in which every connection sends a number of messages, one after the
// other, each when it is due.
type greet struct {
	load.Base
	table   *connections.Table
	members []int32
	pacing  pacing.Pacing
	start   int64
	offset  float64
	sent    int // of total
	total   int
	waiting int
}

// greetOptions is what only this load knows.
type greetOptions struct {
	Rounds int `json:"rounds"`
}

func init() {
	load.Register("greet", load.Traits{Checks: []load.Check{load.Rate, load.Timeout}, Active: true}, beginGreet)
}

func beginGreet(t *connections.Table, job load.Job, o greetOptions) (load.Load, error) {
	p, err := pacing.Of(job.Command)
	if err != nil {
		return nil, err
	}
	members := t.Members()[:job.Connections]
	t.BeginMessages(protocol.Data, job.PayloadBytes, math.MaxInt64)
	t.Tally.Began = job.Start
	return &greet{
		table: t, members: members, pacing: p, start: job.Start, offset: job.Offset, total: o.Rounds * len(members),
	}, nil
}

func (l *greet) Step(now int64, stopped bool) (next int64, done bool) {
	for l.sent < l.total {
		if due := l.start + int64(l.pacing.At(float64(l.sent)+l.offset)); due > now {
			return due, stopped
		}
		l.table.Tally.Offered++
		l.waiting++
		l.table.Send(int(l.members[l.sent%len(l.members)]))
		l.sent++
	}
	return now + 1e9, stopped || l.waiting == 0
}

func (l *greet) Answered(_ int, _ uint32, now int64) {
	l.waiting--
	l.table.Tally.Ended = now
	l.table.Tally.Count("greetings", 1)
}

func (l *greet) End(int64, bool) { l.table.Tally.Count("greeters", int64(len(l.members))) }
