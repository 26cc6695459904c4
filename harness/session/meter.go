package session

import (
	"context"
	"errors"
	"time"

	"connbench/clients/control"
	"connbench/harness/agent"
	"connbench/harness/reading"
	"connbench/harness/record"
	"connbench/servers/contract"
)

// Meter reads the server and its host, and adds up what each phase costs: the differences
// of cumulative counters between begin and end of each of its pieces.
type Meter struct {
	// First and Last are the first and the latest reading. First is nil before the first.
	First *Reading
	Last  Reading
	// Phases are the costs of the phases so far.
	Phases []record.Phase
	// SwarmSeconds is the CPU time of all commands of the swarm, metered or not.
	SwarmSeconds float64
	// EndedSeconds is the CPU time of the server's processes that were replaced by others. First
	// and Last are of those that run.
	EndedSeconds float64

	server Server
	name   string
	from   Reading
}

// Reading is all figures of the server and its host at one moment.
type Reading struct {
	At       time.Time
	Measured agent.Measurement
	// Stats are the server's own figures; zero if it gives none.
	Stats contract.Stats
	// Answers is true if the server gives figures of its own.
	Answers bool
}

// Read takes a reading. It asks the server after it has read the clocks, so that the
// answer does not count towards a phase that ends here.
func (m *Meter) Read(ctx context.Context) (Reading, error) {
	r := Reading{At: time.Now()}
	var err error
	if r.Measured, err = m.server.Measure(ctx, true); err != nil {
		return r, err
	}
	if err = r.ask(ctx, m.server, contract.QuestionStats); err != nil {
		return r, err
	}
	m.keep(r)
	return r, nil
}

// ask asks the server a question, if it answers any.
func (r *Reading) ask(ctx context.Context, server Server, question string) (err error) {
	r.Stats, err = server.Ask(ctx, question)
	r.Answers = err == nil
	if errors.Is(err, ErrNoAnswers) {
		r.Stats, err = contract.Stats{}, nil
	}
	return err
}

// Settle has the server collect its garbage and give memory back, then takes a reading.
func (m *Meter) Settle(ctx context.Context) (Reading, error) {
	r, err := m.after(ctx, contract.QuestionSettle)
	if err != nil {
		return r, err
	}
	m.keep(r)
	return r, nil
}

// after asks the server before it reads the clocks, so that the answer does not count
// towards a phase that begins here.
func (m *Meter) after(ctx context.Context, question string) (r Reading, err error) {
	if err = r.ask(ctx, m.server, question); err != nil {
		return r, err
	}
	r.Measured, err = m.server.Measure(ctx, true)
	r.At = time.Now()
	return r, err
}

func (m *Meter) keep(r Reading) {
	m.Last = r
	if m.First == nil {
		m.First = &r
	}
}

// Begin starts a piece of a phase.
func (m *Meter) Begin(ctx context.Context, phase string) (err error) {
	m.name = phase
	m.from, err = m.after(ctx, contract.QuestionStats)
	return err
}

// restarted notes that the server has new processes, whose counters begin at 0, in the middle of
// a piece. What the old ones did in it is not part of the piece.
func (m *Meter) restarted() {
	if first, last := m.First.CPUSeconds(), m.from.CPUSeconds(); first != nil && last != nil {
		m.EndedSeconds += *last - *first
	}
	first := m.First.fresh()
	m.First, m.from = &first, m.from.fresh()
}

// fresh returns the reading with the cumulative figures of new processes.
func (r Reading) fresh() Reading {
	processes := make([]reading.Process, len(r.Measured.Processes))
	for i, p := range r.Measured.Processes {
		zero(&p.CPUSeconds, &p.UserSeconds, &p.SystemSeconds, &p.RunDelaySeconds)
		zero(&p.VoluntarySwitches, &p.InvoluntarySwitches, &p.UserInstructions)
		processes[i] = p
	}
	r.Measured.Processes = processes
	zero(&r.Stats.UserSeconds, &r.Stats.SystemSeconds, &r.Stats.GCPauseSeconds, &r.Stats.GCCPUSeconds)
	zero(&r.Stats.GCCycles)
	return r
}

// zero sets figures that are known to 0.
func zero[T int64 | float64](figures ...**T) {
	for _, f := range figures {
		if *f != nil {
			*f = new(T)
		}
	}
}

// End adds the piece to its phase, and returns the piece alone. swarm is what the swarm
// says that it spent.
func (m *Meter) End(ctx context.Context, events int64, swarm control.Usage) (record.Phase, error) {
	to, err := m.Read(ctx)
	if err != nil {
		return record.Phase{}, err
	}
	piece := record.Phase{Name: m.name}
	for _, p := range []*record.Phase{&piece, m.phase(m.name)} {
		addPiece(p, m.from, to, events, swarm)
	}
	return piece, nil
}

// Lap ends a piece and starts the next one of the same phase with the same reading, so
// that nothing between them is left out.
func (m *Meter) Lap(ctx context.Context, events int64, swarm control.Usage) (Reading, error) {
	if _, err := m.End(ctx, events, swarm); err != nil {
		return Reading{}, err
	}
	m.from = m.Last
	return m.Last, nil
}

// addPiece adds to p what happened between two readings.
func addPiece(p *record.Phase, from, to Reading, events int64, swarm control.Usage) {
	p.Seconds += to.At.Sub(from.At).Seconds()
	p.Events += events
	p.ServerCPUSeconds = grow(p.ServerCPUSeconds, from.CPUSeconds(), to.CPUSeconds())
	user := grow(nil, from.Stats.UserSeconds, to.Stats.UserSeconds)
	system := grow(nil, from.Stats.SystemSeconds, to.Stats.SystemSeconds)
	if user == nil || system == nil { // the server does not report it: the kernel's split, to 10 ms
		user = grow(nil, from.sum(userSeconds), to.sum(userSeconds))
		system = grow(nil, from.sum(systemSeconds), to.sum(systemSeconds))
	}
	p.ServerUserSeconds = plus(p.ServerUserSeconds, user)
	p.ServerSystemSeconds = plus(p.ServerSystemSeconds, system)
	p.ServerRunDelaySeconds = grow(p.ServerRunDelaySeconds, from.sum(runDelay), to.sum(runDelay))
	p.ServerInstructions = grow(p.ServerInstructions, from.count(instructions), to.count(instructions))
	p.ClientCPUSeconds = plus(p.ClientCPUSeconds, new(swarm.UserSeconds+swarm.SystemSeconds))
	host := to.Measured.System.Since(from.Measured.System, nil)
	p.SoftirqSeconds = plus(p.SoftirqSeconds, host.SoftIRQSeconds)
	p.StealSeconds = plus(p.StealSeconds, host.StealSeconds)
	p.ThrottledSeconds = plus(p.ThrottledSeconds, host.ThrottledSeconds)
	p.GCCycles = grow(p.GCCycles, from.Stats.GCCycles, to.Stats.GCCycles)
	p.GCPauseSeconds = grow(p.GCPauseSeconds, from.Stats.GCPauseSeconds, to.Stats.GCPauseSeconds)
	p.GCCPUSeconds = grow(p.GCCPUSeconds, from.Stats.GCCPUSeconds, to.Stats.GCCPUSeconds)
	p.VoluntarySwitches = grow(p.VoluntarySwitches, from.count(voluntary), to.count(voluntary))
	p.InvoluntarySwitches = grow(p.InvoluntarySwitches, from.count(involuntary), to.count(involuntary))
	for name, change := range host.Counters {
		if p.Counters == nil {
			p.Counters = map[string]int64{}
		}
		p.Counters[name] += change
	}
}

func (m *Meter) phase(name string) *record.Phase {
	for i := range m.Phases {
		if m.Phases[i].Name == name {
			return &m.Phases[i]
		}
	}
	m.Phases = append(m.Phases, record.Phase{Name: name})
	return &m.Phases[len(m.Phases)-1]
}

// grow adds to-from to sum. It returns sum unchanged if either is unknown.
func grow[T int64 | float64](sum, from, to *T) *T {
	if from == nil || to == nil {
		return sum
	}
	return plus(sum, new(*to-*from))
}

// plus adds more to sum, which is nil at first.
func plus[T int64 | float64](sum, more *T) *T {
	switch {
	case more == nil:
		return sum
	case sum == nil:
		return more
	}
	return new(*sum + *more)
}

// Add returns the sum of two figures; nil if either is unknown.
func Add[T int64 | float64](a, b *T) *T {
	if a == nil || b == nil {
		return nil
	}
	return new(*a + *b)
}

// sum adds up a figure of all server processes; nil if it is unknown of one.
func (r Reading) sum(figure func(reading.Process) *float64) *float64 {
	return sumOf(r.Measured.Processes, figure)
}

func (r Reading) count(figure func(reading.Process) *int64) *int64 {
	return sumOf(r.Measured.Processes, figure)
}

func sumOf[T int64 | float64](processes []reading.Process, figure func(reading.Process) *T) *T {
	if len(processes) == 0 { // nobody can look at them
		return nil
	}
	sum := new(T)
	for _, p := range processes {
		if sum = Add(sum, figure(p)); sum == nil {
			return nil
		}
	}
	return sum
}

// Connections returns the number of connections by the server's own count; nil if it gives
// none.
func (r Reading) Connections() *int64 {
	if !r.Answers {
		return nil
	}
	return &r.Stats.Connections
}

// CPUSeconds returns the cumulative CPU time of the server; nil if it is unknown.
func (r Reading) CPUSeconds() *float64 {
	return r.sum(func(p reading.Process) *float64 { return p.CPUSeconds })
}

// RSSBytes returns the resident memory of the server; nil if it is unknown.
func (r Reading) RSSBytes() *int64 {
	return r.count(func(p reading.Process) *int64 { return p.RSSBytes })
}

// Descriptors returns the number of descriptors that the server has open; nil if it is
// unknown.
func (r Reading) Descriptors() *int64 {
	return r.count(func(p reading.Process) *int64 { return p.Descriptors })
}

// Fullest returns the descriptors and their limit (RLIMIT_NOFILE) of the process that has the
// fewest left; nil and 0 if that is unknown.
func (r Reading) Fullest() (descriptors *int64, limit int64) {
	for _, p := range r.Measured.Processes {
		if p.Descriptors == nil || p.MostDescriptors == nil {
			continue
		}
		if descriptors == nil || *p.MostDescriptors-*p.Descriptors < limit-*descriptors {
			descriptors, limit = p.Descriptors, *p.MostDescriptors
		}
	}
	return descriptors, limit
}

func userSeconds(p reading.Process) *float64   { return p.UserSeconds }
func systemSeconds(p reading.Process) *float64 { return p.SystemSeconds }
func runDelay(p reading.Process) *float64      { return p.RunDelaySeconds }
func instructions(p reading.Process) *int64    { return p.UserInstructions }
func voluntary(p reading.Process) *int64       { return p.VoluntarySwitches }
func involuntary(p reading.Process) *int64     { return p.InvoluntarySwitches }

// NoInstructions says why the server's instructions were not counted; "" if they were.
func (r Reading) NoInstructions() string {
	for _, p := range r.Measured.Processes {
		if p.NoInstructions != "" {
			return p.NoInstructions
		}
	}
	return ""
}

// ownEnds returns how many sockets of ours are on the server's kernel with open connections:
// ends for each. Nobody knows how many a server that somebody else has started holds for
// each connection, since a proxy holds two: what its descriptors grew by.
func (r Reading) ownEnds(open int, empty Reading, ends int) int64 {
	now, before := r.Descriptors(), empty.Descriptors()
	if r.Answers || now == nil || before == nil {
		return int64(open * ends)
	}
	return int64(open*(ends-1)) + *now - *before
}

// Step returns the reading as a point of a ramp with open connections. empty is the
// reading of the empty server, and ends is how many ends of a connection its kernel holds.
// From these it subtracts the sockets that other programs have opened since from the
// kernel's memory.
func (r Reading) Step(open int, empty Reading, ends int) record.Step {
	var group *reading.Charge
	if now, before := r.Measured.GroupKernelBytes, empty.Measured.GroupKernelBytes; now != nil && before != nil {
		group = &reading.Charge{Bytes: *now - *before, Ends: int64(open)}
	}
	system, foreign := r.Measured.System.WithoutForeign(empty.Measured.System, r.ownEnds(open, empty, ends), int64(open), group)
	return record.Step{
		ForeignSockets:   foreign.Sockets,
		KernelDoubt:      foreign.Doubt,
		Connections:      open,
		RSSBytes:         r.RSSBytes(),
		PSSBytes:         r.count(func(p reading.Process) *int64 { return p.PSSBytes }),
		HeapInUseBytes:   r.Stats.HeapInUseBytes,
		LiveHeapBytes:    r.Stats.HeapLiveBytes,
		StackBytes:       r.Stats.StackBytes,
		Goroutines:       r.Stats.Goroutines,
		Threads:          r.count(func(p reading.Process) *int64 { return p.Threads }),
		Descriptors:      r.Descriptors(),
		KernelBytes:      system.KernelBytes(),
		GroupKernelBytes: r.Measured.GroupKernelBytes,
		AvailableBytes:   system.Memory.Available,
		ServerCount:      r.Connections(),
		CPUSeconds:       r.CPUSeconds(),
		Kernel:           system.Kernel(),
	}
}
