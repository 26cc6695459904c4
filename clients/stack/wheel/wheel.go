// Package wheel is a timing wheel: a timer for each of a fixed number of items, set,
// moved and cancelled in O(1). Most are cancelled.
package wheel

import (
	"math/bits"
	"time"

	"connbench/clients/stack/arena"
)

const (
	// tickShift makes ticks of nanoseconds: 4.2 ms each.
	tickShift = 22
	// lists times a tick, 4.3 s, is one turn of the wheel.
	lists = 1024
	// dueList is that of items whose tick has come.
	dueList = lists
)

// Ticks rounds a duration up.
func Ticks(d time.Duration) uint32 { return uint32((int64(d) + 1<<tickShift - 1) >> tickShift) }

// Wheel holds the items with a timer, by number from 1 on: those for tick t are in list
// t mod lists.
type Wheel struct {
	origin int64  // nanoseconds
	tick   uint32 // up to which lists have been emptied; the first is 1, 0 means none
	links  []link
	heads  [lists + 1]uint32
	filled [lists / 64]uint64 // a bit for each list that is not empty
}

// link is an item's place in a list.
type link struct {
	next, previous uint32
	list           uint32 // plus one; 0: in none
	tick           uint32 // that it is linked for
}

// New returns a wheel for items 1 to most, whose time begins at now, in nanoseconds.
func New(most int, now int64) (*Wheel, error) {
	links, err := arena.Reserve[link](most + 1)
	return &Wheel{origin: now - 1<<tickShift, tick: 1, links: links}, err
}

// Release gives back the wheel's memory.
func (w *Wheel) Release() { arena.Release(w.links) }

// At is the tick of a time.
func (w *Wheel) At(now int64) uint32 { return uint32((now - w.origin) >> tickShift) }

// Passed reports whether a tick has come.
func (w *Wheel) Passed(tick uint32) bool { return !before(w.tick, tick) }

// before compares ticks, which wrap around.
func before(a, b uint32) bool { return int32(a-b) < 0 }

// Holds reports whether item k will be found due when a tick has come: whether it is in
// the list of that tick or of an earlier one.
func (w *Wheel) Holds(k, due uint32) bool {
	l := &w.links[k]
	return l.list != 0 && (!before(due, l.tick) || l.tick == w.tick+1)
}

// Arm sets the timer of item k to a tick; 0 disarms it. An item in the list of an
// earlier tick stays there, and is armed again when that list is due.
func (w *Wheel) Arm(k, due uint32) {
	l := &w.links[k]
	switch {
	case due == 0:
		w.Cancel(k)
		return
	case l.list != 0 && !before(due, l.tick):
		return
	}
	w.Cancel(k)
	if !before(w.tick, due) {
		due = w.tick + 1
	}
	l.tick = due
	w.link(k, due%lists)
}

func (w *Wheel) link(k, list uint32) {
	l := &w.links[k]
	l.list, l.previous, l.next = list+1, 0, w.heads[list]
	if l.next != 0 {
		w.links[l.next].previous = k
	}
	w.heads[list] = k
	if list != dueList {
		w.filled[list/64] |= 1 << (list % 64)
	}
}

// Cancel takes the timer of item k away.
func (w *Wheel) Cancel(k uint32) {
	l := &w.links[k]
	if l.list == 0 {
		return
	}
	list := l.list - 1
	if l.next != 0 {
		w.links[l.next].previous = l.previous
	}
	if l.previous != 0 {
		w.links[l.previous].next = l.next
	} else if w.heads[list] = l.next; l.next == 0 && list != dueList {
		w.filled[list/64] &^= 1 << (list % 64)
	}
	l.list, l.next, l.previous = 0, 0, 0
}

// Advance moves the items of all ticks up to now to the list of those due.
func (w *Wheel) Advance(now int64) {
	end := w.At(now)
	if end-w.tick > lists {
		w.tick = end - lists // one turn passes all lists
	}
	for w.tick != end {
		w.tick++
		for list := w.tick % lists; w.heads[list] != 0; {
			k := w.heads[list]
			w.Cancel(k)
			w.link(k, dueList)
		}
	}
}

// Due takes an item out of the list of those due.
func (w *Wheel) Due() (k uint32, ok bool) {
	k = w.heads[dueList]
	if k != 0 {
		w.Cancel(k)
	}
	return k, k != 0
}

// Next is when there is something to do, in nanoseconds.
func (w *Wheel) Next() (at int64, found bool) {
	from := w.tick + 1
	for passed := uint32(0); passed < lists; {
		list := (from + passed) % lists
		if word := w.filled[list/64] >> (list % 64); word != 0 {
			tick := from + passed + uint32(bits.TrailingZeros64(word))
			return w.origin + int64(tick)<<tickShift, true
		}
		passed += 64 - list%64
	}
	return 0, false
}
