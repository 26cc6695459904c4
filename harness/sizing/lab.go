package sizing

import (
	"fmt"
	"math"

	"connbench/clients/addresses"
	"connbench/harness/figure"
	"connbench/harness/lab/paper"
	"connbench/harness/record"
	"connbench/harness/stats"
	"connbench/harness/table"
)

// Hosts is what the connections of an estimate need of a lab's hosts, by medians. What the
// run did not measure is nil.
type Hosts struct {
	// ClientBytes is what the connections of one client host take of its memory, in the
	// swarm and in the kernel.
	ClientBytes *float64 `json:"client_bytes"`
	// ClientCores is the CPU of one client host's swarm at the rate asked for.
	ClientCores *float64 `json:"client_cores"`
	// ConnectSeconds is how long it takes to connect them all.
	ConnectSeconds *float64 `json:"connect_seconds"`

	clientBytesEach float64 // per connection, 0 where it is not known
}

// ClientBytes is what a connection of a trial took on the side of the clients: of the
// swarm's memory, and of the kernel's as much as the server's end. It is nil where the swarm
// had no kernel sockets, or the kernel's memory was not measured.
func ClientBytes(t *record.Trial, kernelShare float64) *float64 {
	kernel := t.PerConnection.KernelBytes
	if kernel == nil || t.Engine == record.EnginePacket || t.Connections.Reached == 0 {
		return nil
	}
	return new(kernelShare**kernel + float64(t.Client.RSSBytes)/float64(t.Connections.Reached))
}

// median is the median over the valid trials of a variant, nil where no trial has a value.
func median(v figure.Variant, of func(*record.Trial) *float64) *float64 {
	var values []float64
	for _, t := range v.Valid {
		if x := of(t); x != nil {
			values = append(values, *x)
		}
	}
	return stats.Median(values)
}

// hosts says what the connections of an estimate need of a lab's hosts.
func hosts(v figure.Variant, e Estimate, need Need, kernelShare float64) *Hosts {
	h, clients := &Hosts{}, float64(need.Lab.Clients)
	each := median(v, func(t *record.Trial) *float64 { return ClientBytes(t, kernelShare) })
	if each != nil {
		h.clientBytesEach = *each
	}
	if prices := clientPrices(v); need.MessagesPerSecond > 0 && len(prices) > 0 {
		h.ClientCores = new(priceAt(prices, need.MessagesPerSecond).Median * need.MessagesPerSecond / 1e6 / clients)
	}
	if e.Connections == nil {
		return h
	}
	if each != nil {
		h.ClientBytes = new(e.Connections.Median * *each / clients)
	}
	if rate := v.Summary(figure.Must("ramp.connects_per_second")); rate.N() > 0 && rate.Median > 0 {
		h.ConnectSeconds = new(e.Connections.Median / rate.Median)
	}
	return h
}

// clientPrices are as [pricesOf], of the swarm's CPU time.
func clientPrices(v figure.Variant) []price {
	return prices(v, func(f figure.Figure) *Interval {
		us := median(v, func(t *record.Trial) *float64 {
			for _, phase := range t.Phases {
				if phase.Name == f.Phase && phase.ClientCPUSeconds != nil && phase.Events > 0 && t.Engine != record.EnginePacket {
					return new(*phase.ClientCPUSeconds / float64(phase.Events) * 1e6)
				}
			}
			return nil
		})
		if us == nil {
			return nil
		}
		return &Interval{*us, *us, *us}
	})
}

// firstLimit is what of a lab's memory an estimate fills first, and with how many
// connections; "" where the lab's file does not say how much it has.
func (e Estimate) firstLimit(lab *paper.Lab) string {
	most, name := math.Inf(1), ""
	if has := float64(lab.Server.MemoryBytes); has > 0 && e.BytesPerConnection != nil && e.BytesPerConnection.Median > 0 {
		most, name = has/e.BytesPerConnection.Median, "memory of the server"
	}
	if has := float64(lab.Client.MemoryBytes) * float64(lab.Clients); has > 0 && e.Hosts.clientBytesEach > 0 && has/e.Hosts.clientBytesEach < most {
		most, name = has/e.Hosts.clientBytesEach, "memory of the clients"
	}
	if name == "" {
		return ""
	}
	return fmt.Sprintf("%s: %s", table.Number(most), name)
}

// fits tells whether an estimate fits into the memory of a lab's clients.
func (h *Hosts) fits(lab *paper.Lab) bool {
	return lab.Client.MemoryBytes == 0 || h.ClientBytes != nil && *h.ClientBytes <= float64(lab.Client.MemoryBytes)
}

// labPorts is the number of source ports of each address of a lab's clients, 0 where its file
// does not say.
func labPorts(lab *paper.Lab) int {
	if lab == nil || lab.PortRange == "" {
		return 0
	}
	usable, err := addresses.KernelPorts(lab.PortRange, "")
	if err != nil {
		return 0
	}
	return int(usable.Len())
}

// Describe says what a lab has, on paper.
func Describe(lab *paper.Lab) string {
	having := func(r paper.Resources, each string) string {
		var list []string
		if r.MemoryBytes > 0 {
			list = append(list, table.Memory(r.MemoryBytes))
		}
		if r.Cores > 0 {
			noun := " cores"
			if r.Cores == 1 {
				noun = " core"
			}
			list = append(list, fmt.Sprintf("%g%s", r.Cores, noun))
		}
		if len(list) == 0 {
			return ""
		}
		return " with " + table.List(list) + each
	}
	return fmt.Sprintf("lab %s (%s): a server%s, %s%s", lab.Name, lab.Kind, having(lab.Server, ""),
		table.Plural(lab.Clients, "client"), having(lab.Client, " each"))
}

// labSupplies say what a lab's clients need besides memory and CPU for so many connections,
// and so many pairs of a client's address with an address and port of the server.
func labSupplies(lab *paper.Lab, connections, pairs int) (lines []string) {
	each := (connections + lab.Clients - 1) / lab.Clients
	lines = append(lines, fmt.Sprintf("Each client has %s, and needs as many descriptors, in as many swarm processes as its limit demands.", table.Plural(each, "connection")))
	has := lab.Sources * lab.Targets
	if pairs == 0 || has == 0 {
		return lines
	}
	text := fmt.Sprintf("The lab has %s of these, with one port of the server", table.Plural(has, "pair"))
	if ports := (pairs + has - 1) / has; ports > 1 {
		text += fmt.Sprintf(": set ports = %d in [server] of the plan, or give the clients %s addresses in all", ports, table.Count((pairs+lab.Targets-1)/lab.Targets))
	}
	return append(lines, text+".")
}
