package limits

import (
	"fmt"
	"strings"

	"connbench/clients/addresses"
)

// Settings of source ports.
const (
	portRange     = "net.ipv4.ip_local_port_range"
	reservedPorts = "net.ipv4.ip_local_reserved_ports"
)

// portsKnown is nil where nothing says which ports a client may use.
func (c Client) portsKnown() *int64 {
	if c.FirstPort == 0 && c.LastPort == 0 && c.Sysctls[portRange] == "" {
		return nil
	}
	return new(int64(0))
}

// sourcePorts finds what the ports of a client's addresses allow.
func sourcePorts(s *Setup, at Scope, _ int64, l *Limit) {
	l.Value = ""
	ports, where, shown, err := at.client.sourcePorts()
	if l.Where, l.Value = where, shown; err != nil {
		l.How = err.Error()
		return
	}
	each, how, err := s.tuples(ports, at.client.Sources)
	if err != nil {
		l.How = err.Error()
		return
	}
	if at.shares > 1 {
		how = fmt.Sprintf("(%s) × %d client hosts", how, at.shares)
		each = times(each, at.shares)
		at.shares = 1
	}
	l.AllowEach(at, each, how)
}

// sourcePorts are the ports that the swarm may use of each address, what sets them
// and to what.
func (c Client) sourcePorts() (ports int64, where, shown string, err error) {
	within, where := addresses.PortRange{First: c.FirstPort, Last: c.LastPort}, "the swarm's first and last port"
	if within == (addresses.PortRange{}) {
		where = portRange
		if within, err = addresses.ParsePortRange(c.Sysctls[portRange]); err != nil {
			return 0, where, c.Sysctls[portRange], err
		}
	}
	shown = fmt.Sprintf("%d to %d", within.First, within.Last)
	holes, err := addresses.ParseReserved(c.Sysctls[reservedPorts])
	if err != nil {
		return 0, where, shown, err
	}
	usable, err := addresses.NewPorts(within, holes)
	if err != nil {
		return 0, where, shown, err
	}
	ports = int64(usable.Len())
	if missing := int64(within.Last-within.First+1) - ports; missing > 0 {
		shown += fmt.Sprintf(" but %d reserved", missing)
	}
	return ports, where, shown, nil
}

// tuples is the number of four-tuples between the addresses of a client, each with so
// many ports, and those of a server process, and how that was found.
func (s *Setup) tuples(ports int64, sources []string) (n int64, how string, err error) {
	from, err := addresses.Parse(sources...)
	if err != nil {
		return 0, "", fmt.Errorf("source addresses: %w", err)
	}
	to, err := addresses.Parse(s.Addresses...)
	if err != nil {
		return 0, "", fmt.Errorf("server addresses: %w", err)
	}
	listeners := int64(max(1, s.PortsPerProcess))
	var terms []string
	for _, family := range []struct {
		name     string
		from, to addresses.Set
	}{{"IPv4", from.IPv4(), to.IPv4()}, {"IPv6", from.IPv6(), to.IPv6()}} {
		sources, targets := int64(family.from.Len()), int64(family.to.Len())
		if targets == 0 {
			continue
		}
		n = min(farBeyond, n+min(farBeyond, times(times(ports, sources), times(targets, listeners))))
		terms = append(terms, fmt.Sprintf("ports %d × source addresses %d × server addresses %d × server ports %d (%s)",
			ports, sources, targets, listeners, family.name))
	}
	return n, strings.Join(terms, " + "), nil
}
