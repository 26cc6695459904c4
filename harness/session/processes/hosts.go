package processes

import (
	"context"
	"slices"
	"strconv"

	"connbench/harness/agent"
	"connbench/harness/lab"
	"connbench/harness/probe"
	"connbench/harness/reading"
	"connbench/harness/session"
)

// Hosts reads the hosts of a lab, apart from servers and clients.
type Hosts struct{ Lab *lab.Lab }

// Lost returns an [agent.ErrHostLost] if a host has been lost.
func (h Hosts) Lost() error {
	for _, host := range h.Lab.Hosts() {
		if err := host.Agent.Lost(); err != nil {
			return err
		}
	}
	return nil
}

// TimeWait counts the sockets in TIME_WAIT on all hosts; nil if a host does not know.
func (h Hosts) TimeWait(ctx context.Context) (*int64, error) {
	hosts := h.Lab.Hosts()
	counts := make([]*int64, len(hosts))
	err := lab.Together(len(hosts), func(i int) error {
		m, err := hosts[i].Agent.Measure(ctx, nil, false)
		counts[i] = m.System.Sockets.TimeWait
		return err
	})
	if err != nil {
		return nil, err
	}
	sum := new(int64)
	for _, count := range counts {
		sum = session.Add(sum, count)
	}
	return sum, nil
}

// ServerHost reads the server's hosts in detail, even after the server has ended.
func (h Hosts) ServerHost(ctx context.Context) (reading.System, error) {
	hosts := h.Lab.Servers()
	m, err := together(placesOf(hosts), func(i int) (agent.Measurement, error) { return hosts[i].Agent.Measure(ctx, nil, true) })
	return m.System, err
}

// together reads the hosts of a server, all at once, and returns their measurements as one:
// its processes are those of all of them.
func together(places []reading.Place, read func(i int) (agent.Measurement, error)) (all agent.Measurement, err error) {
	if len(places) == 1 {
		return read(0)
	}
	measured := make([]agent.Measurement, len(places))
	err = lab.Together(len(places), func(i int) (err error) {
		measured[i], err = read(i)
		return err
	})
	if err != nil {
		return all, err
	}
	var systems []reading.System
	for _, m := range measured {
		all.Processes = append(all.Processes, m.Processes...)
		systems = append(systems, m.System)
	}
	all.System = reading.Together(systems, places)
	return all, nil
}

// placesOf returns the place of each host.
func placesOf(hosts []*lab.Host) (places []reading.Place) {
	for _, host := range hosts {
		places = append(places, host.Place())
	}
	return places
}

// Counters adds up the kernel counters of the client hosts other than the server's; nil if
// there are none, or one cannot be read.
func (h Hosts) Counters(ctx context.Context) map[string]int64 {
	servers := h.Lab.Servers()
	clients := slices.DeleteFunc(slices.Clone(h.Lab.Clients), func(c lab.Client) bool { return slices.Contains(servers, c.Host) })
	read := make([]map[string]int64, len(clients))
	err := lab.Together(len(clients), func(i int) error {
		m, err := clients[i].Agent.Measure(ctx, nil, true)
		read[i] = m.System.Counters
		return err
	})
	if err != nil || len(clients) == 0 {
		return nil
	}
	sum := map[string]int64{}
	for _, counters := range read {
		for name, value := range counters {
			sum[name] += value
		}
	}
	return sum
}

// DescriptorLimit returns the number of descriptors that a server process may have; 0 if
// there is no limit, or it is unknown. own is the plan's limit. Go programs raise their
// soft limit to the hard one.
func (h Hosts) DescriptorLimit(own int) int64 {
	limit, err := strconv.ParseInt(h.Lab.Server.Facts.Limits[probe.LimitNoFileHard], 10, 64)
	if err != nil {
		limit = 0 // "unlimited", or unknown
	}
	if own := int64(own); own > 0 && (limit == 0 || own < limit) {
		limit = own
	}
	return limit
}
