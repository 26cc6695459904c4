package suite

import (
	"fmt"
	"slices"

	"connbench/clients/addresses"
	"connbench/harness/explain"
	"connbench/harness/lab"
	"connbench/harness/plan"
)

// Confine reduces a lab to what the plan asks for: addresses on both sides, and CPUs of
// the server. It returns an error if the plan asks for more than there is.
func Confine(p plan.Plan, l *lab.Lab) error {
	server := &l.Server
	usable := slices.Concat(server.Addresses, server.Spare)
	switch {
	case p.Server.Addresses > len(usable):
		return explain.Usagef("server.addresses is %d, and the server host of lab %s has %d", p.Server.Addresses, l.Name, len(usable))
	case p.Server.CPUs > len(server.CPUs):
		return explain.Usagef("server.cpus is %d, and the servers have %d in lab %s", p.Server.CPUs, len(server.CPUs), l.Name)
	}
	if p.Server.Addresses > 0 {
		server.Addresses = usable[:p.Server.Addresses]
	}
	if p.Server.CPUs > 0 {
		server.CPUs = server.CPUs[:p.Server.CPUs]
	}
	for i := range l.Clients {
		client := &l.Clients[i]
		sources, err := firstAddresses(client.Sources, p.Client.Sources)
		if err != nil {
			return explain.Usagef("client host %s of lab %s: client.sources is %d: %w", client.Facts.Name, l.Name, p.Client.Sources, err)
		}
		client.Sources = sources
	}
	return nil
}

// firstAddresses returns the first n of a list of addresses and prefixes; 0 is all.
func firstAddresses(list []string, n int) ([]string, error) {
	if n == 0 {
		return list, nil
	}
	var first []string
	for _, text := range list {
		set, err := addresses.Parse(text)
		if err != nil {
			return nil, err
		}
		for i := range min(set.Len(), uint64(n-len(first))) {
			first = append(first, set.At(i).String())
		}
	}
	if len(first) < n {
		return nil, fmt.Errorf("it has %d", len(first))
	}
	return first, nil
}
