package load

import (
	"time"

	"connbench/clients/control"
	"connbench/clients/internal/clock"
	"connbench/clients/internal/connections"
)

// broadcast has one connection of the swarm send messages on a schedule, which the server sends
// to all that hear. Offered counts a message once for each connection that is to get it. All
// workers know the schedule: when a message was due is computed when it comes, from its number, by
// the clock that the processes of a host share. Where there are several hosts, no time is recorded.
type broadcast struct {
	Base
	table    *connections.Table
	schedule schedule
	members  int     // connections that are to hear
	list     []int32 // all but those that read nothing
	timeout  int64   // nanoseconds
	end      int64   // the last message is due before it
	timed    bool

	total   uint64
	next    uint64 // the next to become due
	alive   int64  // members that are open
	pending int64  // due on those, and not received

	publishes bool // in this worker
	speaker   int  // index in list of the connection that publishes
	sent      uint64

	slow slowPeers

	spread  []control.Spread // of each message
	corrupt []int64          // connections that got each wrong
}

func init() {
	Register("broadcast", Traits{
		Checks: []Check{Everyone, Seconds, Timeout, Payload, Broadcast, Rate, SomeOpen},
		Active: true,
		Common: true,
	}, beginBroadcast)
}

// Everyone demands that all connections take part.
func Everyone(c control.Command, _ Swarm) string {
	return unless(c.Connections == 0, "connections must be 0: what is sent to all, all get")
}

// Broadcast bounds size and number of messages to all.
func Broadcast(c control.Command, _ Swarm) string {
	if c.PayloadBytes < control.LeastBroadcast {
		return unless(false, "payload_bytes must be at least %d", control.LeastBroadcast)
	}
	return unless(c.RatePerSecond*c.Seconds <= control.MostBroadcast, "rate_per_second for seconds makes more than %d messages", int(control.MostBroadcast))
}

// lead is how long workers have got to begin, before the first message may reach them.
const lead = int64(200 * time.Millisecond)

func beginBroadcast(t *connections.Table, job Job, o control.BroadcastOptions) (Load, error) {
	if err := checkShares(o.UnreadShare); err != nil {
		return nil, err
	}
	start := job.Start + lead*int64(max(job.Hosts, 1))
	schedule, err := newSchedule(job, start)
	if err != nil {
		return nil, err
	}
	l := &broadcast{
		table:     t,
		schedule:  schedule,
		list:      t.Members(),
		timeout:   nanoseconds(job.TimeoutSeconds),
		end:       start + nanoseconds(job.Seconds),
		timed:     job.Hosts <= 1,
		publishes: job.First,
		total:     min(schedule.before(job.Seconds*1e9), control.MostBroadcast),
	}
	l.slow = slowPeers{table: t}
	unread := max(0, min(shareOf(o.UnreadShare, len(l.list)), len(l.list)-1)) // the first one may publish
	if err := l.slow.take(l.list[len(l.list)-unread:], unread, 0); err != nil {
		return nil, err
	}
	l.list = l.list[:len(l.list)-unread]
	for _, i := range l.list {
		if _, hears := t.Protocol().Role(int(i)); hears {
			l.members++
		}
	}
	l.alive = int64(l.members)
	l.spread = make([]control.Spread, l.total)
	l.corrupt = make([]int64, l.total)
	t.BeginBroadcast(o.Run, job.PayloadBytes, uint32(l.total), l.end)
	t.Tally.Began, t.Tally.Ended = start, l.end
	return l, nil
}

func (l *broadcast) Step(now int64, stopped bool) (next int64, done bool) {
	if stopped {
		l.table.Tally.Ended = min(now, l.end)
		return 0, true
	}
	for l.next < l.total {
		if due := l.schedule.due(l.next); due > now {
			return due, false
		}
		l.next++
		l.pending += l.alive
		l.table.Tally.Offered += int64(l.members)
		l.publish()
	}
	if now < l.end {
		return l.end, false
	}
	return l.end + l.timeout, l.pending <= 0 || now >= l.end+l.timeout
}

// publish sends what is due, as far as the engine takes it. If the connection that publishes is
// lost, the next one that can takes its place.
func (l *broadcast) publish() {
	for l.publishes && l.sent < l.next {
		for l.speaker < len(l.list) && !l.canPublish(int(l.list[l.speaker])) {
			l.speaker++
		}
		if l.speaker == len(l.list) {
			l.publishes = false
			l.table.Tally.Count(control.CountMute, 1)
			return
		}
		due := l.schedule.due(l.sent)
		if !l.table.Publish(int(l.list[l.speaker]), uint32(l.sent)) {
			return
		}
		l.table.Tally.Lag.Record(clock.Now() - due)
		l.sent++
	}
}

func (l *broadcast) canPublish(i int) bool {
	publishes, _ := l.table.Protocol().Role(i)
	return publishes && l.table.At(i).Phase == connections.Open
}

func (l *broadcast) Writable(int) { l.publish() }

func (l *broadcast) Answered(_ int, sequence uint32, now int64) {
	l.pending--
	s := &l.spread[sequence]
	s.Received++
	if l.timed {
		took := now - l.schedule.due(uint64(sequence))
		s.Nanoseconds = max(s.Nanoseconds, took)
		l.table.Tally.Latency.Record(took)
	}
}

func (l *broadcast) Missed(_ int, sequence uint32, corrupt bool) {
	l.pending--
	if corrupt {
		l.corrupt[sequence]++
	}
}

func (l *broadcast) Lost(i int) {
	if l.table.At(i).Slow {
		return
	}
	if _, hears := l.table.Protocol().Role(i); hears {
		l.alive--
		l.pending -= int64(l.next) - int64(l.table.At(i).Received)
	}
	l.publish()
}

// End implements [Load].
func (l *broadcast) End(now int64, stopped bool) {
	l.table.Tally.Spread = l.spread[:l.next]
	l.slow.count()
	if stopped {
		return
	}
	for k, s := range l.spread {
		missing := int64(l.members) - s.Received - l.corrupt[k]
		for range missing {
			l.table.Tally.Unanswer(now - l.schedule.due(uint64(k)))
		}
	}
}
