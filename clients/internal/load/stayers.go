package load

import (
	"connbench/clients/control"
	"connbench/clients/internal/connections"
	"connbench/clients/internal/protocol"
)

// stayers drops the connections that take part, all at once, and reopens them, while the others
// stay and send messages in an open loop. What it counts and times are the messages; it ends when
// all connections are back, or after its time.
type stayers struct {
	*openLoop
	comeback comeback
	dropped  []int32 // not yet dropped
	storm    bool
}

func init() {
	Register("stayers", Traits{
		Checks:    []Check{Connections, Seconds, Timeout, Payload, Rate, SomeOpen},
		Active:    true,
		Scheduled: true,
	}, beginStayers)
}

func beginStayers(t *connections.Table, job Job, o control.StayersOptions) (Load, error) {
	loop, err := newOpenLoop(t, job, protocol.Data)
	if err != nil {
		return nil, err
	}
	s := &stayers{openLoop: loop, comeback: newComeback(t, job, o.ComebackOptions), storm: o.Drop}
	members := t.Members()
	leaving := min(job.Connections, len(members))
	if o.Drop {
		s.dropped = members[:leaving]
	}
	s.members = members[leaving:]
	for k, i := range s.members {
		t.At(int(i)).Index = uint32(k)
	}
	if len(s.members) == 0 {
		s.total = 0
	}
	return s, nil
}

func (s *stayers) Step(now int64, stopped bool) (next int64, done bool) {
	next, done = s.openLoop.Step(now, stopped)
	if !s.storm || done || now < s.schedule.start {
		return next, done
	}
	n := min(mostDropped, len(s.dropped))
	for _, i := range s.dropped[:n] {
		if s.table.At(int(i)).Phase == connections.Open {
			s.comeback.reset(int(i), now, now)
			s.table.Tally.Count(control.CountDropped, 1)
		}
	}
	if s.dropped = s.dropped[n:]; len(s.dropped) > 0 {
		return now, false
	}
	next = min(next, s.comeback.tryAll(now))
	if s.comeback.over() && now < s.end { // the rest of the time would be as quiet as before
		s.endAt(now)
		return now, false
	}
	return next, false
}

// endAt ends the time in which messages are sent.
func (s *stayers) endAt(now int64) {
	s.end, s.total = now, s.next
	s.table.EndAt(now)
	s.table.Tally.Ended = now
}

// stays says whether connection i is one of those that stay.
func (s *stayers) stays(i int) bool {
	k := s.table.At(i).Index
	return int(k) < len(s.members) && s.members[k] == int32(i)
}

func (s *stayers) Opened(i int) {
	s.comeback.isBack(i)
	s.comeback.since[i] = 0
	s.table.Tally.Count(control.CountBack, 1)
}

func (s *stayers) Refused(i int) { s.comeback.Refused(i) }

func (s *stayers) Writable(i int) {
	if s.stays(i) {
		s.openLoop.Writable(i)
	}
}

func (s *stayers) Lost(i int) {
	if s.stays(i) {
		s.openLoop.Lost(i)
	}
}

// End implements [Load]. Those that are not back are no messages.
func (s *stayers) End(now int64, stopped bool) {
	s.comeback.abandon()
	s.table.Tally.StoppedBy = s.comeback.stoppedBy
	s.openLoop.End(now, stopped)
}
