package connections

import (
	"errors"

	"connbench/clients/control"
	"connbench/clients/internal/engine"
)

// Manner is how a slow peer misbehaves.
type Manner uint8

// The manners.
const (
	Unreading Manner = iota // it reads nothing
	Dribbling               // it sends one byte at a time
)

// ErrNotPaused is the error of an engine that cannot stop reading.
var ErrNotPaused = errors.New("the engine cannot leave a connection unread; take the engine socket")

// Slow makes connection i a slow peer. It stays one until the next command begins, and is then
// dropped: a server can be looked at meanwhile.
func (t *Table) Slow(i int, manner Manner) error {
	if manner == Unreading {
		pauser, can := t.slowly.Engine.(engine.Pauser)
		if !can {
			return ErrNotPaused
		}
		pauser.Pause(i)
	} else {
		if t.slowly.dribbling == nil {
			t.slowly.dribbling = map[int]bool{}
		}
		t.slowly.dribbling[i] = true
	}
	t.conns[i].Slow = true
	t.slow = append(t.slow, int32(i))
	return nil
}

// DropSlow ends all slow peers.
func (t *Table) DropSlow() {
	for _, i := range t.slow {
		if c := &t.conns[i]; c.Phase == Open && c.Slow {
			t.Drop(int(i))
		}
	}
	t.slow = nil
	clear(t.slowly.dribbling)
}

// slowly is an engine that takes one byte at a time of those that dribble. No Writable follows
// what it leaves: the load calls again in its own time.
type slowly struct {
	engine.Engine
	dribbling map[int]bool
}

// lost is the count of the slow peer i that was lost.
func (s *slowly) lost(i int) string {
	if s.dribbling[i] {
		return control.CountDribblingLost
	}
	return control.CountUnreadLost
}

func (s *slowly) Send(i int, p []byte) (n int, err error) {
	if len(s.dribbling) > 0 && s.dribbling[i] && len(p) > 1 {
		p = p[:1]
	}
	return s.Engine.Send(i, p)
}
