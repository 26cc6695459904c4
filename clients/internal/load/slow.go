package load

import (
	"fmt"
	"math"
	"time"

	"connbench/clients/control"
	"connbench/clients/internal/connections"
	"connbench/clients/internal/protocol"
)

// slow is the load echo of most connections, next to a few that misbehave: some send and read
// nothing, some send one byte at a time. Only the others count.
type slow struct {
	*openLoop
	peers slowPeers
}

func init() {
	Register("slow", Traits{
		Checks:    []Check{Connections, Seconds, Timeout, Payload, Rate, SomeOpen},
		Active:    true,
		Scheduled: true,
	}, beginSlow)
}

func beginSlow(t *connections.Table, job Job, o control.SlowOptions) (Load, error) {
	if err := checkShares(o.UnreadShare, o.DribbleShare); err != nil {
		return nil, err
	}
	if o.FloodBytes < 0 || o.DribbleSeconds < 0 || o.DribbleShare > 0 && o.DribbleSeconds == 0 {
		return nil, fmt.Errorf("flood_bytes is %d and dribble_seconds is %g: they must be positive", o.FloodBytes, o.DribbleSeconds)
	}
	members := t.Members()
	unread, dribbling := shareOf(o.UnreadShare, len(members)), shareOf(o.DribbleShare, len(members))
	job.Connections = max(0, min(job.Connections, len(members)-unread-dribbling))
	l, err := newOpenLoop(t, job, protocol.Data)
	if err != nil {
		return nil, err
	}
	s := &slow{openLoop: l, peers: slowPeers{
		table: t, begin: job.Start, end: l.end, payload: int64(job.PayloadBytes),
		flood: o.FloodBytes, pause: nanoseconds(o.DribbleSeconds), next: job.Start,
	}}
	return s, s.peers.take(members[len(l.members):], unread, dribbling)
}

func checkShares(shares ...float64) error {
	for _, share := range shares {
		if !(share >= 0 && share <= 0.5) {
			return fmt.Errorf("a share of slow peers is %g: it must be from 0 to 0.5", share)
		}
	}
	return nil
}

// shareOf is a share of n, at least one if there is a share at all.
func shareOf(share float64, n int) int {
	if share == 0 || n == 0 {
		return 0
	}
	return max(1, int(math.Round(share*float64(n))))
}

func (s *slow) Step(now int64, stopped bool) (next int64, done bool) {
	next, done = s.openLoop.Step(now, stopped)
	if done || now >= s.end {
		return next, done
	}
	return min(next, s.peers.step(now)), false
}

func (s *slow) Writable(i int) {
	if s.table.At(i).Slow {
		s.peers.writable(i)
		return
	}
	s.openLoop.Writable(i)
}

func (s *slow) Missed(i int, sequence uint32, corrupt bool) {
	if !s.table.At(i).Slow {
		s.openLoop.Missed(i, sequence, corrupt)
	}
}

func (s *slow) Lost(i int) {
	if !s.table.At(i).Slow {
		s.openLoop.Lost(i)
	}
}

// End implements [Load].
func (s *slow) End(now int64, stopped bool) {
	s.peers.count()
	s.openLoop.End(now, stopped)
}

// slowPeers are the connections of a worker that misbehave.
type slowPeers struct {
	table             *connections.Table
	unread, dribbling []int32
	begin, end        int64
	payload           int64 // bytes of a message
	flood             int64 // bytes that each of unread sends until end
	pause             int64 // nanoseconds between two bytes of each of dribbling
	next              int64 // when the next is due
	blocked           map[int]bool
}

// slowTick is the time between two looks at what slow peers have to send.
const slowTick = int64(10 * time.Millisecond)

// take makes the first of some connections peers that read nothing, and the next ones peers that
// dribble.
func (p *slowPeers) take(list []int32, unread, dribbling int) error {
	unread = min(unread, len(list))
	dribbling = min(dribbling, len(list)-unread)
	p.unread, p.dribbling, p.blocked = list[:unread], list[unread:unread+dribbling], map[int]bool{}
	for _, i := range p.unread {
		if err := p.table.Slow(int(i), connections.Unreading); err != nil {
			return err
		}
	}
	for _, i := range p.dribbling {
		if err := p.table.Slow(int(i), connections.Dribbling); err != nil {
			return err
		}
	}
	return nil
}

// step sends what is due, and returns when to call it again.
func (p *slowPeers) step(now int64) (next int64) {
	if now < p.begin {
		return p.begin
	}
	if p.flood > 0 && p.payload > 0 {
		due := int64(float64(p.flood) * float64(now-p.begin) / float64(p.end-p.begin))
		for _, i := range p.unread {
			p.send(int(i), due)
		}
	}
	if now >= p.next && p.pause > 0 {
		p.next = now + p.pause
		for _, i := range p.dribbling {
			if p.table.At(int(i)).Phase == connections.Open {
				p.table.Send(int(i)) // one byte of the message
			}
		}
	}
	return now + slowTick
}

// send has a peer that reads nothing send as many whole messages as are due.
func (p *slowPeers) send(i int, due int64) {
	c := p.table.At(i)
	for !p.blocked[i] && c.Phase == connections.Open && int64(c.Sent+1)*p.payload <= due {
		if !p.table.Send(i) {
			p.blocked[i] = true
		}
	}
}

// writable goes on with a message that was taken in part.
func (p *slowPeers) writable(i int) {
	if p.blocked[i] {
		p.blocked[i] = !p.table.Send(i)
	}
}

// count counts the peers, and what they sent. Messages that a lost connection had sent count too.
func (p *slowPeers) count() {
	tally := &p.table.Tally
	if len(p.unread) > 0 {
		tally.Count(control.CountUnread, int64(len(p.unread)))
	}
	if len(p.dribbling) > 0 {
		tally.Count(control.CountDribbling, int64(len(p.dribbling)))
	}
	for _, i := range p.unread {
		if sent := int64(p.table.At(int(i)).Sent) * p.payload; sent > 0 {
			tally.Count(control.CountUnreadBytes, sent)
		}
	}
}
