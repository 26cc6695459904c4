// Package sources plans the four-tuples of connections: which source address
// and port goes to which target. The plan is arithmetic: tuple g of all is
// computed from g alone, so that nothing is searched for, stored or wasted.
package sources

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// maxAddresses bounds the addresses of a plan. With all ports and targets that
// is far more than connections, and products of counts stay within 64 bits.
const maxAddresses = 1 << 24

// Plan is the set of all four-tuples. Its order spreads any first n of them
// evenly over the targets, and then over the source addresses.
type Plan struct {
	targets   []netip.AddrPort
	prefixes  []netip.Prefix // the sources as given
	addresses []block[netip.Addr]
	ports     []block[uint16]
	// Numbers of source addresses and of ports.
	nAddresses, nPorts uint64
}

// block is a run of consecutive addresses or ports.
type block[T any] struct {
	first  T
	before uint64 // how many there are in the blocks before
	count  uint64
}

// Tuple is a connection's place in the network.
type Tuple struct {
	From, To netip.AddrPort
	// Target is the index of To among the targets.
	Target int
}

// New plans with sources (single addresses, or prefixes of which every address
// is used but, for IPv4, the first and the last) and targets (host:port, the host
// an address), all of one family, and the source ports first to last without the
// reserved ones. The error says which of them is wrong.
func New(sources, targets []string, first, last int, reserved []PortRange) (*Plan, error) {
	p := &Plan{}
	if err := p.setTargets(targets); err != nil {
		return nil, err
	}
	if err := p.setSources(sources); err != nil {
		return nil, err
	}
	if err := p.setPorts(first, last, reserved); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Plan) setTargets(targets []string) error {
	if len(targets) == 0 {
		return fmt.Errorf("targets: none given; at least one host:port is needed")
	}
	for _, text := range targets {
		target, err := netip.ParseAddrPort(text)
		if err != nil || target.Port() == 0 {
			return fmt.Errorf("target %q is not ADDRESS:PORT with a numeric address", text)
		}
		target = netip.AddrPortFrom(target.Addr().Unmap(), target.Port())
		if slices.Contains(p.targets, target) {
			return fmt.Errorf("target %s is given twice", target)
		}
		if len(p.targets) > 0 && target.Addr().Is4() != p.targets[0].Addr().Is4() {
			return fmt.Errorf("target %s and target %s are of different address families; run one swarm for each", p.targets[0], target)
		}
		p.targets = append(p.targets, target)
	}
	return nil
}

func (p *Plan) setSources(sources []string) error {
	if len(sources) == 0 {
		return fmt.Errorf("sources: none given; at least one address or prefix is needed")
	}
	blocks := make([]block[netip.Addr], 0, len(sources))
	for _, text := range sources {
		b, err := parseSource(text)
		if err != nil {
			return err
		}
		if b.block.first.Is4() != p.targets[0].Addr().Is4() {
			return fmt.Errorf("source %s and target %s are of different address families", text, p.targets[0])
		}
		blocks = append(blocks, b.block)
		p.prefixes = append(p.prefixes, b.prefix)
	}
	slices.SortFunc(blocks, func(a, b block[netip.Addr]) int { return a.first.Compare(b.first) })
	for _, b := range blocks {
		b.count = min(b.count, maxAddresses-p.nAddresses)
		if n := len(p.addresses); n > 0 {
			previous := &p.addresses[n-1]
			end := add(previous.first, previous.count)
			if b.first.Less(end) {
				return fmt.Errorf("sources: %s is given twice", b.first)
			}
			if b.first == end { // single addresses in a row are one block
				previous.count += b.count
				p.nAddresses += b.count
				continue
			}
		}
		b.before = p.nAddresses
		p.addresses = append(p.addresses, b)
		p.nAddresses += b.count
	}
	return nil
}

// source is a source as given, and what is used of it.
type source struct {
	prefix netip.Prefix
	block  block[netip.Addr]
}

func parseSource(text string) (source, error) {
	if address, err := netip.ParseAddr(text); err == nil && address.Zone() == "" {
		address = address.Unmap()
		return source{netip.PrefixFrom(address, address.BitLen()), block[netip.Addr]{first: address, count: 1}}, nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return source{}, fmt.Errorf("source %q is neither an address nor a prefix such as 127.1.0.0/16", text)
	}
	prefix = prefix.Masked()
	const enough = 62 // bits, so that the count does not overflow
	b := block[netip.Addr]{first: prefix.Addr(), count: 1 << min(prefix.Addr().BitLen()-prefix.Bits(), enough)}
	// RFC 3021: a prefix of two addresses, or of one, has no network and no
	// broadcast address.
	if b.first.Is4() && b.count > 2 {
		b.first = b.first.Next()
		b.count -= 2
	}
	return source{prefix, b}, nil
}

func (p *Plan) setPorts(first, last int, reserved []PortRange) error {
	if first < 1 || last > 65535 || first > last {
		return fmt.Errorf("source ports %d to %d: not a range within 1 to 65535", first, last)
	}
	reserved = slices.Clone(reserved)
	slices.SortFunc(reserved, func(a, b PortRange) int { return cmp.Compare(a.First, b.First) })
	next := first
	take := func(end int) { // ports next to end-1
		if end > next {
			count := uint64(end - next)
			p.ports = append(p.ports, block[uint16]{first: uint16(next), before: p.nPorts, count: count})
			p.nPorts += count
		}
	}
	for _, r := range reserved {
		take(min(r.First, last+1))
		next = max(next, r.Last+1)
	}
	take(last + 1)
	if p.nPorts == 0 {
		return fmt.Errorf("source ports %d to %d are all in net.ipv4.ip_local_reserved_ports", first, last)
	}
	return nil
}

// Len is the number of tuples: connections that can exist at a time.
func (p *Plan) Len() uint64 { return uint64(len(p.targets)) * p.nAddresses * p.nPorts }

// Prefixes are the sources as given, an address as the prefix of one.
func (p *Plan) Prefixes() []netip.Prefix { return p.prefixes }

// Addresses is the number of source addresses.
func (p *Plan) Addresses() uint64 { return p.nAddresses }

// Targets are the addresses connected to, in the order given.
func (p *Plan) Targets() []netip.AddrPort { return p.targets }

// Ends are the first and the last address of each run of source addresses: what
// there is to check about them.
func (p *Plan) Ends() []netip.Addr {
	var ends []netip.Addr
	for _, b := range p.addresses {
		ends = append(ends, b.first)
		if b.count > 1 {
			ends = append(ends, add(b.first, b.count-1))
		}
	}
	return ends
}

// Share is the part of a plan that one of several workers uses. Shares of
// different workers have no tuple in common.
type Share struct {
	plan *Plan
	// addresses are those that the share uses; own says that no other one does.
	addresses       []block[netip.Addr]
	nAddresses      uint64
	own             bool
	worker, workers uint64
	// period is the number of tuples after which worker and target would meet
	// again in the same way.
	period uint64
}

// Share returns the share of a worker, 0 to workers - 1: every workers-th tuple.
// The lengths of shares differ by one at most.
func (p *Plan) Share(worker, workers int) Share {
	n, w := uint64(len(p.targets)), uint64(workers)
	return Share{
		plan:      p,
		addresses: p.addresses, nAddresses: p.nAddresses,
		worker: uint64(worker), workers: w,
		period: n / gcd(n, w) * w,
	}
}

// Slice returns the share of a worker, 0 to workers - 1, that has source
// addresses of its own: all tuples with these. The numbers of addresses differ by
// one at most.
func (p *Plan) Slice(worker, workers int) Share {
	s := p.Share(worker, workers)
	s.own = true
	first := p.nAddresses * s.worker / s.workers
	end := p.nAddresses * (s.worker + 1) / s.workers
	s.addresses, s.nAddresses = nil, end-first
	for _, b := range p.addresses {
		from, to := max(b.before, first), min(b.before+b.count, end)
		if from < to {
			s.addresses = append(s.addresses, block[netip.Addr]{first: add(b.first, from-b.before), before: from - first, count: to - from})
		}
	}
	return s
}

// Len is the number of tuples in the share.
func (s Share) Len() uint64 {
	if s.own {
		return uint64(len(s.plan.targets)) * s.nAddresses * s.plan.nPorts
	}
	n := s.plan.Len()
	if s.worker >= n {
		return 0
	}
	return (n-s.worker-1)/s.workers + 1
}

// Number returns the number, among those of all workers, of the j-th tuple of
// the share.
func (s Share) Number(j uint64) uint64 { return s.worker + j*s.workers }

// Tuple returns the j-th tuple of the share, j below Len.
//
// Tuple g of the plan goes to target g mod T: any T in a row take each target
// once. Where T and the number of workers have a common divisor, one worker would
// so meet some targets only; therefore the row is turned by one in every period.
//
// The row, address and port together, is that of g for all workers; a share with
// addresses of its own counts rows by itself, T tuples of it each.
func (s Share) Tuple(j uint64) Tuple {
	p := s.plan
	g := s.Number(j)
	n := uint64(len(p.targets))
	row := g / n
	if s.own {
		row = j / n
	}
	target := int((g + g/s.period) % n)
	address := locate(s.addresses, row%s.nAddresses)
	port := locate(p.ports, row/s.nAddresses)
	from := netip.AddrPortFrom(
		add(s.addresses[address.block].first, address.offset),
		p.ports[port.block].first+uint16(port.offset))
	return Tuple{From: from, To: p.targets[target], Target: target}
}

type place struct {
	block  int
	offset uint64
}

// locate finds the k-th address or port. Most plans have one block of each.
func locate[T any](blocks []block[T], k uint64) place {
	i := 0
	if len(blocks) > 1 {
		i = sort.Search(len(blocks), func(i int) bool { return blocks[i].before > k }) - 1
	}
	return place{i, k - blocks[i].before}
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

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// PortRange is a range of ports, both ends included.
type PortRange struct{ First, Last int }

// LocalPorts reads the kernel's range of source ports and those reserved in it:
// net.ipv4.ip_local_port_range and ip_local_reserved_ports, which hold for IPv6
// too (ip-sysctl.rst).
func LocalPorts() (local PortRange, reserved []PortRange, err error) {
	const folder = "/proc/sys/net/ipv4/"
	text, err := os.ReadFile(folder + "ip_local_port_range")
	if err != nil {
		return local, nil, err
	}
	if _, err := fmt.Sscan(string(text), &local.First, &local.Last); err != nil {
		return local, nil, fmt.Errorf("%sip_local_port_range: %q is not two ports", folder, text)
	}
	text, err = os.ReadFile(folder + "ip_local_reserved_ports")
	if err != nil {
		return local, nil, err
	}
	reserved, err = parsePorts(strings.TrimSpace(string(text)))
	if err != nil {
		return local, nil, fmt.Errorf("%sip_local_reserved_ports: %w", folder, err)
	}
	return local, reserved, nil
}

// parsePorts reads a list such as 8080,9148-9150.
func parsePorts(list string) ([]PortRange, error) {
	if list == "" {
		return nil, nil
	}
	var ranges []PortRange
	for item := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(item, "-")
		if !isRange {
			last = first
		}
		a, errA := strconv.ParseUint(first, 10, 16)
		b, errB := strconv.ParseUint(last, 10, 16)
		if errA != nil || errB != nil {
			return nil, fmt.Errorf("%q is not a port or a range of ports", item)
		}
		ranges = append(ranges, PortRange{int(a), int(b)})
	}
	return ranges, nil
}
