package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"connbench/clients/addresses"
	"connbench/clients/control"
	"connbench/harness/agent"
	"connbench/harness/lab/fleet"
	"connbench/harness/lab/ssh"
	"connbench/harness/record"
)

// remote is a lab of hosts that ssh reaches.
type remote struct {
	name, engine string
	tools        Tools
	// folder is ours alone, and holds the sockets of the connections.
	folder string
	claim  *os.File
	hosts  []*remoteHost
}

type remoteHost struct {
	fleet.Host
	way        ssh.Host
	connection *ssh.Connection
	host       *Host // nil until it is reached
	boot       string
}

// isRemote tells names of labs that ssh reaches, files among them, from others.
func isRemote(name string) bool {
	return name == vagrantName || strings.HasSuffix(name, ".toml") || strings.ContainsRune(name, filepath.Separator)
}

// prepare reads which hosts the lab called name has, and how they are reached.
func prepare(ctx context.Context, name, engine string, tools Tools) (*remote, error) {
	r := &remote{name: name, engine: engine, tools: tools}
	file := name
	if name == vagrantName {
		file = filepath.Join(tools.Vagrant, vagrantLab)
		if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("there is no %s: bring the machines up first (make vagrant-up)", file)
		}
	} else {
		r.name = strings.TrimSuffix(filepath.Base(file), ".toml")
		if slices.Contains([]string{Local, vagrantName}, r.name) || strings.HasPrefix(r.name, netnsName) {
			return nil, mistake{fmt.Errorf("%s: the lab would be called %q, as another is: rename the file", file, r.name)}
		}
	}
	f, err := readFleet(file, engine)
	if err != nil {
		return nil, err
	}
	if err := r.makeFolder(); err != nil {
		return nil, err
	}
	if name == vagrantName {
		if f.SSHConfig, err = r.askVagrant(ctx); err != nil {
			r.close()
			return nil, err
		}
	}
	for _, host := range f.Hosts {
		way := ssh.Host{Name: host.Name, Target: host.SSH, Config: f.SSHConfig, Sudo: host.Sudo}
		r.hosts = append(r.hosts, &remoteHost{Host: host, way: way})
	}
	return r, nil
}

// readFleet reads a fleet, which must do for the engine.
func readFleet(file, engine string) (fleet.Fleet, error) {
	f, err := fleet.Read(file)
	if err != nil {
		return f, mistake{err}
	}
	for _, host := range f.Hosts {
		if host.Role == record.RoleClient && len(sources(host, engine)) == 0 {
			key, what := "addresses", "the host's own that connections shall come from"
			if engine == control.EnginePacket {
				key, what = "packet", "a prefix that is routed to the host, and is no interface's there"
			}
			return f, mistake{fmt.Errorf("%s: host %s has no %s, and engine %s needs some: %s", file, host.Name, key, engine, what)}
		}
	}
	return f, nil
}

// sources are what the engine's connections come from.
func sources(h fleet.Host, engine string) []string {
	if engine == control.EnginePacket {
		return h.Packet
	}
	return h.Addresses
}

// folderName is how the folders of labs begin.
const folderName = "connbench-ssh-"

func (r *remote) makeFolder() (err error) {
	sweep()
	if r.folder, err = os.MkdirTemp("", folderName); err != nil {
		return err
	}
	if r.claim, err = claim(r.folder); err == nil && r.claim == nil {
		err = fmt.Errorf("%s: another process has claimed it", r.folder)
	}
	if err != nil {
		os.RemoveAll(r.folder)
	}
	return err
}

// claim locks a folder for as long as this process has it open; nil if another has.
func claim(folder string) (*os.File, error) {
	file, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return file, nil
	}
	file.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = nil
	}
	return nil, err
}

// sweep removes the folders of labs whose process was killed.
func sweep() {
	folders, _ := filepath.Glob(filepath.Join(os.TempDir(), folderName+"*")) // the pattern is sound
	for _, folder := range folders {
		// One that was made this moment may not be claimed yet.
		if info, err := os.Stat(folder); err != nil || time.Since(info.ModTime()) < time.Minute {
			continue
		}
		if claimed, err := claim(folder); err == nil && claimed != nil {
			os.RemoveAll(folder)
			claimed.Close()
		}
	}
}

// open makes the lab of hosts that are all reached.
func (r *remote) open(ctx context.Context) (*Lab, error) {
	if err := errors.Join(r.reachAll(ctx)...); err != nil {
		r.close()
		return nil, err
	}
	if err := r.links(ctx); err != nil {
		r.close()
		return nil, err
	}
	l := &Lab{Name: r.name, Shared: r.shared(), restore: r.restore, close: r.close}
	for _, h := range r.hosts {
		cpus, err := h.cpus()
		if err != nil {
			r.close()
			return nil, err
		}
		l.hosts = append(l.hosts, h.host)
		if h.Role == record.RoleServer {
			l.Server = Server{Host: h.host, CPUs: cpus, Addresses: h.Addresses}
		} else {
			l.Clients = append(l.Clients, Client{Host: h.host, CPUs: cpus, Sources: sources(h.Host, r.engine)})
		}
	}
	return l, nil
}

// reachAll reaches all hosts at once, each as far as it goes, so that all that is
// wrong can be said.
func (r *remote) reachAll(ctx context.Context) []error {
	failed := make([]error, len(r.hosts))
	var all sync.WaitGroup
	for i, h := range r.hosts {
		all.Go(func() { h.host, failed[i] = r.reach(ctx, h) })
	}
	all.Wait()
	return failed
}

// links notes which card of each host leads to the others: for a client host, to the
// server's first address; for that, to the first client's.
func (r *remote) links(ctx context.Context) error {
	first := func(role string) string {
		i := slices.IndexFunc(r.hosts, func(h *remoteHost) bool { return h.Role == role })
		set, err := addresses.Parse(slices.Concat(r.hosts[i].Addresses, r.hosts[i].Packet)[0])
		if err != nil {
			return "" // package fleet has read it
		}
		return set.At(0).String()
	}
	for _, h := range r.hosts {
		other := record.RoleServer
		if h.Role == record.RoleServer {
			other = record.RoleClient
		}
		link, err := h.host.Agent.Link(ctx, first(other))
		if lost := h.host.Agent.Lost(); lost != nil {
			return lost
		}
		if err != nil {
			h.host.Warnings = append(h.host.Warnings, "link: "+err.Error())
		}
		h.host.Facts.Link = link
	}
	return nil
}

// shared is true when a client host has the server's kernel: containers, or
// namespaces, of one machine.
func (r *remote) shared() bool {
	at := slices.IndexFunc(r.hosts, func(h *remoteHost) bool { return h.Role == record.RoleServer })
	for i, h := range r.hosts {
		if i != at && h.boot == r.hosts[at].boot {
			return true
		}
	}
	return false
}

// cpus are those that the file names, or all.
func (h *remoteHost) cpus() ([]int, error) {
	usable := h.host.Facts.UsableCPUs
	if len(h.CPUs) == 0 {
		return usable, nil
	}
	for _, cpu := range h.CPUs {
		if !slices.Contains(usable, cpu) {
			return nil, fmt.Errorf("host %s: CPU %d is not among those that may be used there: %v", h.Name, cpu, usable)
		}
	}
	return h.CPUs, nil
}

// reach connects to a host, brings it the agent and starts it there.
func (r *remote) reach(ctx context.Context, h *remoteHost) (*Host, error) {
	connection, err := ssh.Connect(ctx, r.folder, h.way)
	if err != nil {
		return nil, err
	}
	h.connection = connection
	architecture, err := connection.Architecture(ctx)
	if err != nil {
		return nil, err
	}
	program, err := r.tools.Agent(ctx, architecture)
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", h.Name, err)
	}
	command, err := connection.Carry(ctx, program, "--remote")
	if err != nil {
		return nil, err
	}
	client, err := agent.Dial(h.Name, command)
	if err != nil {
		return nil, err
	}
	host, err := meet(ctx, client, h.Role)
	if err != nil {
		client.Close()
		return nil, err
	}
	host.Facts.Addresses = slices.Concat(h.Addresses, h.Packet)
	vitals, _, err := client.Vitals(ctx)
	h.boot = vitals.Boot
	return host, err
}

// comeBack is how long a host that has gone may take to be back; it is tried every
// few seconds.
var comeBack = 3 * time.Minute

const tryEvery = 5 * time.Second

// restore reaches a host again, as soon as that is possible.
func (r *remote) restore(ctx context.Context, host *Host) error {
	h := r.hosts[slices.IndexFunc(r.hosts, func(h *remoteHost) bool { return h.host == host })]
	for deadline := time.Now().Add(comeBack); ; {
		if h.connection != nil {
			h.connection.Close() // also more than once
		}
		again, err := r.reach(ctx, h)
		if err == nil {
			// Its facts stay those of the manifest; a host is the same after a reboot,
			// or else the next trial shows it.
			host.Agent = again.Agent
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Now().After(deadline) {
			return err
		}
		select {
		case <-time.After(tryEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// close ends the agents, then the connections.
func (r *remote) close() {
	var all sync.WaitGroup
	for _, h := range r.hosts {
		all.Go(func() {
			if h.host != nil {
				h.host.Agent.Close()
			}
			if h.connection != nil {
				h.connection.Close()
			}
		})
	}
	all.Wait()
	os.RemoveAll(r.folder)
	r.claim.Close()
}
