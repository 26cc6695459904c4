package load

import (
	"connbench/clients/internal/clock"
	"connbench/clients/internal/ws"
)

// window is the number of connections that one worker questions, or closes, at a
// time.
const window = 1000

// census sends one message over every connection, in the order of members. Those
// before next have been asked. Of these, those before settled need not be waited
// for any more: they have answered, are lost, or have had their time.
type census struct {
	quiet
	s             *Swarm
	members       []int32
	next, settled int
	waiting       int // asked, and neither answered nor settled
	timeout       int64
	start         int64
	lastAnswer    int64
	silent        bool // the time of one was over, and no answer came since
}

func newCensus(s *Swarm, job Job) *census {
	s.beginLoad(ws.Binary, job.PayloadBytes)
	t := &census{
		s:          s,
		members:    s.members(),
		timeout:    nanoseconds(job.TimeoutSeconds),
		start:      job.Start,
		lastAnswer: job.Start,
	}
	s.tally.Offered = int64(len(t.members))
	s.tally.began, s.tally.ended = t.start, t.start
	return t
}

func (t *census) step(now int64) (next int64, done bool) {
	if now < t.start {
		return t.start, t.s.stopped
	}
	deadline := t.settle(now)
	// Where nobody has answered for a whole timeout, nobody else will.
	if t.s.stopped || t.settled == len(t.members) || t.silent && now-t.lastAnswer >= t.timeout {
		return 0, true
	}
	for range burst {
		if t.next == len(t.members) || t.waiting >= window {
			return deadline, false
		}
		i := int(t.members[t.next])
		t.next++
		if c := &t.s.conns[i]; c.phase == open {
			c.since = now
			t.waiting++
			t.s.push(i)
		}
	}
	return now, false
}

// settle moves on to the first connection that is worth waiting for, and returns
// when its time will be over.
func (t *census) settle(now int64) (deadline int64) {
	for ; t.settled < t.next; t.settled++ {
		c := &t.s.conns[t.members[t.settled]]
		if c.phase == open && c.received == 0 {
			if deadline := c.since + t.timeout; now < deadline {
				return deadline
			}
			t.waiting--
			t.silent = true
		}
	}
	return now + t.timeout
}

func (t *census) writable(i int) {
	if c := &t.s.conns[i]; int(c.place) < t.next && c.sent == 0 {
		t.s.push(i)
	}
}

func (t *census) answered(i int, _ uint32, right bool) {
	now := clock.Now()
	c := &t.s.conns[i]
	if int(c.place) >= t.settled {
		t.waiting--
	}
	if right {
		t.s.tally.latency.Record(now - c.since)
	}
	t.s.tally.ended = now
	t.lastAnswer, t.silent = now, false
}

func (t *census) lost(i int) {
	if place := int(t.s.conns[i].place); t.settled <= place && place < t.next && t.s.conns[i].received == 0 {
		t.waiting--
	}
}
