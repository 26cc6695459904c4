package load

import (
	"math"

	"connbench/clients/control"
	"connbench/clients/internal/clock"
	"connbench/clients/internal/ws"
)

// echo is an open loop: messages, or pings, are due at a rate, whatever becomes of those
// before. Message k is due at start + (k + offset)·interval and goes to member
// k mod n, so it is number k div n of that member: when a message was due is
// computed when it is sent, and again when its echo comes, and never stored.
type echo struct {
	quiet
	s        *Swarm
	members  []int32
	start    int64
	offset   float64
	interval float64 // nanoseconds
	timeout  int64
	end      int64 // the last message is due before it

	total   uint64 // messages due in all
	next    uint64 // the next to become due
	at      int    // next mod n
	pending int64  // due at connections that live, and not answered
}

func newEcho(s *Swarm, job Job) *echo {
	opcode := ws.Binary
	if job.Op == control.OpPing {
		opcode = ws.Ping
	}
	s.beginLoad(opcode, job.PayloadBytes)
	e := &echo{
		s:        s,
		members:  s.members(),
		start:    job.Start,
		offset:   job.Offset,
		interval: 1e9 / job.RatePerSecond,
		timeout:  nanoseconds(job.TimeoutSeconds),
		end:      job.Start + nanoseconds(job.Seconds),
	}
	if job.Connections > 0 {
		e.members = e.members[:min(job.Connections, len(e.members))]
	}
	if len(e.members) > 0 && job.RatePerSecond > 0 {
		// The part of a message that rounding makes of an exact number is none.
		const rounding = 1e-6
		e.total = uint64(math.Ceil(max(job.Seconds*job.RatePerSecond-job.Offset-rounding, 0)))
	}
	s.tally.began, s.tally.ended = e.start, e.end
	return e
}

// due is when message k is due.
func (e *echo) due(k uint64) int64 {
	return e.start + int64((float64(k)+e.offset)*e.interval)
}

// dueAt is the number of messages that have become due at the connection in a
// place: none where it is not a member.
func (e *echo) dueAt(place uint32) uint32 {
	n := uint64(len(e.members))
	if uint64(place) >= n {
		return 0
	}
	return uint32((e.next + n - 1 - uint64(place)) / n)
}

func (e *echo) step(now int64) (next int64, done bool) {
	if e.s.stopped {
		e.s.tally.ended = min(now, e.end)
		return 0, true
	}
	for range burst {
		if e.next == e.total {
			if now < e.end {
				return e.end, false
			}
			return e.end + e.timeout, e.pending == 0 || now >= e.end+e.timeout
		}
		if due := e.due(e.next); due > now {
			return due, false
		}
		i := int(e.members[e.at])
		e.next++
		if e.at++; e.at == len(e.members) {
			e.at = 0
		}
		e.s.tally.Offered++
		if e.s.conns[i].phase == open {
			e.pending++
			e.pump(i)
		}
	}
	return now, false
}

// pump sends what is due at connection i, as far as the engine takes it.
func (e *echo) pump(i int) {
	c := &e.s.conns[i]
	for c.phase == open && c.sent < e.dueAt(c.place) {
		due := e.due(e.number(c.place, c.sent))
		if !e.s.push(i) {
			return
		}
		e.s.tally.lag.Record(clock.Now() - due)
	}
}

// number is the number, among all, of a member's message.
func (e *echo) number(place, sequence uint32) uint64 {
	return uint64(sequence)*uint64(len(e.members)) + uint64(place)
}

func (e *echo) writable(i int) { e.pump(i) }

func (e *echo) answered(i int, sequence uint32, right bool) {
	e.pending--
	if right {
		e.s.tally.latency.Record(clock.Now() - e.due(e.number(e.s.conns[i].place, sequence)))
	}
}

func (e *echo) lost(i int) {
	c := &e.s.conns[i]
	e.pending -= int64(e.dueAt(c.place) - c.received)
}
