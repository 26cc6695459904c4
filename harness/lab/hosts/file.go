package hosts

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"connbench/clients/addresses"
	"connbench/clients/control"
	"connbench/harness/config"
	"connbench/harness/lab/paper"
	"connbench/harness/naming"
	"connbench/harness/record"
)

// File is a lab file: a server host and one or more client hosts.
type File struct {
	// Kind is the kind of lab, which has been looked at already.
	Kind string `toml:"kind"`
	// SSHConfig is a file that ssh reads instead of the user's own; "" is that.
	SSHConfig string `toml:"ssh_config"`
	// SSHConfigText is what such a file would hold, where there is none.
	SSHConfigText []byte `toml:"-"`
	Hosts         []Host `toml:"host"`

	name string
}

// Host is one machine of the lab.
type Host struct {
	Name string `toml:"name"`
	// Role is record.RoleServer or record.RoleClient.
	Role string `toml:"role"`
	// SSH is the argument of `ssh` to get there: [USER@]HOST, or a name in
	// ssh's configuration. Left out, it is Name.
	SSH string `toml:"ssh"`
	// Via is a command that takes ssh's place: what stands behind it, it runs on the
	// host with its own standard input and output.
	Via []string `toml:"via"`
	// Sudo has the agent, and all that it starts, run as root by `sudo -n`.
	Sudo bool `toml:"sudo"`
	// Addresses are where servers listen, or a client's source addresses and
	// prefixes of them.
	Addresses []string `toml:"addresses"`
	// Packet are prefixes that are routed to a client host, for the packet engine:
	// every address in them is a client.
	Packet []string `toml:"packet"`
	// CPUs are the CPUs that servers or swarm run on; empty means all of the host's.
	CPUs []int `toml:"cpus"`
}

// Read reads a lab file. Its errors are mistakes in the file, each with its place.
func Read(file string) (File, error) {
	f := File{name: file}
	return f, config.Read(file, &f, func() []string {
		if f.SSHConfig != "" && !filepath.IsAbs(f.SSHConfig) {
			f.SSHConfig = filepath.Join(filepath.Dir(file), f.SSHConfig)
		}
		for i := range f.Hosts {
			if host := &f.Hosts[i]; host.SSH == "" && len(host.Via) == 0 {
				host.SSH = host.Name
			}
		}
		return f.problems()
	})
}

// problems are all that makes no sense, a line each, which begins with the key.
func (f File) problems() (list []string) {
	servers, clients := 0, 0
	var names []string
	for i, host := range f.Hosts {
		key := fmt.Sprintf("host[%d].", i)
		if err := naming.Check(key+"name", host.Name); err != nil {
			list = append(list, err.Error())
		} else if slices.Contains(names, host.Name) {
			list = append(list, fmt.Sprintf("%sname is %q, as another host's", key, host.Name))
		}
		for _, problem := range host.problems() {
			list = append(list, key+problem)
		}
		names = append(names, host.Name)
		switch host.Role {
		case record.RoleServer:
			servers++
		case record.RoleClient:
			clients++
		}
	}
	if f.SSHConfig != "" {
		if _, err := os.Stat(f.SSHConfig); err != nil {
			list = append(list, fmt.Sprintf("ssh_config: %v", err))
		}
	}
	if len(list) > 0 {
		return list // what follows would be said of what is not meant
	}
	if servers != 1 {
		list = append(list, fmt.Sprintf(`host: %d have role = "server"; it must be one`, servers))
	}
	if clients == 0 {
		list = append(list, `host: none has role = "client"; at least one must`)
	}
	if err := f.overlap(); err != nil {
		list = append(list, "host: "+err.Error())
	}
	return list
}

// target keeps out what ssh would take for an option.
var target = regexp.MustCompile(`^[^-\s][^\s]*$`)

// problems are all that is wrong with one host, each beginning with the key.
func (h Host) problems() (list []string) {
	wrong := func(is bool, format string, args ...any) {
		if is {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	server := h.Role == record.RoleServer
	wrong(!server && h.Role != record.RoleClient, "role is %q: it is %q or %q", h.Role, record.RoleServer, record.RoleClient)
	wrong(h.SSH != "" && len(h.Via) > 0, "via and ssh are two ways to the same host: name one")
	wrong(len(h.Via) > 0 && h.Via[0] == "", "via begins with no program")
	wrong(len(h.Via) == 0 && !target.MatchString(h.SSH), "ssh is %q: it is [USER@]HOST, or a name in ssh's configuration", h.SSH)
	wrong(len(h.Addresses) == 0 && server, "addresses is missing: name those that the servers shall listen on")
	wrong(len(h.Packet) > 0 && server, "packet is for client hosts")
	for _, text := range h.Packet {
		if _, err := netip.ParseAddr(text); err == nil {
			wrong(true, "packet has %q: it is an address, not a prefix such as 198.19.101.0/24", text)
		} else if _, err := addresses.ParsePrefix(text); err != nil {
			wrong(true, "packet: %v", err)
		}
	}
	for _, text := range h.Addresses {
		if _, err := netip.ParseAddr(text); err != nil && server {
			wrong(true, "addresses has %q: it is not the numeric address of a host", text)
		} else if _, err := addresses.ParsePrefix(text); err != nil {
			wrong(true, "addresses: %v", err)
		}
	}
	for _, cpu := range h.CPUs {
		wrong(cpu < 0, "cpus has %d: there is no such CPU", cpu)
	}
	return list
}

// onPaper is the lab that a file describes.
func onPaper(file string) (paper.Lab, error) {
	f, err := Read(file)
	p := paper.Lab{}
	for _, host := range f.Hosts {
		if host.Role == record.RoleServer {
			p.Targets, p.Server.Cores = len(host.Addresses), float64(len(host.CPUs))
			continue
		}
		p.Clients++
		if sources, err := addresses.Parse(host.Addresses...); err == nil {
			p.Sources += int(min(sources.Len(), mostSources))
		}
		// Clients may differ: each has at least what the least of them has.
		if cores := float64(len(host.CPUs)); p.Clients == 1 || cores < p.Client.Cores {
			p.Client.Cores = cores
		}
	}
	return p, err
}

// mostSources bounds the addresses of a host, since a prefix of IPv6 has more than an int holds.
const mostSources = 1 << 32

// fits is an error unless every client host has what connections of the engine come
// from.
func (f File) fits(engine string) error {
	for _, host := range f.Hosts {
		if host.Role == record.RoleClient && len(host.sources(engine)) == 0 {
			key, what := "addresses", "the host's own addresses, to connect from"
			if engine == control.EnginePacket {
				key, what = "packet", "a prefix that is routed to the host and assigned to none of its interfaces"
			}
			return fmt.Errorf("%s: host %s has no %s, and engine %s needs some: %s", f.name, host.Name, key, engine, what)
		}
	}
	return nil
}

// overlap checks the addresses of all hosts together: they must be of one version of
// IP, and none may be listed twice.
func (f File) overlap() error {
	type place struct {
		host, text string
		prefix     netip.Prefix
	}
	var places []place
	for _, host := range f.Hosts {
		for _, text := range slices.Concat(host.Addresses, host.Packet) {
			prefix, err := addresses.ParsePrefix(text)
			if err != nil {
				return fmt.Errorf("host %s: %w", host.Name, err)
			}
			here := place{host.Name, text, prefix}
			for _, other := range places {
				if here.prefix.Addr().Is4() != other.prefix.Addr().Is4() {
					return fmt.Errorf("%s of host %s and %s of host %s are of different versions of IP: write a file for each",
						other.text, other.host, here.text, here.host)
				}
				if here.prefix.Overlaps(other.prefix) {
					return fmt.Errorf("%s of host %s is in %s of host %s: no address may be there twice",
						here.text, here.host, other.text, other.host)
				}
			}
			places = append(places, here)
		}
	}
	return nil
}
