package packet

import (
	"math/bits"
	"time"
)

const (
	// tickShift makes ticks of nanoseconds: 4.2 ms each.
	tickShift = 22
	// wheelLists times a tick, 4.3 s, is one turn of the wheel.
	wheelLists = 1024
	// dueList is that of flights whose tick has come.
	dueList = wheelLists
)

// ticks rounds a duration up.
func ticks(d time.Duration) uint32 { return uint32((int64(d) + 1<<tickShift - 1) >> tickShift) }

// wheel holds the flights with a timer: those for tick t are in list t mod
// wheelLists. A timer is set, moved and cancelled in O(1), and most are cancelled.
type wheel struct {
	origin int64  // nanoseconds
	tick   uint32 // up to which lists have been emptied; the first is 1, 0 means none
	heads  [wheelLists + 1]uint32
	filled [wheelLists / 64]uint64 // a bit for each list that is not empty
}

func (w *wheel) begin(now int64) { w.origin, w.tick = now-1<<tickShift, 1 }

func (w *wheel) at(now int64) uint32 { return uint32((now - w.origin) >> tickShift) }

// earliest is the tick of the flight's next deadline, 0: none.
func (f *flight) earliest() uint32 {
	if f.acknowledge == 0 || f.retransmit != 0 && before(f.retransmit, f.acknowledge) {
		return f.retransmit
	}
	return f.acknowledge
}

// arm puts a flight into the list of its next deadline. One that is in the list
// of an earlier tick may stay there: it is put on when that comes.
func (w *wheel) arm(p *flights, k uint32) {
	f := p.at(k)
	due := f.earliest()
	switch {
	case due == 0:
		w.unlink(p, k)
		return
	case f.list != 0 && !before(due, f.linked):
		return
	}
	w.unlink(p, k)
	if !before(w.tick, due) {
		due = w.tick + 1
	}
	f.linked = due
	w.link(p, k, due%wheelLists)
}

func (w *wheel) link(p *flights, k, list uint32) {
	f := p.at(k)
	f.list, f.previous, f.next = list+1, 0, w.heads[list]
	if f.next != 0 {
		p.at(f.next).previous = k
	}
	w.heads[list] = k
	if list != dueList {
		w.filled[list/64] |= 1 << (list % 64)
	}
}

func (w *wheel) unlink(p *flights, k uint32) {
	f := p.at(k)
	if f.list == 0 {
		return
	}
	list := f.list - 1
	if f.next != 0 {
		p.at(f.next).previous = f.previous
	}
	if f.previous != 0 {
		p.at(f.previous).next = f.next
	} else if w.heads[list] = f.next; f.next == 0 && list != dueList {
		w.filled[list/64] &^= 1 << (list % 64)
	}
	f.list, f.next, f.previous = 0, 0, 0
}

// advance moves the flights of all ticks up to now to the list of those due.
func (w *wheel) advance(p *flights, now int64) {
	end := w.at(now)
	if end-w.tick > wheelLists {
		w.tick = end - wheelLists // one turn passes all lists
	}
	for w.tick != end {
		w.tick++
		for list := w.tick % wheelLists; w.heads[list] != 0; {
			k := w.heads[list]
			w.unlink(p, k)
			w.link(p, k, dueList)
		}
	}
}

// due takes a flight out of the list of those due.
func (w *wheel) due(p *flights) (k uint32, ok bool) {
	k = w.heads[dueList]
	if k != 0 {
		w.unlink(p, k)
	}
	return k, k != 0
}

// next is when there is something to do, nanoseconds.
func (w *wheel) next() (at int64, any bool) {
	from := w.tick + 1
	for passed := uint32(0); passed < wheelLists; {
		list := (from + passed) % wheelLists
		if word := w.filled[list/64] >> (list % 64); word != 0 {
			tick := from + passed + uint32(bits.TrailingZeros64(word))
			return w.origin + int64(tick)<<tickShift, true
		}
		passed += 64 - list%64
	}
	return 0, false
}
