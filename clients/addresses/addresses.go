// Package addresses counts and numbers what connections are made of: the addresses
// of prefixes, the source ports, and the four-tuples that both make with the
// targets. It is arithmetic: nothing is searched for or stored, however many there
// are, and nothing is read from the system.
package addresses

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"sort"

	"go4.org/netipx"
)

// Most is how far a [Set] counts. The rest of a larger prefix is left out: 2^62
// addresses are more than there will be connections, and sums stay within 64 bits.
const Most = 1 << 62

// Set is a set of addresses that hosts can have, in ascending order, IPv4 first.
type Set struct {
	blocks []block[netip.Addr]
	n      uint64
	given  []netip.Prefix
}

// block is a run of consecutive addresses or ports.
type block[T any] struct {
	first  T
	before uint64 // how many there are in the blocks before
	count  uint64
}

// Parse returns the addresses of a list of addresses and prefixes. Every address of
// a prefix is in the set but, for IPv4, the first and the last, unless the prefix
// has no more than two (RFC 3021). The error names the text that is neither, and an
// address that the list has twice.
func Parse(list ...string) (Set, error) {
	var s Set
	ranges := make([]netipx.IPRange, 0, len(list))
	for _, text := range list {
		prefix, err := ParsePrefix(text)
		if err != nil {
			return Set{}, err
		}
		s.given = append(s.given, prefix)
		ranges = append(ranges, usable(prefix))
	}
	slices.SortFunc(ranges, func(a, b netipx.IPRange) int { return a.From().Compare(b.From()) })
	var together netipx.IPSetBuilder
	for i, r := range ranges {
		if i > 0 && r.Overlaps(ranges[i-1]) {
			return Set{}, fmt.Errorf("%s is given twice", r.From())
		}
		together.AddRange(r)
	}
	merged, err := together.IPSet()
	if err != nil {
		return Set{}, err
	}
	for _, r := range merged.Ranges() {
		s.add(r.From(), size(r))
	}
	return s, nil
}

// add appends a run of addresses.
func (s *Set) add(first netip.Addr, count uint64) {
	if count = min(count, Most-s.n); count > 0 {
		s.blocks = append(s.blocks, block[netip.Addr]{first: first, before: s.n, count: count})
		s.n += count
	}
}

// ParsePrefix reads a prefix, or an address as the prefix of one. IPv4 within IPv6 is
// IPv4. A prefix with bits beyond its length is an error, since it may be meant as an
// address. So is an address with a zone, and a link-local one of IPv6, which means
// nothing without: connections are planned by addresses alone.
func ParsePrefix(text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		address, err := netip.ParseAddr(text)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a prefix such as 127.1.0.0/16", text)
		}
		if err := checkZone(text, address); err != nil {
			return netip.Prefix{}, err
		}
		prefix = netip.PrefixFrom(address, address.BitLen())
	}
	if prefix != prefix.Masked() {
		return netip.Prefix{}, fmt.Errorf("%q has bits beyond its length: it is %s, or the address %s", text, prefix.Masked(), prefix.Addr())
	}
	const mapped = 96 // bits that all IPv4-mapped addresses share
	if prefix.Addr().Is4In6() && prefix.Bits() >= mapped {
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-mapped)
	}
	return prefix, checkZone(text, prefix.Addr())
}

// setAside are prefixes that no host of the Internet has: for private networks,
// tests and documentation (the special-purpose registries of IANA, RFC 6890).
var setAside = func() *netipx.IPSet {
	var b netipx.IPSetBuilder
	for _, text := range []string{
		"10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.2.0/24", "192.168.0.0/16",
		"198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
		"::1/128", "2001:2::/48", "2001:db8::/32", "3fff::/20", "fc00::/7",
	} {
		b.AddPrefix(netip.MustParsePrefix(text))
	}
	set, err := b.IPSet()
	if err != nil {
		panic(err)
	}
	return set
}()

// SetAside says whether no address of a prefix can be a host's of the Internet.
func SetAside(p netip.Prefix) bool { return setAside.ContainsPrefix(p) }

// checkZone refuses an address that takes a zone.
func checkZone(text string, a netip.Addr) error {
	if a.Zone() != "" || a.Is6() && a.IsLinkLocalUnicast() {
		return fmt.Errorf("%q is link-local or has a zone, which is not supported; use an address of a wider scope", text)
	}
	return nil
}

// usable returns the addresses of a prefix that hosts can have.
func usable(p netip.Prefix) netipx.IPRange {
	whole := netipx.RangeOfPrefix(p)
	if p.Addr().Is4() && p.Bits() < 31 {
		return netipx.IPRangeFrom(whole.From().Next(), whole.To().Prev())
	}
	return whole
}

// size returns the number of addresses in a range, or Most where it is larger.
func size(r netipx.IPRange) uint64 {
	if n, ok := distance(r.From(), r.To()); ok && n < Most {
		return n + 1
	}
	return Most
}

// Len returns the number of addresses, at most [Most].
func (s Set) Len() uint64 { return s.n }

// At returns address n, n below Len.
func (s Set) At(n uint64) netip.Addr {
	b, offset := locate(s.blocks, n)
	return add(b.first, offset)
}

// Index returns the n for which At returns a; ok is false if a is not in the set.
func (s Set) Index(a netip.Addr) (n uint64, ok bool) {
	after := sort.Search(len(s.blocks), func(i int) bool { return a.Less(s.blocks[i].first) })
	if after == 0 {
		return 0, false
	}
	b := s.blocks[after-1]
	offset, ok := distance(b.first, a)
	return b.before + offset, ok && offset < b.count
}

// Contains says whether a is in the set.
func (s Set) Contains(a netip.Addr) bool {
	_, ok := s.Index(a)
	return ok
}

// Slice returns the addresses from number first to the one before end.
func (s Set) Slice(first, end uint64) Set {
	var part Set
	for _, b := range s.blocks {
		from, to := max(b.before, first), min(b.before+b.count, end)
		if from < to {
			part.add(add(b.first, from-b.before), to-from)
		}
	}
	part.given = part.Prefixes()
	return part
}

// first returns the set without what is beyond number n.
func (s Set) first(n uint64) Set {
	if s.n <= n {
		return s
	}
	part := s.Slice(0, n)
	part.given = s.given
	return part
}

// IPv4 returns the addresses of that family, IPv6 those of the other.
func (s Set) IPv4() Set { return s.Slice(0, s.nIPv4()) }
func (s Set) IPv6() Set { return s.Slice(s.nIPv4(), s.n) }

func (s Set) nIPv4() (n uint64) {
	for _, b := range s.blocks {
		if b.first.Is4() {
			n += b.count
		}
	}
	return n
}

// Given returns the list that the set was parsed from, an address as the prefix of
// one. What a set leaves out of a prefix is still there.
func (s Set) Given() []netip.Prefix { return s.given }

// Prefixes returns the fewest prefixes that hold exactly the set.
func (s Set) Prefixes() (list []netip.Prefix) {
	for _, b := range s.blocks {
		list = netipx.IPRangeFrom(b.first, add(b.first, b.count-1)).AppendPrefixes(list)
	}
	return list
}

// Ends returns the first and the last address of each run of consecutive ones.
func (s Set) Ends() (ends []netip.Addr) {
	for _, b := range s.blocks {
		ends = append(ends, b.first)
		if b.count > 1 {
			ends = append(ends, add(b.first, b.count-1))
		}
	}
	return ends
}

// locate returns the block that holds number n, and where in it. Most sets have one.
func locate[T any](blocks []block[T], n uint64) (b block[T], offset uint64) {
	i := 0
	if len(blocks) > 1 {
		i = sort.Search(len(blocks), func(i int) bool { return blocks[i].before > n }) - 1
	}
	return blocks[i], n - blocks[i].before
}

// add returns the address n further on.
func add(a netip.Addr, n uint64) netip.Addr {
	if a.Is4() {
		b := a.As4()
		binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+uint32(n))
		return netip.AddrFrom4(b)
	}
	b := a.As16()
	low, carry := bits.Add64(binary.BigEndian.Uint64(b[8:]), n, 0)
	binary.BigEndian.PutUint64(b[8:], low)
	binary.BigEndian.PutUint64(b[:8], binary.BigEndian.Uint64(b[:8])+carry)
	return netip.AddrFrom16(b)
}

// distance returns how far b is beyond a; ok is false if b is before a, of another
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
