package sources

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

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

// Finder returns the finder of a share that [Plan.Slice] has returned.
func (s Share) Finder() *Finder {
	n := len(s.plan.targets)
	f := &Finder{share: s, targets: map[netip.AddrPort]uint64{}, turn: make([]uint64, n), d: gcd(uint64(n), s.workers)}
	for i, target := range s.plan.targets {
		f.targets[target] = uint64(i)
	}
	for j := range uint64(n) {
		g := s.Number(j)
		f.turn[(g+g/s.period)%uint64(n)] = j
	}
	return f
}

// Find returns the number j of the tuple in the share. False: it has no such
// tuple.
func (f *Finder) Find(from, to netip.AddrPort) (j uint64, ok bool) {
	s := f.share
	target, known := f.targets[to]
	address, ours := s.address(from.Addr())
	port, planned := s.plan.port(from.Port())
	if !known || !ours || !planned {
		return 0, false
	}
	n := uint64(len(f.turn))
	row := port*s.nAddresses + address
	return row*n + f.turn[(target+n-row%n*f.d%n)%n], true
}

// Contains says whether an address is among those that the share uses.
func (s Share) Contains(a netip.Addr) bool {
	_, ok := s.address(a)
	return ok
}

// address returns the number of an address among those of the share.
func (s Share) address(a netip.Addr) (k uint64, ok bool) {
	for _, b := range s.addresses {
		if offset, ok := distance(b.first, a); ok && offset < b.count {
			return b.before + offset, true
		}
	}
	return 0, false
}

// port returns the number of a port among those of the plan.
func (p *Plan) port(port uint16) (k uint64, ok bool) {
	for _, b := range p.ports {
		if offset := uint64(port) - uint64(b.first); port >= b.first && offset < b.count {
			return b.before + offset, true
		}
	}
	return 0, false
}

// distance returns how far b is beyond a, unless that is before it, of another
// family, or beyond 64 bits.
func distance(a, b netip.Addr) (n uint64, ok bool) {
	switch {
	case a.Is4() != b.Is4():
		return 0, false
	case a.Is4():
		x, y := a.As4(), b.As4()
		m, n := binary.BigEndian.Uint32(x[:]), binary.BigEndian.Uint32(y[:])
		return uint64(n - m), n >= m
	}
	x, y := a.As16(), b.As16()
	low, borrow := bits.Sub64(binary.BigEndian.Uint64(y[8:]), binary.BigEndian.Uint64(x[8:]), 0)
	high, borrow := bits.Sub64(binary.BigEndian.Uint64(y[:8]), binary.BigEndian.Uint64(x[:8]), borrow)
	return low, high == 0 && borrow == 0
}

// Prefixes are the fewest prefixes that hold exactly the share's addresses: what
// there is to route.
func (s Share) Prefixes() (list []netip.Prefix) {
	for _, b := range s.addresses {
		for at, left := b.first, b.count; left > 0; {
			// The largest prefix that begins here and does not end too late.
			size := bits.Len64(left) - 1
			for size > 0 && !begins(at, size) {
				size--
			}
			list = append(list, netip.PrefixFrom(at, at.BitLen()-size))
			at, left = add(at, 1<<size), left-1<<size
		}
	}
	return list
}

// begins says whether a prefix of 2^size addresses begins at an address.
func begins(a netip.Addr, size int) bool {
	return netip.PrefixFrom(a, a.BitLen()-size).Masked().Addr() == a
}

// IPv4 says whether the addresses are of that family.
func (s Share) IPv4() bool { return s.plan.targets[0].Addr().Is4() }
