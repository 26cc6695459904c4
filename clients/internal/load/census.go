package load

import (
	"math"

	"connbench/clients/control"
	"connbench/clients/internal/clock"
	"connbench/clients/internal/connections"
	"connbench/clients/internal/protocol"
)

// window is the number of connections that one worker asks, or closes, at a time.
const window = 1000

// census sends one message, ping or question over every connection, in the order of members. Those
// before next have been asked. Of these, those before settled need not be waited
// for any more: they have answered, are lost, or have had their time.
type census struct {
	Base
	table         *connections.Table
	members       []int32
	next, settled int
	waiting       int // asked, and neither answered nor settled
	timeout       int64
	schedule      schedule // of the questions; without a rate all are due at once
	start         int64
	lastAnswer    int64
	silent        bool // one had its time, and no answer came since
}

func init() {
	Register("census", Traits{Checks: []Check{Timeout, Payload}, Active: true}, beginCensus)
}

func beginCensus(t *connections.Table, job Job, o control.CensusOptions) (Load, error) {
	schedule, err := newSchedule(job, job.Start)
	if err != nil {
		return nil, err
	}
	members := t.Members()
	l := &census{
		schedule:   schedule,
		table:      t,
		members:    members[:min(job.Connections, len(members))],
		timeout:    nanoseconds(job.TimeoutSeconds),
		start:      job.Start,
		lastAnswer: job.Start,
	}
	const end = math.MaxInt64 // none is late
	switch {
	case o.Say != nil:
		if err := t.BeginQuestions(*o.Say, end); err != nil {
			return nil, err
		}
	case o.Ping:
		t.BeginMessages(protocol.Ping, job.PayloadBytes, end)
	default:
		t.BeginMessages(protocol.Data, job.PayloadBytes, end)
	}
	t.Tally.Offered = int64(len(l.members))
	t.Tally.Began, t.Tally.Ended = l.start, l.start
	return l, nil
}

func (l *census) Step(now int64, stopped bool) (next int64, done bool) {
	if now < l.start {
		return l.start, stopped
	}
	deadline := l.settle(now)
	// Where nobody has answered for a whole timeout, nobody else will.
	if stopped || l.settled == len(l.members) || l.silent && now-l.lastAnswer >= l.timeout {
		return 0, true
	}
	for range burst {
		if l.next == len(l.members) || l.waiting >= window {
			return deadline, false
		}
		if due := l.schedule.due(uint64(l.next)); due > now {
			return min(due, deadline), false
		}
		i := int(l.members[l.next])
		l.next++
		c := l.table.At(i)
		c.Since = now
		if c.Phase == connections.Open {
			l.waiting++
			l.table.Send(i)
		}
	}
	return now, false
}

// settle moves on to the first connection that is worth waiting for, and returns
// when its time will be over.
func (l *census) settle(now int64) (deadline int64) {
	for ; l.settled < l.next; l.settled++ {
		c := l.table.At(int(l.members[l.settled]))
		if c.Phase == connections.Open && c.Received == 0 {
			if deadline := c.Since + l.timeout; now < deadline {
				return deadline
			}
			l.waiting--
			l.silent = true
		}
	}
	return now + l.timeout
}

func (l *census) Writable(i int) {
	if c := l.table.At(i); int(c.Index) < l.next && c.Sent == 0 {
		l.table.Send(i)
	}
}

func (l *census) Answered(i int, _ uint32, now int64) {
	l.table.Tally.Latency.Record(now - l.table.At(i).Since)
	l.heard(i, now)
}

func (l *census) Missed(i int, _ uint32, _ bool) { l.heard(i, clock.Now()) }

// heard notes that connection i has answered, right or wrong.
func (l *census) heard(i int, now int64) {
	if int(l.table.At(i).Index) >= l.settled {
		l.waiting--
	}
	l.table.Tally.Ended = now
	l.lastAnswer, l.silent = now, false
}

func (l *census) Lost(i int) {
	c := l.table.At(i)
	if index := int(c.Index); l.settled <= index && index < l.next && c.Received == 0 {
		l.waiting--
	}
}

// End implements [Load]. Those that were not asked any more have no age.
func (l *census) End(now int64, stopped bool) {
	if stopped {
		return
	}
	l.table.Tally.Unanswered += int64(len(l.members) - l.next)
	for _, i := range l.members[:l.next] {
		if c := l.table.At(int(i)); c.Received == 0 {
			l.table.Tally.Unanswer(now - c.Since)
		}
	}
}
