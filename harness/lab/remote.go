package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"connbench/clients/control"
	"connbench/harness/agent"
	"connbench/harness/lab/fleet"
	"connbench/harness/lab/ssh"
	"connbench/harness/record"
)

// remote is a lab of hosts that ssh reaches.
type remote struct {
	tools Tools
	// folder is ours alone, and holds the sockets of the connections.
	folder string
	claim  *os.File
	hosts  []*remoteHost
}

type remoteHost struct {
	fleet.Host
	way        ssh.Host
	connection *ssh.Connection
	boot       string
}

// isFile tells names of files from those of other labs.
func isFile(name string) bool {
	return strings.HasSuffix(name, ".toml") || strings.ContainsRune(name, filepath.Separator)
}

// fromFile is the lab that a file describes.
func fromFile(ctx context.Context, file, engine string, tools Tools) (*Lab, error) {
	f, err := readFleet(file, engine)
	if err != nil {
		return nil, err
	}
	name := strings.TrimSuffix(filepath.Base(file), ".toml")
	if slices.Contains([]string{Local, vagrantName}, name) || strings.HasPrefix(name, netnsName) {
		return nil, mistake{fmt.Errorf("%s: the lab would be called %q, as another is: rename the file", file, name)}
	}
	r, err := newRemote(tools)
	if err != nil {
		return nil, err
	}
	return r.open(ctx, name, engine, f)
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

func newRemote(tools Tools) (*remote, error) {
	sweep()
	folder, err := os.MkdirTemp("", folderName)
	if err != nil {
		return nil, err
	}
	r := &remote{tools: tools, folder: folder}
	if r.claim, err = claim(folder); err == nil && r.claim == nil {
		err = fmt.Errorf("%s: another process has claimed it", folder)
	}
	if err != nil {
		os.RemoveAll(folder)
		return nil, err
	}
	return r, nil
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

// open reaches all hosts at once, each as far as it goes, so that all that is
// wrong is said.
func (r *remote) open(ctx context.Context, name, engine string, f fleet.Fleet) (*Lab, error) {
	l := &Lab{Name: name, hosts: make([]*Host, len(f.Hosts)), restore: r.restore}
	l.close = func() { r.close(l.hosts) }
	failed := make([]error, len(f.Hosts))
	var all sync.WaitGroup
	for i, host := range f.Hosts {
		h := &remoteHost{Host: host, way: ssh.Host{Name: host.Name, Target: host.SSH, Config: f.SSHConfig, Sudo: host.Sudo}}
		r.hosts = append(r.hosts, h)
		all.Go(func() { l.hosts[i], failed[i] = r.reach(ctx, h) })
	}
	all.Wait()
	if err := errors.Join(failed...); err != nil {
		l.Close()
		return nil, err
	}
	for i, h := range r.hosts {
		host := l.hosts[i]
		cpus, err := usable(h.Host, host.Facts)
		if err != nil {
			l.Close()
			return nil, err
		}
		if h.Role == record.RoleServer {
			l.Server = Server{Host: host, CPUs: cpus, Addresses: h.Addresses}
		} else {
			l.Clients = append(l.Clients, Client{Host: host, CPUs: cpus, Sources: sources(h.Host, engine)})
		}
	}
	l.Shared = r.shared()
	return l, nil
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

// usable are the CPUs that the file names, or all.
func usable(h fleet.Host, facts record.Host) ([]int, error) {
	if len(h.CPUs) == 0 {
		return facts.UsableCPUs, nil
	}
	for _, cpu := range h.CPUs {
		if !slices.Contains(facts.UsableCPUs, cpu) {
			return nil, fmt.Errorf("host %s: CPU %d is not among those that may be used there: %v", h.Name, cpu, facts.UsableCPUs)
		}
	}
	return h.CPUs, nil
}

// reach connects to a host, brings it this program and starts it there as agent.
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
	program := r.tools.Program
	if architecture != runtime.GOARCH {
		if program, err = r.tools.ProgramFor(ctx, architecture); err != nil {
			return nil, fmt.Errorf("host %s is %s: %w", h.Name, architecture, err)
		}
	}
	command, err := connection.Carry(ctx, program, "agent", "--remote")
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

const (
	// comeBack is how long a host that has gone may take to be back.
	comeBack = 3 * time.Minute
	tryEvery = 5 * time.Second
)

// restore reaches a host again, as soon as that is possible.
func (r *remote) restore(ctx context.Context, host *Host) error {
	i := slices.IndexFunc(r.hosts, func(h *remoteHost) bool { return h.Name == host.Facts.Name })
	h := r.hosts[i]
	for deadline := time.Now().Add(comeBack); ; {
		h.connection.Close() // also more than once
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
func (r *remote) close(hosts []*Host) {
	var all sync.WaitGroup
	for i, h := range r.hosts {
		all.Go(func() {
			if hosts[i] != nil {
				hosts[i].Agent.Close()
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
