// Package lab makes hosts: machines, or parts of one, where programs can be started
// and measured, each through an agent. A lab has one server host and one or more
// client hosts, which may be the same machine. Only for a server that runs already there
// may be several server hosts. What kinds of labs there are says package kinds.
package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"connbench/clients/control"
	"connbench/harness/agent"
	"connbench/harness/explain"
	"connbench/harness/reading"
	"connbench/harness/record"
)

// Local is the lab that is this machine alone, and what a plan takes that names none.
const Local = "local"

// Lab is a set of hosts at work.
type Lab struct {
	Name string
	// Kind is the name of its kind.
	Kind   string
	Server Server
	// Replicas are further hosts that a server runs on which was there before: each has a
	// part of the connections.
	Replicas []Server
	// Clients has one entry a client host.
	Clients []Client
	// Shared is true when server and clients run on one kernel.
	Shared bool

	hosts []*Host
	site  Site
}

// Host is one machine.
type Host struct {
	Agent *agent.Client
	Facts record.Host
	// Warnings say what could not be read of the facts.
	Warnings []string

	boot    string // of its kernel: [agent.Facts]
	network string // the same for all hosts in one network namespace
}

// Server is the host under test.
type Server struct {
	*Host
	// CPUs are the CPUs that the servers may run on.
	CPUs []int
	// Addresses are the addresses that the servers listen on, Spare more that they could
	// use.
	Addresses []string
	Spare     []string
	// Device are addresses that lead to the host, and that nobody there has: those that
	// servers listen on which speak TCP themselves, over a device that they make. Empty:
	// the lab has no room for such servers.
	Device []string
}

// Client is a host of the swarm.
type Client struct {
	*Host
	CPUs []int
	// Sources are its addresses and prefixes, as the swarm's configuration has them.
	Sources []string
}

// Hosts are all hosts of the lab, each once.
func (l *Lab) Hosts() []*Host { return l.hosts }

// Servers are the hosts that the server runs on, that of [Lab.Server] first.
func (l *Lab) Servers() []*Host {
	hosts := []*Host{l.Server.Host}
	for _, r := range l.Replicas {
		hosts = append(hosts, r.Host)
	}
	return hosts
}

// Place says which kernel and which network namespace the host has.
func (h *Host) Place() reading.Place { return reading.Place{Kernel: h.boot, Network: h.network} }

// While is a context that ends with ctx, or when the lab ends by itself: then its cause is
// an [EndedError].
func (l *Lab) While(ctx context.Context) (context.Context, context.CancelFunc) {
	site, may := l.site.(Ending)
	if !may {
		return context.WithCancel(ctx)
	}
	within, end := context.WithCancelCause(ctx)
	go func() {
		select {
		case why := <-site.Ended():
			end(&EndedError{why})
		case <-within.Done():
		}
	}()
	return within, func() { end(nil) }
}

// Ended returns an [EndedError] if hosts were lost because the lab has ended by itself.
func (l *Lab) Ended(ctx context.Context) error {
	site, may := l.site.(Ending)
	if !may || !slices.ContainsFunc(l.hosts, func(h *Host) bool { return h.Agent.Lost() != nil }) {
		return nil
	}
	if why := site.Ask(ctx); why != nil {
		return &EndedError{why}
	}
	return nil
}

// ServerCPUs returns the CPUs that the server may run on, those of each kernel once. Kernels
// number theirs alike.
func (l *Lab) ServerCPUs() (cpus []int) {
	type numbered struct {
		kernel string
		cpu    int
	}
	known := map[numbered]bool{}
	for _, server := range append([]Server{l.Server}, l.Replicas...) {
		for _, cpu := range server.CPUs {
			if at := (numbered{server.boot, cpu}); !known[at] {
				known[at] = true
				cpus = append(cpus, cpu)
			}
		}
	}
	return cpus
}

// ClientCPUs returns the CPUs that the clients run on, each once.
func (l *Lab) ClientCPUs() []int {
	var cpus []int
	for _, client := range l.Clients {
		cpus = append(cpus, client.CPUs...)
	}
	slices.Sort(cpus)
	return slices.Compact(cpus)
}

// Open opens the lab called name, which may be a file. All hosts are at work then, or
// the error names those that are not.
func Open(ctx context.Context, name string, o Options) (*Lab, error) {
	l, failed, err := open(ctx, name, o)
	if err != nil {
		return nil, err
	}
	err = errors.Join(failed...)
	if err == nil {
		err = l.complete(ctx, o.Engine)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// open opens a lab and dials all its hosts at once. failed says of each that cannot be
// used why; its Host is nil.
func open(ctx context.Context, name string, o Options) (l *Lab, failed []error, err error) {
	kind, o, err := find(name, o)
	if err != nil {
		return nil, nil, err
	}
	if o.Pods != "" && !kind.Pods {
		return nil, nil, explain.Usagef("lab %s is of kind %s: it has no pods", o.Name, kind.Name)
	}
	site, err := kind.Open(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	n := len(site.Hosts())
	l = &Lab{Name: o.Name, Kind: kind.Name, site: site, hosts: make([]*Host, n)}
	failed = make([]error, n)
	together(n, func(i int) { l.hosts[i], failed[i] = site.Dial(ctx, i) })
	return l, failed, nil
}

// Together does something for each of n hosts, for all at once: with many of them, the way
// to one takes longer than anything else. The error joins theirs, in order.
func Together(n int, do func(i int) error) error {
	failed := make([]error, n)
	together(n, func(i int) { failed[i] = do(i) })
	return errors.Join(failed...)
}

func together(n int, do func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { do(i) })
	}
	all.Wait()
}

// Resolve is [Resolver.Resolve] of a lab that has it.
func (l *Lab) Resolve(ctx context.Context, name string, port uint16) ([]netip.AddrPort, error) {
	resolver, ok := l.site.(Resolver)
	if !ok {
		return nil, fmt.Errorf("lab %s cannot resolve host names", l.Name)
	}
	return resolver.Resolve(ctx, name, port)
}

// Meet asks an agent about its host: every Site makes its hosts so.
func Meet(ctx context.Context, client *agent.Client, s Spec) (*Host, error) {
	facts, err := client.Facts(ctx)
	facts.Host.Roles = s.Roles
	return &Host{Agent: client, Facts: facts.Host, Warnings: facts.Warnings, boot: facts.Boot, network: facts.Boot + facts.Network}, err
}

// complete gives the hosts, which are all at work, their roles.
func (l *Lab) complete(ctx context.Context, engine string) error {
	if err := errors.Join(l.foreign(ctx, engine)...); err != nil {
		return err
	}
	for i, s := range l.site.Hosts() {
		host := l.hosts[i]
		serverCPUs, clientCPUs, err := cpus(s, host.Facts.UsableCPUs)
		if err != nil {
			return fmt.Errorf("host %s: %w", s.Name, err)
		}
		if s.Is(record.RoleServer) {
			server := Server{Host: host, CPUs: serverCPUs, Addresses: s.Addresses, Spare: s.Spare, Device: s.Device}
			if l.Server.Host == nil {
				l.Server = server
			} else {
				l.Replicas = append(l.Replicas, server)
			}
		}
		if !s.Is(record.RoleClient) {
			continue
		}
		l.Clients = append(l.Clients, Client{Host: host, CPUs: clientCPUs, Sources: s.Sources})
		if engine == control.EnginePacket {
			if err := canMakePackets(ctx, host); err != nil {
				return err
			}
		}
	}
	l.Shared = l.sharesKernel()
	return nil
}

// canMakePackets is an error where the packet engine cannot make its devices.
func canMakePackets(ctx context.Context, host *Host) error {
	missing, err := host.Agent.Packet(ctx, nil)
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("host %s: %s", host.Facts.Name, missing[0])
	}
	return err
}

// sharesKernel is true when a client host has the kernel of a server host: the same machine,
// or a container or namespace of it.
func (l *Lab) sharesKernel() bool {
	return slices.ContainsFunc(l.Clients, func(c Client) bool {
		return slices.ContainsFunc(l.Servers(), func(server *Host) bool { return c.boot == server.boot })
	})
}

// cpus returns the CPUs of a host for the servers and those for the swarm.
func cpus(s Spec, usable []int) (server, client []int, err error) {
	for _, cpu := range s.CPUs {
		if !slices.Contains(usable, cpu) {
			return nil, nil, fmt.Errorf("CPU %d is not among those that may be used there: %v", cpu, usable)
		}
	}
	if len(s.CPUs) > 0 {
		usable = s.CPUs
	}
	if s.Is(record.RoleServer) && s.Is(record.RoleClient) {
		server, client = Halves(usable)
		return server, client, nil
	}
	return usable, usable, nil
}

// Halves gives servers and clients half of a machine's CPUs each, the servers the odd
// one; they share a single one.
func Halves(cpus []int) (server, client []int) {
	if len(cpus) < 2 {
		return cpus, cpus
	}
	half := (len(cpus) + 1) / 2
	return slices.Clone(cpus[:half]), slices.Clone(cpus[half:])
}

// cleanUpPatience bounds the way to a host that was lost, to clean up there.
const cleanUpPatience = 15 * time.Second

// Close ends the agents, and with them everything that they started, and then what the
// lab itself is made of. Where an agent was lost, another one cleans up, if the host can
// be reached.
func (l *Lab) Close() {
	var all sync.WaitGroup
	for i, host := range l.hosts {
		if host == nil {
			continue
		}
		all.Go(func() {
			lost := host.Agent.Lost() != nil
			host.Agent.Close()
			if lost {
				l.cleanUp(i)
			}
		})
	}
	all.Wait()
	l.site.Close()
}

// cleanUp has a new agent end what the one before has left on a host.
func (l *Lab) cleanUp(i int) {
	ctx, cancel := context.WithTimeout(context.Background(), cleanUpPatience)
	defer cancel()
	if host, err := l.site.Dial(ctx, i); err == nil {
		host.Agent.Close()
	}
}

// returnPatience is how long a host that was lost may take to come back; it is dialled
// every few seconds.
var returnPatience = 3 * time.Minute

const redialEvery = 5 * time.Second

// Restore brings back the hosts that were lost, and tells whether there were any: what
// had been carried there must be carried anew. The error names a host that does not
// come back, and is an [agent.ErrHostLost].
func (l *Lab) Restore(ctx context.Context) (restored bool, err error) {
	for i, host := range l.hosts {
		lost := host.Agent.Lost()
		if lost == nil {
			continue
		}
		before := l.site.Hosts()[i]
		again, err := l.redial(ctx, i)
		if errors.Is(err, ErrGone) {
			return restored, lost
		}
		if err != nil {
			return restored, fmt.Errorf("%w; reconnecting failed: %w", lost, err)
		}
		// Its facts stay those of the manifest; a host is the same after a reboot, or
		// else the next trial shows it.
		host.Agent = again.Agent
		restored = true
		if err := l.readdress(host, before, l.site.Hosts()[i]); err != nil {
			return restored, err
		}
	}
	return restored, nil
}

// readdress gives a host that is back its new addresses. A plan may use only some of them.
func (l *Lab) readdress(host *Host, before, now Spec) error {
	from, to := before.addresses(), now.addresses()
	if len(from) != len(to) {
		return fmt.Errorf("host %s: it is back with other addresses: %s, before %s", now.Name, strings.Join(to, ", "), strings.Join(from, ", "))
	}
	moved := func(list []string) (now []string) {
		for _, text := range list {
			if i := slices.Index(from, text); i >= 0 {
				text = to[i]
			}
			now = append(now, text)
		}
		return now
	}
	if l.Server.Host == host {
		l.Server.Addresses, l.Server.Spare = moved(l.Server.Addresses), moved(l.Server.Spare)
	}
	for i := range l.Replicas {
		if replica := &l.Replicas[i]; replica.Host == host {
			replica.Addresses = moved(replica.Addresses)
		}
	}
	for i := range l.Clients {
		if client := &l.Clients[i]; client.Host == host {
			client.Sources = moved(client.Sources)
		}
	}
	return nil
}

// redial dials a host that was lost until it is back.
func (l *Lab) redial(ctx context.Context, i int) (*Host, error) {
	for deadline := time.Now().Add(returnPatience); ; {
		host, err := l.site.Dial(ctx, i)
		switch {
		case err == nil, errors.Is(err, ErrGone):
			return host, err
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case time.Now().After(deadline):
			return nil, err
		}
		select {
		case <-time.After(redialEvery):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
