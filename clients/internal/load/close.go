package load

import (
	"connbench/clients/control"
	"connbench/clients/internal/clock"
	"connbench/clients/internal/ws"
)

// closer closes connections, the last of members first. It sends a close frame,
// awaits the server's, then resets: by RFC 6455 section 7.1.1 the server might be
// left to close first, but then it would be left with TIME_WAIT, or this side
// with it if the server does not. After the close frames a reset takes nothing
// from anybody, and the kernel forgets the connection on both sides at once.
//
// Members from next on have been asked to close; of these, those from settled on
// are gone.
type closer struct {
	quiet
	s             *Swarm
	members       []int32
	next, settled int
	waiting       int
	target        int
	timeout       int64
}

func newCloser(s *Swarm, job Job, now int64) *closer {
	members := s.members()
	s.tally.began, s.tally.ended = now, now
	return &closer{
		s:       s,
		members: members,
		next:    len(members),
		settled: len(members),
		target:  job.Connections,
		timeout: nanoseconds(job.TimeoutSeconds),
	}
}

func (t *closer) step(now int64) (next int64, done bool) {
	if t.s.stopped {
		now += t.timeout // nothing is waited for
	}
	deadline := t.settle(now)
	if t.waiting == 0 && (t.s.stopped || t.s.open <= t.target) {
		return 0, true
	}
	for range burst {
		if t.s.open <= t.target || t.waiting >= window {
			return deadline, false
		}
		t.next--
		i := int(t.members[t.next])
		if c := &t.s.conns[i]; c.phase == open {
			c.phase, c.since = closing, now
			t.s.open--
			t.waiting++
			t.s.control(i, ws.Close, closePayload)
		}
	}
	return now, false
}

// settle resets those whose time is over, and returns when that of the next will
// be.
func (t *closer) settle(now int64) (deadline int64) {
	for ; t.settled > t.next; t.settled-- {
		i := int(t.members[t.settled-1])
		c := &t.s.conns[i]
		if c.phase != closing {
			continue
		}
		if deadline := c.since + t.timeout; now < deadline {
			return deadline
		}
		t.s.tally.fail(control.PhaseClose, control.Timeout)
		t.s.forget(i)
		t.closed(i)
	}
	return now + t.timeout
}

func (t *closer) closed(int) {
	t.waiting--
	t.s.tally.Closed++
	t.s.tally.ended = clock.Now()
}
