package slurm

import (
	"fmt"
	"net/netip"
	"path"
	"strings"
	"time"

	"connbench/clients/addresses"
	"connbench/harness/config"
	"connbench/harness/lab/paper"
)

// File is a lab file of this kind.
type File struct {
	// Kind is the kind of lab, which has been looked at already.
	Kind string `toml:"kind"`
	// Salloc are arguments of salloc, for all nodes.
	Salloc []string `toml:"salloc"`
	// Clients is the number of client nodes. 0 is one, or in an allocation that exists all
	// of its nodes but the server's.
	Clients int `toml:"clients"`
	// WaitSeconds is how long the job may wait for its nodes.
	WaitSeconds float64 `toml:"wait_seconds"`
	// Scratch is a folder on each node, where programs are kept.
	Scratch string `toml:"scratch"`
	// Sbcast is false where programs travel over the pipes of srun.
	Sbcast bool  `toml:"sbcast"`
	Server Nodes `toml:"server"`
	Client Nodes `toml:"client"`

	name string
}

// Nodes are the server's node, or the clients'.
type Nodes struct {
	// Constraint and Salloc are arguments of salloc for these nodes.
	Constraint string   `toml:"constraint"`
	Salloc     []string `toml:"salloc"`
	// Addresses are prefixes: of each node's own addresses, those in them are used. None
	// means the address by which Slurm knows the node.
	Addresses []string `toml:"addresses"`
	// CPUs are the CPUs that servers or swarm run on; empty means all of the node's.
	CPUs []int `toml:"cpus"`
}

// Read reads a lab file. Its errors are mistakes in the file, each with its place.
func Read(file string) (File, error) {
	f := File{name: file, WaitSeconds: 300, Scratch: "/tmp", Sbcast: true}
	return f, config.Read(file, &f, f.problems)
}

// onPaper is the lab that a file describes. Each node has at least one address. The file says
// nothing of further ones, or of memory.
func onPaper(file string) (paper.Lab, error) {
	f, err := Read(file)
	clients := max(f.Clients, 1)
	return paper.Lab{
		Clients: clients, Sources: clients, Targets: 1,
		Server: paper.Resources{Cores: float64(len(f.Server.CPUs))}, Client: paper.Resources{Cores: float64(len(f.Client.CPUs))},
	}, err
}

// mostClients keeps a typing error from asking for the whole cluster.
const mostClients = 1000

// longestWait bounds the wait for nodes, in seconds.
const longestWait = 7 * 24 * 3600

// problems are all that makes no sense, a line each, which begins with the key.
func (f *File) problems() (list []string) {
	wrong := func(is bool, format string, args ...any) {
		if is {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	wrong(f.Clients < 0 || f.Clients > mostClients, "clients is %d: it takes 1 to %d", f.Clients, mostClients)
	wrong(f.WaitSeconds <= 0 || f.WaitSeconds > longestWait, "wait_seconds is %g: it must be more than 0 and at most a week", f.WaitSeconds)
	wrong(!path.IsAbs(f.Scratch), "scratch is %q: it is a folder on each node, and begins with /", f.Scratch)
	options := func(key string, words []string) {
		for _, word := range words {
			wrong(!strings.HasPrefix(word, "-") || word == "-", "%s has %q: each is an option of salloc, as \"--time=30\"", key, word)
		}
	}
	options("salloc", f.Salloc)
	for _, role := range []struct {
		key   string
		nodes Nodes
	}{{"server", f.Server}, {"client", f.Client}} {
		options(role.key+".salloc", role.nodes.Salloc)
		for _, text := range role.nodes.Addresses {
			_, err := addresses.ParsePrefix(text)
			wrong(err != nil, "%s.addresses: %v", role.key, err)
		}
		for _, cpu := range role.nodes.CPUs {
			wrong(cpu < 0, "%s.cpus has %d: there is no such CPU", role.key, cpu)
		}
	}
	return list
}

// salloc is the command that makes the job, up to what salloc runs: one component for all
// nodes, or one for the clients and one for the server where these ask for other nodes.
func (f File) salloc(jobName string) []string {
	// The job outlives a node that fails.
	words := []string{"salloc", "--job-name=" + jobName, "--no-kill"}
	component := func(nodes int, more Nodes) []string {
		part := append([]string{"--exclusive", fmt.Sprintf("--nodes=%d", nodes)}, f.Salloc...)
		if more.Constraint != "" {
			part = append(part, "--constraint="+more.Constraint)
		}
		return append(part, more.Salloc...)
	}
	clients := max(f.Clients, 1)
	if f.Server.Constraint == "" && f.Client.Constraint == "" && len(f.Server.Salloc)+len(f.Client.Salloc) == 0 {
		return append(words, component(clients+1, Nodes{})...)
	}
	words = append(words, component(clients, f.Client)...)
	words = append(words, ":", "--job-name="+jobName, "--no-kill")
	return append(words, component(1, f.Server)...)
}

// wait is how long the job may wait for its nodes.
func (f File) wait() time.Duration { return time.Duration(f.WaitSeconds * float64(time.Second)) }

// choose returns the addresses of a node that are used: of its own those in the prefixes, or
// without prefixes the one by which Slurm knows it.
func choose(own []netip.Prefix, prefixes []string, known netip.Addr) (list []string) {
	if len(prefixes) == 0 {
		return []string{known.String()}
	}
	for _, address := range own {
		for _, text := range prefixes {
			within, err := addresses.ParsePrefix(text)
			if err == nil && within.Bits() <= address.Bits() && within.Contains(address.Addr()) {
				text := address.String()
				if address.IsSingleIP() {
					text = address.Addr().String()
				}
				list = append(list, text)
				break
			}
		}
	}
	return list
}
