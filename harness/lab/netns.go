package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"connbench/clients/addresses"
	"connbench/clients/control"
	"connbench/harness/lab/namespaces"
	"connbench/harness/probe"
	"connbench/harness/record"
)

const netnsName = "netns"

var netnsForm = regexp.MustCompile(`^` + netnsName + `(?:-([0-9]+))?(-ipv6)?(-firewall)?` +
	`(?:-delay([0-9.]+)ms)?(?:-loss([0-9.]+)pct)?(?:-rate([0-9.]+)mbit)?$`)

// The most that a network is asked to do to packets: a connect that takes longer is
// given up, and no link is faster.
const (
	mostDelayMS  = 60_000
	mostRateMbit = 1_000_000
)

// parseNetns reads the name of a lab of network namespaces: "netns" is one with
// one client host, "netns-3" has three; with "-ipv6" behind it, it speaks that;
// with "-firewall", a stateful one stands before the server; with "-delay5ms",
// "-loss1pct" or "-rate100mbit", in this order, the network does that to packets in
// each direction.
//
// The packet engine needs no host of its own: in "netns" it makes its devices in
// the server's namespace, where its packets are spared two links, a bridge and
// forwarding: 21 µs of its CPU a connect rather than 36. "netns-1" has it forward,
// as a machine of its own would.
func parseNetns(name, engine string) (namespaces.Network, error) {
	n := namespaces.Network{Clients: 1}
	if engine == control.EnginePacket {
		n.Clients, n.Routed = 0, true
	}
	parts := netnsForm.FindStringSubmatch(name)
	if parts == nil {
		return n, unknown(name)
	}
	n.IPv6, n.Firewall = parts[2] != "", parts[3] != ""
	if parts[1] != "" {
		clients, err := strconv.Atoi(parts[1])
		if err != nil || clients < 1 || clients > namespaces.MaxClients {
			return n, fmt.Errorf("%w %q: it takes 1 to %d client hosts", ErrUnknown, name, namespaces.MaxClients)
		}
		n.Clients = clients
	}
	for i, into := range []*float64{&n.Path.DelayMS, &n.Path.LossPercent, &n.Path.RateMbit} {
		if text := parts[4+i]; text != "" {
			number, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return n, fmt.Errorf("%w %q: %q is not a number", ErrUnknown, name, text)
			}
			*into = number
		}
	}
	switch {
	case n.Path.DelayMS > mostDelayMS:
		return n, fmt.Errorf("%w %q: a delay is at most %d ms", ErrUnknown, name, mostDelayMS)
	case n.Path.LossPercent > 100:
		return n, fmt.Errorf("%w %q: no more than all packets can be lost", ErrUnknown, name)
	case n.Path.RateMbit > mostRateMbit:
		return n, fmt.Errorf("%w %q: a rate is at most %d Mbit/s", ErrUnknown, name, mostRateMbit)
	}
	if n.Clients == 0 && n.Path != (namespaces.Path{}) {
		return n, fmt.Errorf("%w %q: delay, loss and rate are the network's, which takes a client host: netns-1-…", ErrUnknown, name)
	}
	return n, nil
}

// netns is this machine as several hosts: the server and each client host are in a
// network namespace of their own, with addresses, ports, settings and counters
// of their own.
func netns(ctx context.Context, name, engine string, tools Tools) (*Lab, error) {
	network, err := parseNetns(name, engine)
	if err != nil {
		return nil, err
	}
	if engine == control.EnginePacket {
		if err := checkTUN(tunDevice); err != nil {
			return nil, err
		}
	}
	reader, err := probe.Open()
	if err != nil {
		return nil, err
	}
	machine, _ := reader.Host("") // its warnings are those of each host
	network.Settings = settings(machine)
	program, err := tools.Agent(ctx, runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	running, err := namespaces.Start([]string{tools.Program, "namespaces", program}, network)
	if err != nil {
		return nil, err
	}
	l := &Lab{Name: name, Shared: true, close: running.Close}
	serverCPUs, clientCPUs := split(machine.UsableCPUs)
	for i, plan := range network.Hosts() {
		role := record.RoleClient
		if i == 0 {
			role = record.RoleServer
		}
		host, err := meet(ctx, running.Agents[i], role)
		if err != nil {
			l.Close()
			return nil, err
		}
		host.addSettings(machine)
		l.hosts = append(l.hosts, host)
		if i == 0 {
			l.Server = Server{Host: host, CPUs: serverCPUs, Addresses: []string{plan.Address.Addr().String()}}
			more, err := addresses.Parse(plan.More.String())
			if err != nil {
				l.Close()
				return nil, err
			}
			for n := range uint64(spareAddresses) {
				l.Server.Spare = append(l.Server.Spare, more.At(n).String())
			}
			host.Facts.Addresses = slices.Concat(l.Server.Addresses, l.Server.Spare)
			continue
		}
		sources := plan.More.String()
		host.Facts.Addresses = []string{plan.Address.Addr().String(), sources}
		l.Clients = append(l.Clients, Client{Host: host, CPUs: share(clientCPUs, i-1, network.Clients), Sources: []string{sources}})
	}
	if network.Clients == 0 {
		host, sources := l.Server.Host, network.Sources(1).String()
		host.Facts.Roles = append(host.Facts.Roles, record.RoleClient)
		host.Facts.Addresses = append(slices.Clone(l.Server.Addresses), sources)
		l.Clients = []Client{{Host: host, CPUs: clientCPUs, Sources: []string{sources}}}
	}
	return l, nil
}

// tunDevice is what TUN devices are made with (the kernel's
// Documentation/networking/tuntap.rst).
const tunDevice = "/dev/net/tun"

// checkTUN says what is missing for the packet engine, if anything is.
func checkTUN(device string) error {
	file, err := os.OpenFile(device, os.O_RDWR, 0)
	if err == nil {
		return file.Close()
	}
	remedy := "modprobe tun, or in a container --device " + device
	if errors.Is(err, fs.ErrPermission) {
		remedy = "run as root, or chmod 666 " + device
	}
	return fmt.Errorf("engine packet needs TUN devices: %w; %s; ENGINE=socket needs none", err, remedy)
}

// spareAddresses is how many addresses more a server can listen on.
const spareAddresses = 3

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

// addSettings adds what does not show in the host's namespace: some settings of
// TCP are the whole kernel's.
func (h *Host) addSettings(machine record.Host) {
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
