package stack

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"unsafe"

	"connbench/clients/stack/arena"
	"connbench/clients/stack/wire"
)

// Peers implements [Places] for connections that peers begin: a table of their
// four-tuples, found by hash. It takes 16 bytes a connection where all listeners are
// IPv4, and 28 otherwise.
//
// The table is one of linear hashing (Litwin, VLDB 1980): it grows by a bucket at a time,
// so that no connection waits while millions of others are moved, and what is resident
// is in proportion to the connections.
type Peers struct {
	listeners []netip.AddrPort
	byAddress map[netip.AddrPort]uint16

	// narrow holds a key for each connection where all listeners are IPv4, wide otherwise.
	narrow []uint64
	wide   []wideKey
	// after is the next connection in the bucket of one, or of those that are free; plus
	// one, 0: none.
	after []uint32

	// heads are the first connections of the buckets, plus one. Those from full on have
	// been divided, and so have those below buckets - full.
	heads         []uint32
	buckets, full uint32

	secret [2]uint64
	used   uint32 // numbers below have been used
	free   uint32 // the first of those that are free, plus one
	count  uint32
}

// wideKey is a four-tuple: the peer's address and port, and the listener's number.
type wideKey struct {
	address     [16]byte
	port, local uint16
}

// leastBuckets is what a table begins with.
const leastBuckets = 1 << 10

// NewPeers returns the places of capacity connections to listeners.
func NewPeers(listeners []netip.AddrPort, capacity int) (*Peers, error) {
	p := &Peers{listeners: listeners, byAddress: map[netip.AddrPort]uint16{}, buckets: leastBuckets, full: leastBuckets}
	wide := false
	for n, at := range listeners {
		if _, twice := p.byAddress[at]; twice {
			return nil, fmt.Errorf("%s: address already in use", at)
		}
		if n > 1<<16-1 {
			return nil, errors.New("more than 65,536 addresses to listen on")
		}
		p.byAddress[at] = uint16(n)
		wide = wide || !at.Addr().Is4()
	}
	var random [16]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, err
	}
	// The multiplier is odd, or it would lose bits.
	p.secret = [2]uint64{binary.NativeEndian.Uint64(random[:]), binary.NativeEndian.Uint64(random[8:]) | 1}
	var err error
	if wide {
		p.wide, err = arena.Reserve[wideKey](capacity)
	} else {
		p.narrow, err = arena.Reserve[uint64](capacity)
	}
	if err == nil {
		p.after, err = arena.Reserve[uint32](capacity)
	}
	if err == nil {
		p.heads, err = arena.Reserve[uint32](max(capacity, leastBuckets))
	}
	return p, err
}

// StateBytes is the size of what is kept of a connection.
func (p *Peers) StateBytes() int {
	inTable := unsafe.Sizeof(p.after[0]) + unsafe.Sizeof(p.heads[0])
	if p.wide != nil {
		return int(unsafe.Sizeof(wideKey{}) + inTable)
	}
	return int(unsafe.Sizeof(p.narrow[0]) + inTable)
}

// Used is a number above that of every connection.
func (p *Peers) Used() int { return int(p.used) }

// Listeners are the addresses that peers may connect to.
func (p *Peers) Listeners() []netip.AddrPort { return p.listeners }

// local is the number of the listener at an address.
func (p *Peers) local(at netip.AddrPort) (n uint16, ok bool) {
	if p.listeners[0] == at { // there is often one
		return 0, true
	}
	n, ok = p.byAddress[at]
	return n, ok
}

// key is a four-tuple as the table has it, in either form.
type key struct {
	narrow uint64
	wide   wideKey
}

func (p *Peers) keyOf(t wire.Tuple) (k key, ok bool) {
	local, ok := p.local(t.From)
	if !ok {
		return k, false
	}
	if p.wide != nil {
		k.wide = wideKey{t.To.Addr().As16(), t.To.Port(), local}
		return k, true
	}
	address := t.To.Addr().As4()
	k.narrow = uint64(binary.BigEndian.Uint32(address[:]))<<32 | uint64(t.To.Port())<<16 | uint64(local)
	return k, true
}

// at is the key of connection i.
func (p *Peers) at(i uint32) (k key) {
	if p.wide != nil {
		k.wide = p.wide[i]
	} else {
		k.narrow = p.narrow[i]
	}
	return k
}

// is reports whether connection i has a key.
func (p *Peers) is(i uint32, k *key) bool {
	if p.wide != nil {
		return p.wide[i] == k.wide
	}
	return p.narrow[i] == k.narrow
}

// hash is of a secret, so that nobody can choose tuples that meet.
func (p *Peers) hash(k *key) uint32 {
	if p.wide == nil {
		return uint32(p.mix(k.narrow))
	}
	a := &k.wide.address
	h := p.mix(binary.NativeEndian.Uint64(a[:]))
	h = p.mix(h ^ binary.NativeEndian.Uint64(a[8:]))
	return uint32(p.mix(h ^ uint64(k.wide.port)<<16 ^ uint64(k.wide.local)))
}

func (p *Peers) mix(x uint64) uint64 {
	high, low := bits.Mul64(x^p.secret[0], p.secret[1])
	x = high ^ low
	x ^= x >> 32
	x *= 0x9E3779B97F4A7C15 // 2^64 divided by the golden ratio
	return x ^ x>>29
}

// bucket is that of a hash.
func (p *Peers) bucket(hash uint32) uint32 {
	if b := hash & (2*p.full - 1); b < p.buckets {
		return b
	}
	return hash & (p.full - 1)
}

// Find implements [Places].
func (p *Peers) Find(t wire.Tuple) (i int, ok bool) {
	k, ok := p.keyOf(t)
	if !ok {
		return 0, false
	}
	for n := p.heads[p.bucket(p.hash(&k))]; n != 0; n = p.after[n-1] {
		if p.is(n-1, &k) {
			return int(n - 1), true
		}
	}
	return 0, false
}

// Tuple implements [Places].
func (p *Peers) Tuple(i int) wire.Tuple {
	if p.wide != nil {
		k := &p.wide[i]
		return wire.Tuple{From: p.listeners[k.local], To: netip.AddrPortFrom(netip.AddrFrom16(k.address).Unmap(), k.port)}
	}
	k := p.narrow[i]
	var address [4]byte
	binary.BigEndian.PutUint32(address[:], uint32(k>>32))
	return wire.Tuple{From: p.listeners[uint16(k)], To: netip.AddrPortFrom(netip.AddrFrom4(address), uint16(k>>16))}
}

// Ours implements [Places].
func (p *Peers) Ours(a netip.Addr) bool {
	for _, at := range p.listeners {
		if at.Addr() == a {
			return true
		}
	}
	return false
}

// Take implements [Places].
func (p *Peers) Take(t wire.Tuple) (i int, answer Answer) {
	k, ok := p.keyOf(t)
	switch {
	case !ok:
		return 0, Refused
	case !t.To.Addr().IsGlobalUnicast() || p.Ours(t.To.Addr()):
		return 0, Full // no peer has such an address (RFC 1122 section 4.2.3.10): it gets no answer
	}
	n := p.free
	switch {
	case n != 0:
		p.free = p.after[n-1]
	case int(p.used) < len(p.after):
		p.used++
		n = p.used
	default:
		return 0, Full
	}
	if p.wide != nil {
		p.wide[n-1] = k.wide
	} else {
		p.narrow[n-1] = k.narrow
	}
	if p.count++; p.count > p.buckets && int(p.buckets) < len(p.heads) {
		p.grow()
	}
	p.link(n, p.bucket(p.hash(&k)))
	return int(n - 1), Taken
}

func (p *Peers) link(n, bucket uint32) {
	p.after[n-1] = p.heads[bucket]
	p.heads[bucket] = n
}

// grow divides one bucket into two.
func (p *Peers) grow() {
	from := p.buckets - p.full
	p.buckets++
	n := p.heads[from]
	p.heads[from] = 0
	for n != 0 {
		next := p.after[n-1]
		k := p.at(n - 1)
		p.link(n, p.bucket(p.hash(&k)))
		n = next
	}
	if p.buckets == 2*p.full {
		p.full *= 2
	}
}

// Left implements [Places].
func (p *Peers) Left(i int) {
	k := p.at(uint32(i))
	n := uint32(i) + 1
	place := &p.heads[p.bucket(p.hash(&k))]
	for *place != n {
		place = &p.after[*place-1]
	}
	*place = p.after[i]
	p.after[i], p.free = p.free, n
	p.count--
}

// Release gives back the table's memory.
func (p *Peers) Release() {
	if p.wide != nil {
		arena.Release(p.wide)
	} else {
		arena.Release(p.narrow)
	}
	arena.Release(p.after)
	arena.Release(p.heads)
}
