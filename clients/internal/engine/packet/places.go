package packet

import (
	"net/netip"

	"connbench/clients/addresses"
	"connbench/clients/stack"
	"connbench/clients/stack/wire"
)

// places implements [stack.Places]: connection i has tuple i of the share, but for those
// that have had to leave a tuple on which connecting failed.
type places struct {
	share    addresses.Share
	finder   *addresses.Finder
	capacity int
	open     func(i int) bool
	moved    moved
}

// moved holds the tuples of connections that are not where arithmetic looks for them.
type moved struct {
	byTuple map[wire.Tuple]int32
	byConn  map[int32]wire.Tuple
}

// settleAt gives connection i, which is closed, its tuple. It returns false if another
// connection has it.
func (p *places) settleAt(i int, t wire.Tuple) bool {
	if _, taken := p.Find(t); taken {
		return false
	}
	if j, ok := p.finder.Find(t.From, t.To); ok && j == uint64(i) {
		return true
	}
	if p.moved.byTuple == nil {
		p.moved = moved{map[wire.Tuple]int32{}, map[int32]wire.Tuple{}}
	}
	p.moved.byTuple[t] = int32(i)
	p.moved.byConn[int32(i)] = t
	return true
}

// Find implements [stack.Places].
func (p *places) Find(t wire.Tuple) (i int, ok bool) {
	j, ok := p.finder.Find(t.From, t.To)
	if ok && j < uint64(p.capacity) && p.open(int(j)) && !p.hasMoved(int(j)) {
		return int(j), true
	}
	if len(p.moved.byTuple) > 0 {
		i, ok := p.moved.byTuple[t]
		return int(i), ok
	}
	return 0, false
}

func (p *places) hasMoved(i int) bool {
	if len(p.moved.byConn) == 0 {
		return false
	}
	_, moved := p.moved.byConn[int32(i)]
	return moved
}

// Tuple implements [stack.Places].
func (p *places) Tuple(i int) wire.Tuple {
	if len(p.moved.byConn) > 0 {
		if t, moved := p.moved.byConn[int32(i)]; moved {
			return t
		}
	}
	t := p.share.Tuple(uint64(i))
	return wire.Tuple{From: t.From, To: t.To}
}

// Ours implements [stack.Places].
func (p *places) Ours(a netip.Addr) bool { return p.share.Sources().Contains(a) }

// Take implements [stack.Places]: nobody listens.
func (p *places) Take(wire.Tuple) (int, stack.Answer) { return 0, stack.Refused }

// Left implements [stack.Places].
func (p *places) Left(i int) {
	if t, moved := p.moved.byConn[int32(i)]; moved {
		delete(p.moved.byTuple, t)
		delete(p.moved.byConn, int32(i))
	}
}
