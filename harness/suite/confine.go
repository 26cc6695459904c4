package suite

import (
	"fmt"
	"net/netip"
	"slices"

	"connbench/harness/lab"
	"connbench/harness/plan"
)

// Confine leaves a lab what the plan takes of it: addresses on both sides, and the
// server's CPUs. It is an error to ask for more than there is.
func Confine(p plan.Plan, l *lab.Lab) error {
	server := &l.Server
	addresses := slices.Concat(server.Addresses, server.Spare)
	switch {
	case p.Server.Addresses > len(addresses):
		return fmt.Errorf("server.addresses is %d, and the server host of lab %s has %d", p.Server.Addresses, l.Name, len(addresses))
	case p.Server.CPUs > len(server.CPUs):
		return fmt.Errorf("server.cpus is %d, and the servers have %d in lab %s", p.Server.CPUs, len(server.CPUs), l.Name)
	}
	if p.Server.Addresses > 0 {
		server.Addresses = addresses[:p.Server.Addresses]
	}
	if p.Server.CPUs > 0 {
		server.CPUs = server.CPUs[:p.Server.CPUs]
	}
	for i := range l.Clients {
		client := &l.Clients[i]
		sources, err := firstAddresses(client.Sources, p.Client.Sources)
		if err != nil {
			return fmt.Errorf("client host %s of lab %s: client.sources is %d: %w", client.Facts.Name, l.Name, p.Client.Sources, err)
		}
		client.Sources = sources
	}
	return nil
}

// firstAddresses are the first n of a list of addresses and prefixes; 0: all. The
// first address of a prefix is its network's.
func firstAddresses(list []string, n int) ([]string, error) {
	if n == 0 {
		return list, nil
	}
	var first []string
	for _, text := range list {
		if len(first) == n {
			break
		}
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			first = append(first, text) // a single address
			continue
		}
		last := prefix.Addr().BitLen() - prefix.Bits()
		for address := prefix.Masked().Addr().Next(); len(first) < n && prefix.Contains(address); address = address.Next() {
			if next := address.Next(); last > 1 && !prefix.Contains(next) {
				break // the broadcast address
			}
			first = append(first, address.String())
		}
	}
	if len(first) < n {
		return nil, fmt.Errorf("it has %d", len(first))
	}
	return first, nil
}
