package addresses

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// PortRange is a range of ports, both ends included.
type PortRange struct{ First, Last int }

// Ports are the source ports of an address: a range without the reserved ports.
type Ports struct {
	blocks []block[uint16]
	n      uint64
}

// NewPorts returns the ports of a range without the reserved ones, which may overlap
// and lie anywhere. It returns an error if the range is not within 1 to 65535.
func NewPorts(r PortRange, reserved []PortRange) (Ports, error) {
	if r.First < 1 || r.Last > 65535 || r.First > r.Last {
		return Ports{}, fmt.Errorf("source ports %d to %d: not a range within 1 to 65535", r.First, r.Last)
	}
	reserved = slices.Clone(reserved)
	slices.SortFunc(reserved, func(a, b PortRange) int { return cmp.Compare(a.First, b.First) })
	var p Ports
	next := r.First
	for _, hole := range reserved {
		if hole.First > hole.Last {
			continue
		}
		p.add(next, min(hole.First, r.Last+1))
		next = max(next, hole.Last+1)
	}
	p.add(next, r.Last+1)
	return p, nil
}

// KernelPorts returns the ports that a kernel gives a socket without one, by the text
// of two settings: net.ipv4.ip_local_port_range and ip_local_reserved_ports, which
// hold for IPv6 too (ip-sysctl.rst).
func KernelPorts(localRange, reserved string) (Ports, error) {
	r, err := ParsePortRange(localRange)
	if err != nil {
		return Ports{}, err
	}
	holes, err := ParseReserved(reserved)
	if err != nil {
		return Ports{}, err
	}
	return NewPorts(r, holes)
}

// add appends the ports from first to the one before end.
func (p *Ports) add(first, end int) {
	if first < end {
		count := uint64(end - first)
		p.blocks = append(p.blocks, block[uint16]{first: uint16(first), before: p.n, count: count})
		p.n += count
	}
}

// Len returns the number of ports.
func (p Ports) Len() uint64 { return p.n }

// At returns port n, n below Len.
func (p Ports) At(n uint64) uint16 {
	b, offset := locate(p.blocks, n)
	return b.first + uint16(offset)
}

// Index returns the n for which At returns the port; ok is false if the port is not
// among them.
func (p Ports) Index(port uint16) (n uint64, ok bool) {
	for _, b := range p.blocks {
		if offset := uint64(port) - uint64(b.first); port >= b.first && offset < b.count {
			return b.before + offset, true
		}
	}
	return 0, false
}

// ParsePortRange reads two ports as net.ipv4.ip_local_port_range has them.
func ParsePortRange(text string) (PortRange, error) {
	if fields := strings.Fields(text); len(fields) == 2 {
		first, errFirst := parsePort(fields[0])
		last, errLast := parsePort(fields[1])
		if errFirst == nil && errLast == nil {
			return PortRange{first, last}, nil
		}
	}
	return PortRange{}, fmt.Errorf("net.ipv4.ip_local_port_range: %q is not two ports", text)
}

// ParseReserved reads a list of ports and ranges of them, such as 8080,9148-9150, as
// net.ipv4.ip_local_reserved_ports has it.
func ParseReserved(text string) ([]PortRange, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	var ranges []PortRange
	for item := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(item, "-")
		if !isRange {
			last = first
		}
		a, errA := parsePort(first)
		b, errB := parsePort(last)
		if errA != nil || errB != nil || a > b {
			return nil, fmt.Errorf("net.ipv4.ip_local_reserved_ports: %q is not a port or a range of ports", item)
		}
		ranges = append(ranges, PortRange{a, b})
	}
	return ranges, nil
}

func parsePort(text string) (int, error) {
	port, err := strconv.ParseUint(text, 10, 16)
	return int(port), err
}
