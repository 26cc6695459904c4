package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"connbench/clients/addresses"
	"connbench/clients/control"
	"connbench/harness/agent"
	"connbench/harness/explain"
	"connbench/harness/record"
)

// foreign says of each host that is at work, by its number, which addresses of the lab
// would have packets go to, or seem to come from, anybody else than the lab's hosts. No
// packet may be sent before.
func (l *Lab) foreign(ctx context.Context, engine string) []error {
	specs := l.site.Hosts()
	problems := make([]error, len(specs))
	together(len(specs), func(i int) {
		host, s := l.hosts[i], specs[i]
		if host == nil {
			return
		}
		var own []string
		if s.Is(record.RoleServer) {
			own = slices.Concat(s.Addresses, s.Spare)
		}
		if s.Is(record.RoleClient) && engine != control.EnginePacket {
			own = append(own, s.Sources...)
		}
		problems[i] = host.owns(ctx, own)
		if !s.Is(record.RoleClient) {
			return
		}
		for server, to := range specs {
			if !to.Is(record.RoleServer) || server == i || l.hosts[server] == nil {
				continue
			}
			if problems[i] == nil {
				problems[i] = host.leadsTo(ctx, l.hosts[server], to.Addresses)
			}
			if problems[i] == nil && engine == control.EnginePacket {
				problems[i] = host.isRouted(ctx, l.hosts[server], s.Sources)
			}
		}
	})
	return problems
}

// owns is an error unless all addresses are the host's own.
func (h *Host) owns(ctx context.Context, list []string) error {
	missing, err := h.Agent.Foreign(ctx, list)
	if err != nil || len(missing) == 0 {
		return err
	}
	return explain.Hint(fmt.Errorf("host %s: not an address of this host: %s", h.Facts.Name, strings.Join(missing, ", ")),
		"give it to an interface there, or make it local (ip route add local ADDRESS dev lo); or correct the lab")
}

// leadsTo is an error if the host would connect to itself instead of to the server.
func (h *Host) leadsTo(ctx context.Context, server *Host, targets []string) error {
	if h.network == server.network {
		return nil
	}
	missing, err := h.Agent.Foreign(ctx, targets)
	if err != nil {
		return err
	}
	for _, target := range targets {
		if !slices.Contains(missing, target) {
			return explain.Hint(fmt.Errorf("host %s: the server listens on %s, which is also an address of this host", h.Facts.Name, target),
				"name an address of the server that leads to it from there")
		}
	}
	return nil
}

// isRouted is an error if answers to a prefix might leave the lab: unless the server
// sends them to the host, the prefix must be of those that lead nowhere else.
func (h *Host) isRouted(ctx context.Context, server *Host, prefixes []string) error {
	for _, text := range prefixes {
		prefix, err := addresses.ParsePrefix(text)
		if err != nil {
			return err
		}
		if addresses.SetAside(prefix) {
			continue
		}
		there, err := h.isNextTo(ctx, server, prefix.Addr().String())
		if err != nil {
			return err
		}
		if there {
			continue
		}
		return explain.Hint(fmt.Errorf("host %s: the server has no route for %s to this host", h.Facts.Name, text),
			"route it to an address of the host on the server (ip route add %s via ADDRESS), or take a prefix of 198.18.0.0/15 or another that is set aside", text)
	}
	return nil
}

// isNextTo says whether the server sends packets for an address to the host.
func (h *Host) isNextTo(ctx context.Context, server *Host, address string) (bool, error) {
	next, err := server.Agent.Gateway(ctx, address)
	if errors.Is(err, agent.ErrHostLost) {
		return false, err
	}
	if err != nil || next == "" {
		return false, nil // there is no route, or none by way of another host
	}
	missing, err := h.Agent.Foreign(ctx, []string{next})
	return len(missing) == 0, err
}
