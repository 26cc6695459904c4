package addresses

import (
	"fmt"
	"net/netip"
	"slices"
)

// Tuples are the four-tuples that connections can have: every source address and
// port with every target. Their order spreads any first n of them evenly over the
// targets, and then over the source addresses. Tuple g is computed from g alone.
type Tuples struct {
	targets []netip.AddrPort
	sources Set
	ports   Ports
}

// Tuple is a connection's four-tuple.
type Tuple struct {
	From, To netip.AddrPort
	// Target is the index of To among the targets.
	Target int
}

// NewTuples returns the four-tuples from sources and the ports of a range, but the
// reserved ones, to targets: addresses and prefixes as in [Parse], and addresses with
// ports. They are counted up to [Most]. The error names the argument that is wrong.
func NewTuples(sources, targets []string, r PortRange, reserved []PortRange) (*Tuples, error) {
	t := &Tuples{}
	var err error
	if t.targets, err = parseTargets(targets); err != nil {
		return nil, err
	}
	if t.sources, err = Parse(sources...); err != nil {
		return nil, fmt.Errorf("sources: %w", err)
	}
	if t.sources.Len() == 0 {
		return nil, fmt.Errorf("sources: none given; at least one address or prefix is needed")
	}
	for _, a := range t.sources.Ends() {
		if a.Is4() != t.targets[0].Addr().Is4() {
			return nil, fmt.Errorf("source %s and target %s are of different address families", a, t.targets[0])
		}
	}
	if t.ports, err = NewPorts(r, reserved); err != nil {
		return nil, err
	}
	if t.ports.Len() == 0 {
		return nil, fmt.Errorf("source ports %d to %d are all in net.ipv4.ip_local_reserved_ports", r.First, r.Last)
	}
	t.sources = t.sources.first(Most / (uint64(len(t.targets)) * t.ports.Len()))
	return t, nil
}

// parseTargets reads addresses with ports, all of one family and no two alike.
func parseTargets(list []string) ([]netip.AddrPort, error) {
	if len(list) == 0 {
		return nil, fmt.Errorf("targets: none given; at least one host:port is needed")
	}
	var targets []netip.AddrPort
	for _, text := range list {
		target, err := netip.ParseAddrPort(text)
		if err != nil || target.Port() == 0 {
			return nil, fmt.Errorf("target %q is not ADDRESS:PORT with a numeric address", text)
		}
		if err := checkZone(text, target.Addr()); err != nil {
			return nil, fmt.Errorf("target %w", err)
		}
		target = netip.AddrPortFrom(target.Addr().Unmap(), target.Port())
		if slices.Contains(targets, target) {
			return nil, fmt.Errorf("target %s is given twice", target)
		}
		if len(targets) > 0 && target.Addr().Is4() != targets[0].Addr().Is4() {
			return nil, fmt.Errorf("target %s and target %s are of different address families; run one swarm for each", targets[0], target)
		}
		targets = append(targets, target)
	}
	return targets, nil
}

// Len returns the number of tuples: connections that can exist at a time.
func (t *Tuples) Len() uint64 { return uint64(len(t.targets)) * t.sources.Len() * t.ports.Len() }

// Sources returns the source addresses.
func (t *Tuples) Sources() Set { return t.sources }

// Targets returns the addresses connected to, in the order given.
func (t *Tuples) Targets() []netip.AddrPort { return t.targets }

// Share is the part of all tuples that one of several workers uses. Shares of
// different workers have no tuple in common.
type Share struct {
	tuples *Tuples
	// sources are the addresses that the share uses; own says that no other one does.
	sources         Set
	own             bool
	worker, workers uint64
	// period is the number of tuples after which worker and target would meet
	// again in the same way.
	period uint64
}

// Share returns the share of a worker, 0 to workers - 1: every workers-th tuple.
// The lengths of shares differ by one at most.
func (t *Tuples) Share(worker, workers int) Share {
	n, w := uint64(len(t.targets)), uint64(workers)
	return Share{
		tuples:  t,
		sources: t.sources,
		worker:  uint64(worker), workers: w,
		period: n / gcd(n, w) * w,
	}
}

// Slice returns the share of a worker, 0 to workers - 1, that has source addresses
// of its own: all tuples with these. The numbers of addresses differ by one at most.
func (t *Tuples) Slice(worker, workers int) Share {
	s := t.Share(worker, workers)
	s.own = true
	each, more := t.sources.Len()/s.workers, t.sources.Len()%s.workers
	first := s.worker*each + min(s.worker, more)
	if s.worker < more {
		each++
	}
	s.sources = t.sources.Slice(first, first+each)
	return s
}

// Len returns the number of tuples in the share.
func (s Share) Len() uint64 {
	if s.own {
		return uint64(len(s.tuples.targets)) * s.sources.Len() * s.tuples.ports.Len()
	}
	n := s.tuples.Len()
	if s.worker >= n {
		return 0
	}
	return (n-s.worker-1)/s.workers + 1
}

// Sources returns the addresses that the share uses.
func (s Share) Sources() Set { return s.sources }

// IPv4 says whether the addresses are of that family.
func (s Share) IPv4() bool { return s.tuples.targets[0].Addr().Is4() }

// Number returns the number, among those of all workers, of the j-th tuple of
// the share.
func (s Share) Number(j uint64) uint64 { return s.worker + j*s.workers }

// Tuple returns the j-th tuple of the share, j below Len.
//
// Tuple g of all goes to target g mod T: any T in a row take each target once.
// Where T and the number of workers have a common divisor, one worker would so
// meet some targets only; therefore the row is turned by one in every period.
//
// The row, address and port together, is that of g for all workers; a share with
// addresses of its own counts rows by itself, T tuples of it each.
func (s Share) Tuple(j uint64) Tuple {
	t := s.tuples
	g := s.Number(j)
	n := uint64(len(t.targets))
	row := g / n
	if s.own {
		row = j / n
	}
	target := int((g + g/s.period) % n)
	from := netip.AddrPortFrom(s.sources.At(row%s.sources.Len()), t.ports.At(row/s.sources.Len()))
	return Tuple{From: from, To: t.targets[target], Target: target}
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
