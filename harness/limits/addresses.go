package limits

import (
	"fmt"
	"strings"

	"connbench/clients/addresses"
)

// tuples is the number of four-tuples between the addresses of a client, each with so
// many ports, and those of a server process, and how that was found.
func (c *calculation) tuples(ports int64, sources []string) (n int64, how string, err error) {
	from, err := addresses.Parse(sources...)
	if err != nil {
		return 0, "", fmt.Errorf("source addresses: %w", err)
	}
	to, err := addresses.Parse(c.Addresses...)
	if err != nil {
		return 0, "", fmt.Errorf("server addresses: %w", err)
	}
	listeners := int64(max(1, c.PortsPerProcess))
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

// sourcePorts are the ports that the swarm may use of each address, what sets them
// and to what; nil where that is not known.
func (c Client) sourcePorts() (ports *int64, where, shown string, err error) {
	const (
		sysctl   = "net.ipv4.ip_local_port_range"
		reserved = "net.ipv4.ip_local_reserved_ports"
	)
	within, where := addresses.PortRange{First: c.FirstPort, Last: c.LastPort}, "the swarm's first and last port"
	if within == (addresses.PortRange{}) {
		where = sysctl
		text, known := c.Host.Sysctls[sysctl]
		if !known {
			return nil, where, "", nil
		}
		if within, err = addresses.ParsePortRange(text); err != nil {
			return nil, where, text, err
		}
	}
	shown = fmt.Sprintf("%d to %d", within.First, within.Last)
	holes, err := addresses.ParseReserved(c.Host.Sysctls[reserved])
	if err != nil {
		return nil, where, shown, err
	}
	usable, err := addresses.NewPorts(within, holes)
	if err != nil {
		return nil, where, shown, err
	}
	total := int64(usable.Len())
	if missing := int64(within.Last-within.First+1) - total; missing > 0 {
		shown += fmt.Sprintf(" but %d reserved", missing)
	}
	return &total, where, shown, nil
}
