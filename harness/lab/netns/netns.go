// Package netns is the lab of network namespaces: this machine as several hosts.
package netns

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"connbench/clients/addresses"
	"connbench/clients/control"
	"connbench/harness/explain"
	"connbench/harness/lab"
	"connbench/harness/lab/netns/namespaces"
	"connbench/harness/probe"
	"connbench/harness/record"
)

//go:embed README.md
var doc string

const name = "netns"

func init() {
	lab.Register(lab.Kind{
		Name: name, Form: name + "[-CLIENTS][-ipv6][-firewall][-delay5ms][-loss1pct][-rate100mbit]",
		About: "this machine as several hosts, each in a network namespace; takes root, or user namespaces",
		Doc:   doc, Open: open,
		Helper: func(in io.Reader, out io.Writer, args []string) error { return namespaces.Serve(in, out, args) },
	})
}

var form = regexp.MustCompile(`^` + name + `(?:-([0-9]+))?(-ipv6)?(-firewall)?` +
	`(?:-delay([0-9.]+)ms)?(?:-loss([0-9.]+)pct)?(?:-rate([0-9.]+)mbit)?$`)

// The most that a network is asked to do to packets: a connect that takes longer is
// given up, and no link is faster.
const (
	mostDelayMS  = 60_000
	mostRateMbit = 1_000_000
)

// parse reads the name of a lab of network namespaces: "netns" is one with
// one client host, "netns-3" has three; with "-ipv6" behind it, it speaks that;
// with "-firewall", a stateful one is in front of the server; with "-delay5ms",
// "-loss1pct" or "-rate100mbit", in this order, the network does that to packets in
// each direction.
//
// The packet engine needs no host of its own: in "netns" it makes its devices in
// the server's namespace, where its packets are spared two links, a bridge and
// forwarding: 21 µs of its CPU a connect rather than 36. "netns-1" has it forward,
// as a machine of its own would.
func parse(name, engine string) (namespaces.Network, error) {
	n := namespaces.Network{Clients: 1}
	if engine == control.EnginePacket {
		n.Clients, n.Routed = 0, true
	}
	parts := form.FindStringSubmatch(name)
	if parts == nil {
		return n, lab.Unknown(name)
	}
	n.IPv6, n.Firewall = parts[2] != "", parts[3] != ""
	if parts[1] != "" {
		clients, err := strconv.Atoi(parts[1])
		if err != nil || clients < 1 || clients > namespaces.MaxClients {
			return n, explain.Usagef("lab %q: it takes 1 to %d client hosts", name, namespaces.MaxClients)
		}
		n.Clients = clients
	}
	for i, into := range []*float64{&n.Path.DelayMS, &n.Path.LossPercent, &n.Path.RateMbit} {
		if text := parts[4+i]; text != "" {
			number, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return n, explain.Usagef("lab %q: %q is not a number", name, text)
			}
			*into = number
		}
	}
	switch {
	case n.Path.DelayMS > mostDelayMS:
		return n, explain.Usagef("lab %q: a delay is at most %d ms", name, mostDelayMS)
	case n.Path.LossPercent > 100:
		return n, explain.Usagef("lab %q: a loss is at most 100%%", name)
	case n.Path.RateMbit > mostRateMbit:
		return n, explain.Usagef("lab %q: a rate is at most %d Mbit/s", name, mostRateMbit)
	}
	if n.Clients == 0 && n.Path != (namespaces.Path{}) {
		return n, explain.Hint(explain.Usagef("lab %q: delay, loss and rate need a client host", name), "use netns-1-…")
	}
	return n, nil
}

// site is a network whose hosts have addresses, ports, settings and counters of their
// own.
type site struct {
	network namespaces.Network
	running *namespaces.Running
	// machine is this machine as it is outside of the namespaces.
	machine record.Host
}

func open(ctx context.Context, o lab.Options) (lab.Site, error) {
	network, err := parse(o.Name, o.Engine)
	if err != nil {
		return nil, err
	}
	reader, err := probe.Open()
	if err != nil {
		return nil, err
	}
	machine, _ := reader.Host("") // its warnings are those of each host
	network.Settings = settings(machine)
	program, err := o.Agent(ctx, runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	running, err := namespaces.Start(o.Helper(name, program), network)
	if err != nil {
		return nil, err
	}
	return &site{network, running, machine}, nil
}

// Hosts implements [lab.Site].
func (s *site) Hosts() []lab.Spec {
	serverCPUs, clientCPUs := lab.Halves(s.machine.UsableCPUs)
	var specs []lab.Spec
	for i, host := range s.network.Hosts() {
		if i == 0 {
			specs = append(specs, lab.Spec{
				Name: host.Name, Roles: []string{record.RoleServer}, CPUs: serverCPUs,
				Addresses: []string{host.Address.Addr().String()}, Spare: spare(host),
				Device: []string{s.network.Devices().Addr().Next().String()},
			})
			continue
		}
		specs = append(specs, lab.Spec{
			Name: host.Name, Roles: []string{record.RoleClient}, CPUs: share(clientCPUs, i-1, s.network.Clients),
			Sources: []string{host.More.String()},
		})
	}
	if server := &specs[0]; s.network.Clients == 0 {
		server.Roles = append(server.Roles, record.RoleClient)
		server.CPUs = nil // both roles share them
		server.Sources = []string{s.network.Sources(1).String()}
	}
	return specs
}

// Dial implements [lab.Site]. A namespace ends with its agent.
func (s *site) Dial(ctx context.Context, i int) (*lab.Host, error) {
	client := s.running.Agents[i]
	if lost := client.Lost(); lost != nil {
		return nil, fmt.Errorf("%w, and %w", lost, lab.ErrGone)
	}
	spec, planned := s.Hosts()[i], s.network.Hosts()[i]
	host, err := lab.Meet(ctx, client, spec)
	if err != nil {
		return nil, err
	}
	addSettings(host, s.machine)
	switch {
	case !spec.Is(record.RoleServer):
		host.Facts.Addresses = append([]string{planned.Address.Addr().String()}, spec.Sources...)
	case spec.Is(record.RoleClient):
		host.Facts.Addresses = slices.Concat(spec.Addresses, spec.Sources)
	default:
		host.Facts.Addresses = slices.Concat(spec.Addresses, spec.Spare)
	}
	return host, nil
}

// Close implements [lab.Site].
func (s *site) Close() { s.running.Close() }

// spareAddresses is how many addresses more a server can listen on.
const spareAddresses = 3

// spare are further addresses of the server.
func spare(server namespaces.Host) (list []string) {
	more, err := addresses.Parse(server.More.String())
	if err != nil {
		panic(err) // the plan of the network makes no sense
	}
	for n := range uint64(spareAddresses) {
		list = append(list, more.At(n).String())
	}
	return list
}

// settings are those of the machine that each host gets too, so that what is
// raised there is raised in the lab; but a client's ports are all its own.
func settings(machine record.Host) map[string]string {
	chosen := map[string]string{"net.ipv4.ip_local_port_range": "1024 65535"} // of both versions of IP
	for name, value := range machine.Sysctls {
		if name == "net.core.somaxconn" || strings.HasPrefix(name, "net.ipv4.tcp_") {
			chosen[name] = value
		}
	}
	return chosen
}

// addSettings adds to a host what does not show in its namespace: some settings of
// TCP are the whole kernel's.
func addSettings(h *lab.Host, machine record.Host) {
	for name, value := range machine.Sysctls {
		if _, known := h.Facts.Sysctls[name]; !known {
			h.Facts.Sysctls[name] = value
			h.Warnings = slices.DeleteFunc(h.Warnings, func(w string) bool { return strings.HasPrefix(w, name+": ") })
		}
	}
}

// share is host i's part of CPUs that n hosts use: CPUs of its own if there are
// enough, else one that it shares.
func share(cpus []int, i, n int) []int {
	if len(cpus) < n {
		return []int{cpus[i%len(cpus)]}
	}
	return cpus[len(cpus)*i/n : len(cpus)*(i+1)/n]
}
