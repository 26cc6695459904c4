// Package lab makes hosts: places where programs can be started and measured,
// each through an agent. A lab has one server host and one or more client hosts,
// which may be the same machine.
package lab

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"connbench/clients/control"
	"connbench/harness/agent"
	"connbench/harness/record"
)

// Names are those of the labs that Open knows, with what may follow in brackets.
var Names = []string{Local, "netns[-CLIENTS][-ipv6][-firewall][-delay5ms][-loss1pct][-rate100mbit]", vagrantName, "FILE.toml (hosts that ssh reaches)"}

// Local is the lab that is this machine alone.
const Local = "local"

// Lab is a set of hosts.
type Lab struct {
	Name   string
	Server Server
	// Clients has one entry a client host.
	Clients []Client
	// Shared is true when server and clients run on one kernel.
	Shared bool

	hosts []*Host
	close func()
	// restore brings a host back whose agent has gone; nil where that cannot be.
	restore func(context.Context, *Host) error
}

// Host is one machine.
type Host struct {
	Agent *agent.Client
	Facts record.Host
	// Warnings say what could not be read of the facts.
	Warnings []string
}

// Server is the host under test.
type Server struct {
	*Host
	// CPUs are those the servers may run on.
	CPUs []int
	// Addresses are those that the servers listen on, Spare more that they could.
	Addresses []string
	Spare     []string
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

// ClientCPUs are those that the clients run on, each once.
func (l *Lab) ClientCPUs() []int {
	var cpus []int
	for _, client := range l.Clients {
		cpus = append(cpus, client.CPUs...)
	}
	slices.Sort(cpus)
	return slices.Compact(cpus)
}

// Close ends the agents, and with them everything that they started.
func (l *Lab) Close() { l.close() }

// Restore brings back the hosts whose agents have gone, and tells whether there
// were any: what had been carried there must be carried anew. The error names a
// host that does not come back.
func (l *Lab) Restore(ctx context.Context) (restored bool, err error) {
	for _, host := range l.hosts {
		lost := host.Agent.Lost()
		if lost == nil {
			continue
		}
		if l.restore == nil {
			return restored, lost
		}
		if err := l.restore(ctx, host); err != nil {
			return restored, fmt.Errorf("%w; and it does not come back: %w", lost, err)
		}
		restored = true
	}
	return restored, nil
}

// ErrUnknown marks a lab that does not exist, or makes no sense.
var ErrUnknown = errors.New("unknown lab")

// ErrEngine marks an engine that a lab has no room for.
var ErrEngine = errors.New("engine packet takes a client host with a network of its own")

// mistake is an error of whoever named the lab, or wrote its file.
type mistake struct{ error }

func (mistake) Is(target error) bool { return target == ErrUnknown }

// Tools are what a lab needs of whoever opens it.
type Tools struct {
	// Agent is the path of the agent's program for an architecture, as Go names it.
	Agent func(ctx context.Context, architecture string) (path string, err error)
	// Program is this program, which has the command that makes namespaces.
	Program string
	// Vagrant is the folder of the Vagrantfile.
	Vagrant string
}

// Open makes the lab called name, which may be a file, for a swarm with that
// engine: one of control.Engines.
func Open(ctx context.Context, name, engine string, tools Tools) (*Lab, error) {
	switch {
	case name == Local && engine == control.EnginePacket:
		return nil, fmt.Errorf("%w: use LAB=netns, or ENGINE=socket", ErrEngine)
	case name == Local:
		return local(ctx, tools)
	case isRemote(name):
		r, err := prepare(ctx, name, engine, tools)
		if err != nil {
			return nil, err
		}
		return r.open(ctx)
	case strings.HasPrefix(name, netnsName):
		return netns(ctx, name, engine, tools)
	}
	return nil, unknown(name)
}

func unknown(name string) error {
	return fmt.Errorf("%w %q: there is %s", ErrUnknown, name, strings.Join(Names, ", "))
}

// localSpare are more addresses for servers, if a plan asks for them.
var localSpare = []string{"127.0.0.2", "127.0.0.3", "127.0.0.4"}

// localSources are the clients' addresses in the local lab. All of 127.0.0.0/8
// is the host's without any set-up, and no other program is likely to use these.
const localSources = "127.17.0.0/24"

// local is this machine alone: servers and swarm on CPUs of their own where
// there are two or more.
func local(ctx context.Context, tools Tools) (*Lab, error) {
	program, err := tools.Agent(ctx, runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	client, err := agent.Dial(Local, []string{program})
	if err != nil {
		return nil, err
	}
	host, err := meet(ctx, client, record.RoleServer, record.RoleClient)
	if err != nil {
		client.Close()
		return nil, err
	}
	serverCPUs, clientCPUs := split(host.Facts.UsableCPUs)
	return &Lab{
		Name:    Local,
		Server:  Server{Host: host, CPUs: serverCPUs, Addresses: []string{"127.0.0.1"}, Spare: localSpare},
		Clients: []Client{{Host: host, CPUs: clientCPUs, Sources: []string{localSources}}},
		Shared:  true,
		hosts:   []*Host{host},
		close:   func() { client.Close() },
	}, nil
}

// meet asks an agent about its host.
func meet(ctx context.Context, client *agent.Client, roles ...string) (*Host, error) {
	facts, warnings, err := client.Host(ctx)
	facts.Roles = roles
	return &Host{Agent: client, Facts: facts, Warnings: warnings}, err
}

// split gives each side half of the CPUs, the servers the odd one; a single CPU
// is shared.
func split(cpus []int) (server, client []int) {
	if len(cpus) < 2 {
		return cpus, cpus
	}
	half := (len(cpus) + 1) / 2
	return slices.Clone(cpus[:half]), slices.Clone(cpus[half:])
}
