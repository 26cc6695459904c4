package addresses

import "net/netip"

// Finder finds tuples in a share with addresses of its own: the inverse of
// [Share.Tuple].
type Finder struct {
	share   Share
	targets map[netip.AddrPort]uint64
	// turn is the place, among the T tuples of row 0, of that to each target.
	// Each T tuples in a row take every target once, as Tuple says, and in row r
	// they are those of row 0 turned by r·d, d the common divisor of T and the
	// number of workers.
	turn []uint64
	d    uint64
}

// Finder returns the finder of a share that [Tuples.Slice] has returned.
func (s Share) Finder() *Finder {
	n := len(s.tuples.targets)
	f := &Finder{share: s, targets: map[netip.AddrPort]uint64{}, turn: make([]uint64, n), d: gcd(uint64(n), s.workers)}
	for i, target := range s.tuples.targets {
		f.targets[target] = uint64(i)
	}
	for j := range uint64(n) {
		g := s.Number(j)
		f.turn[(g+g/s.period)%uint64(n)] = j
	}
	return f
}

// Find returns the number j of the tuple in the share; ok is false if the share does
// not have the tuple.
func (f *Finder) Find(from, to netip.AddrPort) (j uint64, ok bool) {
	s := f.share
	target, known := f.targets[to]
	address, ours := s.sources.Index(from.Addr())
	port, planned := s.tuples.ports.Index(from.Port())
	if !known || !ours || !planned {
		return 0, false
	}
	n := uint64(len(f.turn))
	row := port*s.sources.Len() + address
	return row*n + f.turn[(target+n-row%n*f.d%n)%n], true
}
