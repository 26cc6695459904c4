package load

import (
	"connbench/clients/control"
	"connbench/clients/internal/clock"
	"connbench/clients/internal/connections"
)

// closing closes connections, the last of members first. It takes leave by the
// protocol, waits for the peer to do the same, then resets: by RFC 6455 section 7.1.1
// the server might be left to close first, but then it would be left with TIME_WAIT,
// or this side with it if the server does not. After the close frames nothing is left
// for a reset to destroy, and the kernel forgets the connection on both sides at once.
//
// Members from next on have been asked to close; of these, those from settled on
// are gone.
type closing struct {
	Base
	table         *connections.Table
	members       []int32
	next, settled int
	waiting       int
	target        int
	timeout       int64
}

func init() {
	Register("close", Traits{Checks: []Check{Connections, Timeout}}, beginClosing)
}

func beginClosing(t *connections.Table, job Job, _ struct{}) (Load, error) {
	members := t.Members()
	t.Tally.Began, t.Tally.Ended = job.Now, job.Now
	return &closing{
		table:   t,
		members: members,
		next:    len(members),
		settled: len(members),
		target:  job.Connections,
		timeout: nanoseconds(job.TimeoutSeconds),
	}, nil
}

func (l *closing) Step(now int64, stopped bool) (next int64, done bool) {
	if stopped {
		now += l.timeout // nothing is waited for
	}
	deadline := l.settle(now)
	if l.waiting == 0 && (stopped || l.table.Open() <= l.target) {
		return 0, true
	}
	for range burst {
		if l.table.Open() <= l.target || l.waiting >= window {
			return deadline, false
		}
		l.next--
		i := int(l.members[l.next])
		if l.table.At(i).Phase == connections.Open {
			l.waiting++
			l.table.Close(i, now)
		}
	}
	return now, false
}

// settle resets those whose time is over, and returns when that of the next will
// be.
func (l *closing) settle(now int64) (deadline int64) {
	for ; l.settled > l.next; l.settled-- {
		i := int(l.members[l.settled-1])
		c := l.table.At(i)
		if c.Phase != connections.Closing {
			continue
		}
		if deadline := c.Since + l.timeout; now < deadline {
			return deadline
		}
		l.table.Tally.Fail(control.PhaseClose, control.Timeout)
		l.table.Reset(i)
		l.Closed(i)
	}
	return now + l.timeout
}

func (l *closing) Closed(int) {
	l.waiting--
	l.table.Tally.Closed++
	l.table.Tally.Ended = clock.Now()
}
