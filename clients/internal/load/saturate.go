package load

import (
	"connbench/clients/internal/clock"
	"connbench/clients/internal/connections"
	"connbench/clients/internal/protocol"
)

// saturate is a closed loop: a number of messages is outstanding at any time,
// and for each answer the next connection in turn sends.
type saturate struct {
	Base
	table    *connections.Table
	members  []int32
	turn     int
	inFlight int
	// depth is the number of messages that one connection may have outstanding:
	// one, unless there are fewer connections than messages.
	depth uint32
	// stamps are the times at which outstanding messages were sent, 0 where no
	// message is outstanding: message q of the member with index p has stamp p·depth + q mod depth.
	stamps      []int64
	outstanding int
	missed      []int64 // when those were sent that were passed over, or whose connection was lost
	begun       bool
	start, end  int64
	timeout     int64
}

func init() {
	Register("saturate", Traits{
		Checks: []Check{Connections, Seconds, Timeout, Payload, InFlight, SomeOpen},
		Active: true,
	}, beginSaturate)
}

func beginSaturate(t *connections.Table, job Job, _ struct{}) (Load, error) {
	members := t.Members()
	l := &saturate{
		table:    t,
		members:  members[:min(job.Connections, len(members))],
		inFlight: job.InFlight,
		start:    job.Start,
		end:      job.Start + nanoseconds(job.Seconds),
		timeout:  nanoseconds(job.TimeoutSeconds),
	}
	if n := len(l.members); n > 0 {
		l.depth = uint32((l.inFlight + n - 1) / n)
		l.stamps = make([]int64, n*int(l.depth))
	}
	t.BeginMessages(protocol.Data, job.PayloadBytes, l.end)
	t.Tally.Began, t.Tally.Ended = l.start, l.end
	return l, nil
}

func (l *saturate) Step(now int64, stopped bool) (next int64, done bool) {
	switch {
	case stopped:
		l.table.Tally.Ended = min(now, l.end)
		return 0, true
	case now < l.start:
		return l.start, false
	case now < l.end || !l.begun: // also if the host held the worker up for that long
		l.begun = true
		l.fill(now)
		return l.end, false
	}
	return l.end + l.timeout, l.outstanding == 0 || now >= l.end+l.timeout
}

// fill sends until enough is outstanding, or no connection may send.
func (l *saturate) fill(now int64) {
	for idle := 0; l.outstanding < l.inFlight && idle < len(l.members); {
		i := int(l.members[l.turn])
		if l.turn++; l.turn == len(l.members) {
			l.turn = 0
		}
		c := l.table.At(i)
		if c.Phase != connections.Open || *l.stamp(c, c.Sent) != 0 {
			idle++
			continue
		}
		idle = 0
		*l.stamp(c, c.Sent) = now
		l.outstanding++
		l.table.Tally.Offered++
		l.table.Send(i)
	}
}

func (l *saturate) stamp(c *connections.Conn, sequence uint32) *int64 {
	return &l.stamps[c.Index*l.depth+sequence%l.depth]
}

// member says whether a connection takes part.
func (l *saturate) member(c *connections.Conn) bool { return int(c.Index) < len(l.members) }

func (l *saturate) Writable(i int) {
	// The stamp is that of message c.Sent if the one depth before is answered.
	if c := l.table.At(i); l.member(c) && c.Sent-c.Received < l.depth && *l.stamp(c, c.Sent) != 0 {
		l.table.Send(i)
	}
}

func (l *saturate) Answered(i int, sequence uint32, now int64) {
	l.table.Tally.Latency.Record(now - l.settle(i, sequence))
	l.refill(now)
}

func (l *saturate) Missed(i int, sequence uint32, corrupt bool) {
	if sent := l.settle(i, sequence); !corrupt {
		l.missed = append(l.missed, sent)
	}
	l.refill(clock.Now())
}

// settle forgets an outstanding message, and returns when it was sent.
func (l *saturate) settle(i int, sequence uint32) (sent int64) {
	stamp := l.stamp(l.table.At(i), sequence)
	sent, *stamp = *stamp, 0
	l.outstanding--
	return sent
}

// refill sends what takes the place of a message that is settled.
func (l *saturate) refill(now int64) {
	if now < l.end {
		l.fill(now)
	}
}

func (l *saturate) Lost(i int) {
	c := l.table.At(i)
	if !l.member(c) {
		return
	}
	first := c.Index * l.depth
	for k, stamp := range l.stamps[first : first+l.depth] {
		if stamp != 0 {
			l.missed = append(l.missed, stamp)
			l.stamps[int(first)+k] = 0
			l.outstanding--
		}
	}
}

// End implements [Load].
func (l *saturate) End(now int64, stopped bool) {
	if stopped {
		return
	}
	for _, sent := range append(l.missed, l.stamps...) {
		if sent != 0 {
			l.table.Tally.Unanswer(now - sent)
		}
	}
}
