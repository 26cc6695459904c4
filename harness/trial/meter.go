package trial

import (
	"context"
	"time"

	"connbench/clients/control"
	"connbench/harness/agent"
	"connbench/harness/probe"
	"connbench/harness/record"
	"connbench/servers/contract"
)

// meter reads the server and its host, and adds up what a phase costs: the
// difference of cumulative counters between its begin and its end, over as many
// pieces as it comes in.
type meter struct {
	ctx   context.Context
	host  *agent.Client
	fleet *fleet

	phases []record.Phase
	name   string
	from   reading
	last   reading
	first  *reading
	// swarmSeconds is the CPU time of the swarm's commands, counted or not.
	swarmSeconds float64
}

// reading is everything at one moment.
type reading struct {
	at       time.Time
	measured agent.Measurement
	stats    contract.Stats
}

// read takes a reading. The question comes after the clocks are read, so that
// answering it is not part of a phase that ends here.
func (m *meter) read() (reading, error) {
	r := reading{at: time.Now()}
	var err error
	if r.measured, err = m.host.Measure(m.ctx, m.fleet.processes, true); err != nil {
		return r, err
	}
	if r.stats, err = m.fleet.ask(m.ctx, contract.QuestionStats); err != nil {
		return r, err
	}
	m.keep(r)
	return r, nil
}

// settle has the server collect its garbage, and then takes a reading.
func (m *meter) settle() (reading, error) {
	r, err := m.after(contract.QuestionSettle)
	if err != nil {
		return r, err
	}
	m.keep(r)
	return r, nil
}

// after puts a question first and reads the clocks last, so that answering is
// not part of a phase that begins here.
func (m *meter) after(question string) (r reading, err error) {
	if r.stats, err = m.fleet.ask(m.ctx, question); err != nil {
		return r, err
	}
	r.measured, err = m.host.Measure(m.ctx, m.fleet.processes, true)
	r.at = time.Now()
	return r, err
}

func (m *meter) keep(r reading) {
	m.last = r
	if m.first == nil {
		m.first = &r
	}
}

// begin starts a piece of a phase.
func (m *meter) begin(name string) (err error) {
	m.name = name
	m.from, err = m.after(contract.QuestionStats)
	return err
}

// end adds the piece to its phase and returns the piece alone. The swarm tells
// what it spent itself.
func (m *meter) end(events int64, swarm control.Usage) (record.Phase, error) {
	to, err := m.read()
	if err != nil {
		return record.Phase{}, err
	}
	piece := record.Phase{Name: m.name}
	for _, p := range []*record.Phase{&piece, m.phase(m.name)} {
		m.add(p, to, events, swarm)
	}
	return piece, nil
}

// add adds what has passed since the piece began to p.
func (m *meter) add(p *record.Phase, to reading, events int64, swarm control.Usage) {
	from := m.from
	p.Seconds += to.at.Sub(from.at).Seconds()
	p.Events += events
	p.ServerCPUSeconds = grow(p.ServerCPUSeconds, from.cpuSeconds(), to.cpuSeconds())
	user := grow(nil, from.stats.UserSeconds, to.stats.UserSeconds)
	system := grow(nil, from.stats.SystemSeconds, to.stats.SystemSeconds)
	if user == nil || system == nil { // not reported: the kernel's split, to 10 ms
		user = grow(nil, from.sum(userSeconds), to.sum(userSeconds))
		system = grow(nil, from.sum(systemSeconds), to.sum(systemSeconds))
	}
	p.ServerUserSeconds = plus(p.ServerUserSeconds, user)
	p.ServerSystemSeconds = plus(p.ServerSystemSeconds, system)
	p.ClientCPUSeconds = plus(p.ClientCPUSeconds, new(swarm.UserSeconds+swarm.SystemSeconds))
	host := to.measured.System.Since(from.measured.System, nil)
	p.SoftirqSeconds = plus(p.SoftirqSeconds, host.SoftIRQSeconds)
	p.StealSeconds = plus(p.StealSeconds, host.StealSeconds)
	p.GCCycles = grow(p.GCCycles, from.stats.GCCycles, to.stats.GCCycles)
	p.GCPauseSeconds = grow(p.GCPauseSeconds, from.stats.GCPauseSeconds, to.stats.GCPauseSeconds)
	p.GCCPUSeconds = grow(p.GCCPUSeconds, from.stats.GCCPUSeconds, to.stats.GCCPUSeconds)
	p.VoluntarySwitches = grow(p.VoluntarySwitches, from.count(voluntary), to.count(voluntary))
	p.InvoluntarySwitches = grow(p.InvoluntarySwitches, from.count(involuntary), to.count(involuntary))
	for name, change := range host.Counters {
		if p.Counters == nil {
			p.Counters = map[string]int64{}
		}
		p.Counters[name] += change
	}
}

func (m *meter) phase(name string) *record.Phase {
	for i := range m.phases {
		if m.phases[i].Name == name {
			return &m.phases[i]
		}
	}
	m.phases = append(m.phases, record.Phase{Name: name})
	return &m.phases[len(m.phases)-1]
}

// grow adds to-from to sum; nil where either is unknown.
func grow[T int64 | float64](sum, from, to *T) *T {
	if from == nil || to == nil {
		return sum
	}
	return plus(sum, new(*to-*from))
}

// plus adds more to sum, which is nil before the first time.
func plus[T int64 | float64](sum, more *T) *T {
	switch {
	case more == nil:
		return sum
	case sum == nil:
		return more
	}
	return new(*sum + *more)
}

// sum adds up a figure of all server processes; nil where one does not have it.
func (r reading) sum(figure func(probe.Process) *float64) *float64 {
	return sumOf(r.measured.Processes, figure)
}

func (r reading) count(figure func(probe.Process) *int64) *int64 {
	return sumOf(r.measured.Processes, figure)
}

func sumOf[T int64 | float64](processes []probe.Process, figure func(probe.Process) *T) *T {
	sum := new(T)
	for _, p := range processes {
		if sum = add(sum, figure(p)); sum == nil {
			return nil
		}
	}
	return sum
}

func (r reading) cpuSeconds() *float64 {
	return r.sum(func(p probe.Process) *float64 { return p.CPUSeconds })
}

func (r reading) rss() *int64 {
	return r.count(func(p probe.Process) *int64 { return p.RSSBytes })
}

func (r reading) descriptors() *int64 {
	return r.count(func(p probe.Process) *int64 { return p.Descriptors })
}

func userSeconds(p probe.Process) *float64   { return p.UserSeconds }
func systemSeconds(p probe.Process) *float64 { return p.SystemSeconds }
func voluntary(p probe.Process) *int64       { return p.VoluntarySwitches }
func involuntary(p probe.Process) *int64     { return p.InvoluntarySwitches }

// pointOf is a reading as a point of a ramp.
func pointOf(read reading, open int) record.Step {
	system := read.measured.System
	return record.Step{
		Connections:      open,
		RSSBytes:         read.rss(),
		PSSBytes:         read.count(func(p probe.Process) *int64 { return p.PSSBytes }),
		HeapInUseBytes:   read.stats.HeapInUseBytes,
		LiveHeapBytes:    read.stats.HeapLiveBytes,
		StackBytes:       read.stats.StackBytes,
		Goroutines:       read.stats.Goroutines,
		Threads:          read.count(func(p probe.Process) *int64 { return p.Threads }),
		Descriptors:      read.descriptors(),
		KernelBytes:      system.KernelBytes(),
		GroupKernelBytes: read.measured.GroupKernelBytes,
		AvailableBytes:   system.Memory.Available,
		ServerCount:      &read.stats.Connections,
		CPUSeconds:       read.cpuSeconds(),
		Kernel:           system.Kernel(),
	}
}
