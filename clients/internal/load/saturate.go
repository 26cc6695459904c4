package load

import (
	"connbench/clients/internal/clock"
	"connbench/clients/internal/ws"
)

// saturate is a closed loop: a number of messages is outstanding at any time,
// and for each echo the next connection in turn sends.
type saturate struct {
	quiet
	s        *Swarm
	members  []int32
	turn     int
	inFlight int
	// depth is the number of messages that one connection may have outstanding:
	// one, unless there are fewer connections than messages.
	depth uint32
	// stamps are the times at which outstanding messages were sent, 0 where there
	// is none: message q of the member in place p has number p·depth + q mod depth.
	stamps      []int64
	outstanding int
	begun       bool
	start, end  int64
	timeout     int64
}

func newSaturate(s *Swarm, job Job) *saturate {
	s.beginLoad(ws.Binary, job.PayloadBytes)
	l := &saturate{
		s:        s,
		members:  s.members(),
		inFlight: job.InFlight,
		start:    job.Start,
		end:      job.Start + nanoseconds(job.Seconds),
		timeout:  nanoseconds(job.TimeoutSeconds),
	}
	if n := len(l.members); n > 0 {
		l.depth = uint32((l.inFlight + n - 1) / n)
		l.stamps = make([]int64, n*int(l.depth))
	}
	s.tally.began, s.tally.ended = l.start, l.end
	return l
}

func (l *saturate) step(now int64) (next int64, done bool) {
	switch {
	case l.s.stopped:
		l.s.tally.ended = min(now, l.end)
		return 0, true
	case now < l.start:
		return l.start, false
	case now < l.end || !l.begun: // also when the host held the worker up for that long
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
		c := &l.s.conns[i]
		if c.phase != open || *l.stamp(c, c.sent) != 0 {
			idle++
			continue
		}
		idle = 0
		*l.stamp(c, c.sent) = now
		l.outstanding++
		l.s.tally.Offered++
		l.s.push(i)
	}
}

func (l *saturate) stamp(c *conn, sequence uint32) *int64 {
	return &l.stamps[c.place*l.depth+sequence%l.depth]
}

func (l *saturate) writable(i int) {
	// The stamp is that of message c.sent if the one depth before is answered.
	if c := &l.s.conns[i]; c.sent-c.received < l.depth && *l.stamp(c, c.sent) != 0 {
		l.s.push(i)
	}
}

func (l *saturate) answered(i int, sequence uint32, right bool) {
	now := clock.Now()
	stamp := l.stamp(&l.s.conns[i], sequence)
	if right {
		l.s.tally.latency.Record(now - *stamp)
	}
	*stamp = 0
	l.outstanding--
	if now < l.end {
		l.fill(now)
	}
}

func (l *saturate) lost(i int) {
	first := l.s.conns[i].place * l.depth
	for _, stamp := range l.stamps[first : first+l.depth] {
		if stamp != 0 {
			l.outstanding--
		}
	}
}
