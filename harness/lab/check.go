package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"connbench/clients/control"
	"connbench/harness/probe"
	"connbench/harness/record"
)

// Health is what a check finds of a host. What could not be read is nil or empty.
type Health struct {
	Name  string   `json:"name"`
	Roles []string `json:"roles"`
	// Reached is true when there is an agent on the host; else only Problems is
	// filled in.
	Reached      bool   `json:"reached"`
	Architecture string `json:"architecture,omitempty"`
	Kernel       string `json:"kernel,omitempty"`
	Virtual      string `json:"virtual,omitempty"`
	Emulated     bool   `json:"emulated,omitempty"`
	UsableCPUs   []int  `json:"usable_cpus,omitempty"`
	// NoFileSoft and NoFileHard are RLIMIT_NOFILE of what is started there, NROpen
	// and FileMax the sysctls fs.nr_open and fs.file-max.
	NoFileSoft string `json:"nofile_soft,omitempty"`
	NoFileHard string `json:"nofile_hard,omitempty"`
	NROpen     string `json:"nr_open,omitempty"`
	FileMax    string `json:"file_max,omitempty"`
	// ClockAheadSeconds is by how much the host's clock is ahead of the harness's.
	// No figure depends on it: each host measures by its own.
	ClockAheadSeconds *float64 `json:"clock_ahead_seconds,omitempty"`
	// AvailableBytes is MemAvailable, FreeBytes the room for programs on the disk.
	AvailableBytes *int64   `json:"available_bytes,omitempty"`
	FreeBytes      *int64   `json:"free_bytes,omitempty"`
	Addresses      []string `json:"addresses,omitempty"`
	// Connects is the number of connections that were made to the server host, from
	// each address of a client host or, of a prefix, from some.
	Connects int `json:"connects"`
	// Problems are what keeps the lab from working, Notes what is missed in it.
	Problems []string `json:"problems"`
	Notes    []string `json:"notes,omitempty"`
}

// Least room on a host: programs take about 100 MB, and a run should not begin
// where memory is about to end.
const (
	leastFree      = 256 << 20
	leastAvailable = 128 << 20
)

// subject is a host to be checked.
type subject struct {
	health    Health
	host      *Host // nil where it is not reached
	addresses []string
	sources   []string
}

// Check looks at every host of a lab, as far as it is reached. The error says why
// there is nothing to look at; what is wrong with a host is not one.
func Check(ctx context.Context, name, engine string, tools Tools) ([]Health, error) {
	subjects, end, err := subjects(ctx, name, engine, tools)
	if err != nil {
		return nil, err
	}
	defer end()
	var all sync.WaitGroup
	for _, s := range subjects {
		if s.host != nil {
			all.Go(func() { s.look(ctx) })
		}
	}
	all.Wait()
	if err := connect(ctx, engine, subjects); err != nil {
		return nil, err
	}
	var found []Health
	for _, s := range subjects {
		found = append(found, s.health)
	}
	return found, ctx.Err()
}

// subjects are the hosts of a lab, whether they are reached or not.
func subjects(ctx context.Context, name, engine string, tools Tools) (list []*subject, end func(), err error) {
	if isRemote(name) {
		r, err := prepare(ctx, name, engine, tools)
		if err != nil {
			return nil, nil, err
		}
		failed := r.reachAll(ctx)
		for i, h := range r.hosts {
			s := &subject{health: Health{Name: h.Name, Roles: []string{h.Role}, Addresses: slices.Concat(h.Addresses, h.Packet)}, host: h.host}
			if h.Role == record.RoleServer {
				s.addresses = h.Addresses
			} else {
				s.sources = sources(h.Host, engine)
			}
			if failed[i] != nil {
				s.host = nil
				s.problem("%s", strings.TrimPrefix(failed[i].Error(), "host "+h.Name+": "))
			} else if _, err := h.cpus(); err != nil {
				s.problem("%v", err)
			}
			list = append(list, s)
		}
		return list, r.close, nil
	}
	l, err := Open(ctx, name, engine, tools)
	if err != nil {
		return nil, nil, err
	}
	for _, host := range l.hosts {
		s := &subject{health: Health{Name: host.Facts.Name, Roles: host.Facts.Roles, Addresses: host.Facts.Addresses}, host: host}
		if l.Server.Host == host {
			s.addresses = l.Server.Addresses
		}
		for _, client := range l.Clients {
			if client.Host == host {
				s.sources = client.Sources
			}
		}
		list = append(list, s)
	}
	return list, l.Close, nil
}

func (s *subject) problem(format string, args ...any) {
	s.health.Problems = append(s.health.Problems, fmt.Sprintf(format, args...))
}

func (s *subject) note(format string, args ...any) {
	s.health.Notes = append(s.health.Notes, fmt.Sprintf(format, args...))
}

// look fills in what the host's agent knows.
func (s *subject) look(ctx context.Context) {
	h, facts := &s.health, s.host.Facts
	h.Reached = true
	h.Architecture, h.Kernel, h.Virtual, h.Emulated, h.UsableCPUs = facts.Architecture, facts.Kernel, facts.Virtual, facts.Emulated, facts.UsableCPUs
	h.NoFileSoft, h.NoFileHard = facts.Limits[probe.LimitNoFileSoft], facts.Limits[probe.LimitNoFileHard]
	h.NROpen, h.FileMax = facts.Sysctls["fs.nr_open"], facts.Sysctls["fs.file-max"]
	vitals, ahead, err := s.host.Agent.Vitals(ctx)
	if err != nil {
		s.problem("%v", err)
		return
	}
	h.ClockAheadSeconds, h.FreeBytes = &ahead, &vitals.FreeBytes
	if vitals.FreeBytes < leastFree {
		s.problem("only %d MB are free in %s: programs may not fit", vitals.FreeBytes>>20, vitals.Programs)
	}
	m, err := s.host.Agent.Measure(ctx, nil, true)
	if err != nil {
		s.problem("%v", err)
		return
	}
	if h.AvailableBytes = m.System.Memory.Available; h.AvailableBytes != nil && *h.AvailableBytes < leastAvailable {
		s.problem("only %d MB of memory are available", *h.AvailableBytes>>20)
	}
	if slices.Contains(h.Roles, record.RoleServer) && m.System.KernelBytes() == nil {
		s.note("the kernel's memory cannot be read there: %s; root can (sudo = true)", strings.Join(m.System.Warnings, ", "))
	}
}

// connect tries the way from every client host to the server host.
func connect(ctx context.Context, engine string, subjects []*subject) error {
	i := slices.IndexFunc(subjects, func(s *subject) bool { return len(s.addresses) > 0 })
	server := subjects[i]
	if server.host == nil {
		return nil
	}
	targets, err := server.host.Agent.Listen(ctx, server.addresses)
	if err != nil {
		server.problem("nothing can listen on its address: %v", err)
		return ctx.Err()
	}
	var all sync.WaitGroup
	for _, s := range subjects {
		if s.host == nil || len(s.sources) == 0 {
			continue
		}
		all.Go(func() {
			if engine == control.EnginePacket {
				s.forward(ctx, server)
			} else {
				s.reach(ctx, targets)
			}
		})
	}
	all.Wait()
	_, err = server.host.Agent.Listen(ctx, nil)
	return errors.Join(err, ctx.Err())
}

// reach connects from the client's addresses.
func (s *subject) reach(ctx context.Context, targets []string) {
	reached, err := s.host.Agent.Connect(ctx, s.sources, targets)
	if err != nil {
		s.problem("%v", err)
		return
	}
	s.health.Connects = reached.Tried - reached.Failed
	if reached.Failed > 0 {
		s.problem("%d of %d connections fail: %s", reached.Failed, reached.Tried, strings.Join(reached.Why, "; "))
	}
}

// forward asks what the packet engine would miss on the client.
func (s *subject) forward(ctx context.Context, server *subject) {
	missing, err := s.host.Agent.Packet(ctx, server.addresses)
	if err != nil {
		s.problem("%v", err)
	}
	for _, what := range missing {
		s.problem("%s", what)
	}
}
