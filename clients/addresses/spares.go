package addresses

import "math/bits"

// Spares hands out the tuples of a share from some number on, each once: those to
// move to from a tuple that turned out to be somebody else's.
//
// Foreign sockets take tuples in runs: a listener on the wildcard address takes its
// port with every source address, another swarm the same first addresses and ports.
// Therefore each row of T tuples, T the number of targets, is a large part of the
// whole away from the one before, so that most tuples tried are free if most are.
// A row takes each target once.
type Spares struct {
	next, end uint64
	row       uint64 // T
	// begin is where the first whole row begins, and rows how many there are.
	begin, rows uint64
	at, step    uint64 // the row handed out now, and how far away the next one is
}

// Spares returns those from number first on.
func (s Share) Spares(first uint64) *Spares {
	t := uint64(len(s.tuples.targets))
	p := &Spares{next: first, end: s.Len(), row: t, begin: (first + t - 1) / t * t}
	if p.end > p.begin {
		p.rows = (p.end - p.begin) / t
	}
	p.step = stride(p.rows)
	return p
}

// Next returns the number of a tuple; ok is false if all have been handed out.
func (p *Spares) Next() (j uint64, ok bool) {
	if p.next >= p.end {
		return 0, false
	}
	j = p.next
	p.next++
	if j < p.begin || j-p.begin >= p.rows*p.row {
		return j, true // before the first whole row, or after the last
	}
	k := j - p.begin
	if k > 0 && k%p.row == 0 {
		if p.at += p.step; p.at >= p.rows {
			p.at -= p.rows
		}
	}
	return p.begin + p.at*p.row + k%p.row, true
}

// stride returns a step that leads through all of n numbers, modulo n, and whose
// multiples lie evenly among them: the golden section of n, or the next number that
// has no divisor in common with it.
func stride(n uint64) uint64 {
	const golden = 0x9E3779B97F4A7C15 // of 2^64
	step, _ := bits.Mul64(n, golden)
	for step < n && gcd(step, n) != 1 {
		step++
	}
	return step
}
