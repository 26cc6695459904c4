package load

import (
	"connbench/clients/internal/clock"
	"connbench/clients/internal/connections"
	"connbench/clients/internal/protocol"
)

// openLoop sends messages on a schedule, whatever becomes of those before. Message k
// goes to member k mod n, so it is number k div n of that member: when a message was
// due is computed when it is sent, and again when its answer comes, and never stored.
type openLoop struct {
	Base
	table    *connections.Table
	members  []int32
	schedule schedule
	timeout  int64 // nanoseconds
	end      int64 // the last message is due before it

	total   uint64  // messages due in all
	next    uint64  // the next to become due
	turn    int     // next mod n
	pending int64   // due on connections that are open, and not answered
	missed  []int64 // when those were due that were passed over
}

func newOpenLoop(t *connections.Table, job Job, kind protocol.Kind) (*openLoop, error) {
	l, err := newSilentLoop(t, job)
	if err == nil {
		t.BeginMessages(kind, job.PayloadBytes, l.end)
	}
	return l, err
}

// newSilentLoop is an open loop whose messages have not begun.
func newSilentLoop(t *connections.Table, job Job) (*openLoop, error) {
	schedule, err := newSchedule(job, job.Start)
	if err != nil {
		return nil, err
	}
	members := t.Members()
	l := &openLoop{
		table:    t,
		members:  members[:min(job.Connections, len(members))],
		schedule: schedule,
		timeout:  nanoseconds(job.TimeoutSeconds),
		end:      job.Start + nanoseconds(job.Seconds),
	}
	if len(l.members) > 0 && job.RatePerSecond > 0 {
		l.total = schedule.before(job.Seconds * 1e9)
	}
	t.Tally.Began, t.Tally.Ended = job.Start, l.end
	return l, nil
}

// dueAt returns the number of messages that have become due on the connection with an
// index: none if it is not a member.
func (l *openLoop) dueAt(index uint32) uint32 {
	n := uint64(len(l.members))
	if uint64(index) >= n {
		return 0
	}
	return uint32((l.next + n - 1 - uint64(index)) / n)
}

func (l *openLoop) Step(now int64, stopped bool) (next int64, done bool) {
	if stopped {
		l.table.Tally.Ended = min(now, l.end)
		return 0, true
	}
	for range burst {
		if l.next == l.total {
			if now < l.end {
				return l.end, false
			}
			return l.end + l.timeout, l.pending == 0 || now >= l.end+l.timeout
		}
		if due := l.schedule.due(l.next); due > now {
			return due, false
		}
		i := int(l.members[l.turn])
		l.next++
		if l.turn++; l.turn == len(l.members) {
			l.turn = 0
		}
		l.table.Tally.Offered++
		if l.table.At(i).Phase == connections.Open {
			l.pending++
			l.send(i)
		}
	}
	return now, false
}

// send sends what is due on connection i, as far as the engine takes it.
func (l *openLoop) send(i int) {
	c := l.table.At(i)
	for c.Phase == connections.Open && c.Sent < l.dueAt(c.Index) {
		due := l.due(c.Index, c.Sent)
		if !l.table.Send(i) {
			return
		}
		l.table.Tally.Lag.Record(clock.Now() - due)
	}
}

// due returns when a member's message is due.
func (l *openLoop) due(index, sequence uint32) int64 {
	return l.schedule.due(l.number(index, sequence))
}

// number is that of a member's message among all.
func (l *openLoop) number(index, sequence uint32) uint64 {
	return uint64(sequence)*uint64(len(l.members)) + uint64(index)
}

func (l *openLoop) Writable(i int) { l.send(i) }

func (l *openLoop) Answered(i int, sequence uint32, now int64) {
	l.pending--
	l.table.Tally.Latency.Record(now - l.due(l.table.At(i).Index, sequence))
}

func (l *openLoop) Missed(i int, sequence uint32, corrupt bool) {
	l.pending--
	if !corrupt {
		l.missed = append(l.missed, l.due(l.table.At(i).Index, sequence))
	}
}

func (l *openLoop) Lost(i int) {
	c := l.table.At(i)
	l.pending -= int64(l.dueAt(c.Index) - c.Received)
}

// End implements [Load].
func (l *openLoop) End(now int64, stopped bool) {
	if stopped {
		return
	}
	for _, due := range l.missed {
		l.table.Tally.Unanswer(now - due)
	}
	for _, i := range l.members {
		c := l.table.At(int(i))
		for q := c.Received; q < l.dueAt(c.Index); q++ {
			l.table.Tally.Unanswer(now - l.due(c.Index, q))
		}
	}
}
