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
	Spec
	health Health
	host   *Host // nil where it is not reached
}

// Check looks at every host of a lab that can be reached. The error says why there is
// nothing to look at; faults of a host are in its Health.
func Check(ctx context.Context, name string, o Options) ([]Health, error) {
	l, failed, err := open(ctx, name, o)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	var subjects []*subject
	var all sync.WaitGroup
	for i, spec := range l.site.Hosts() {
		s := &subject{spec, Health{Name: spec.Name, Roles: spec.Roles, Addresses: slices.Concat(spec.Addresses, spec.Sources)}, l.hosts[i]}
		subjects = append(subjects, s)
		if failed[i] != nil {
			s.problem("%s", strings.TrimPrefix(failed[i].Error(), "host "+s.Name+": "))
			continue
		}
		all.Go(func() { s.look(ctx) })
	}
	all.Wait()
	sound := true
	for i, err := range l.foreign(ctx, o.Engine) {
		if err != nil {
			sound = false
			subjects[i].problem("%s", strings.TrimPrefix(err.Error(), "host "+subjects[i].Name+": "))
		}
	}
	if sound {
		if err := connect(ctx, o.Engine, subjects); err != nil {
			return nil, err
		}
	}
	var found []Health
	for _, s := range subjects {
		found = append(found, s.health)
	}
	return found, ctx.Err()
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
	h.Addresses = facts.Addresses
	h.Architecture, h.Kernel, h.Virtual, h.Emulated, h.UsableCPUs = facts.Architecture, facts.Kernel, facts.Virtual, facts.Emulated, facts.UsableCPUs
	h.NoFileSoft, h.NoFileHard = facts.Limits[probe.LimitNoFileSoft], facts.Limits[probe.LimitNoFileHard]
	h.NROpen, h.FileMax = facts.Sysctls["fs.nr_open"], facts.Sysctls["fs.file-max"]
	if _, _, err := cpus(s.Spec, facts.UsableCPUs); err != nil {
		s.problem("%v", err)
	}
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
	server := subjects[slices.IndexFunc(subjects, func(s *subject) bool { return s.Is(record.RoleServer) })]
	if server.host == nil {
		return nil
	}
	targets, err := server.host.Agent.Listen(ctx, server.Addresses)
	if err != nil {
		server.problem("nothing can listen on its address: %v", err)
		return ctx.Err()
	}
	var all sync.WaitGroup
	for _, s := range subjects {
		if s.host == nil || !s.Is(record.RoleClient) {
			continue
		}
		all.Go(func() {
			if engine == control.EnginePacket {
				s.packets(ctx, server)
			} else {
				s.connect(ctx, targets)
			}
		})
	}
	all.Wait()
	_, err = server.host.Agent.Listen(ctx, nil)
	return errors.Join(err, ctx.Err())
}

// connect connects from the client's addresses.
func (s *subject) connect(ctx context.Context, targets []string) {
	done, err := s.host.Agent.Connect(ctx, s.Sources, targets)
	if err != nil {
		s.problem("%v", err)
		return
	}
	s.health.Connects = done.Tried - done.Failed
	if done.Failed > 0 {
		s.problem("%d of %d connections fail: %s", done.Failed, done.Tried, strings.Join(done.Why, "; "))
	}
}

// packets asks what the packet engine would miss on the client.
func (s *subject) packets(ctx context.Context, server *subject) {
	targets := server.Addresses
	if s == server {
		targets = nil // nothing is forwarded
	}
	missing, err := s.host.Agent.Packet(ctx, targets)
	if err != nil {
		s.problem("%v", err)
	}
	for _, what := range missing {
		s.problem("%s", what)
	}
}
