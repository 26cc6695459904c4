package session

import (
	"context"
	"sync"
	"time"

	"connbench/harness/cause"
	"connbench/harness/reading"
	"connbench/harness/record"
)

// sampleEvery is the time between two samples.
const sampleEvery = 500 * time.Millisecond

// sampler samples a session over time, and ends its ramp before the host runs out
// of memory.
type sampler struct {
	Watch
	session *Session
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	lock     sync.Mutex
	phase    string
	opens    bool // the phase opens connections
	open     int
	messages int64
	// slab is the reclaimable slab of the first sample.
	slab *int64
	// shortage is for what the ramp was ended, nil before.
	shortage *cause.Shortage
}

func startSampler(ctx context.Context, session *Session, w Watch) *sampler {
	s := &sampler{session: session, Watch: w}
	s.ctx, s.cancel = context.WithCancel(ctx)
	session.Swarm.OnProgress(func(open int, messages int64) {
		s.lock.Lock()
		s.open, s.messages = open, messages
		s.lock.Unlock()
		w.Update(open, messages)
	})
	s.running.Go(s.loop)
	return s
}

func (s *sampler) stop() {
	s.cancel()
	s.running.Wait()
}

func (s *sampler) enter(phase string, opens bool) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.phase, s.opens, s.messages = phase, opens, 0
}

func (s *sampler) reserveReached() *cause.Shortage {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.shortage
}

func (s *sampler) loop() {
	ticks := time.NewTicker(sampleEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
			s.sample()
		case <-s.ctx.Done():
			return
		}
	}
}

// available is MemAvailable without the slab that has come with the connections.
// The kernel counts their inodes and dentries as memory that it can reclaim, which
// it cannot while they are in use (its Documentation/filesystems/proc.rst,
// MemAvailable): more than a KiB for each socket, gigabytes for millions.
func (s *sampler) available(memory reading.Memory) *int64 {
	if memory.Available == nil || memory.Reclaimable == nil {
		return memory.Available
	}
	if s.slab == nil {
		s.slab = memory.Reclaimable
	}
	return new(*memory.Available - max(0, *memory.Reclaimable-*s.slab))
}

// short reports whether the ramp must end because memory runs out, that of the host
// or that of a control group; s.lock is held.
func (s *sampler) short(system reading.System) bool {
	available := s.available(system.Memory)
	if !s.opens {
		return false
	}
	var found *cause.Shortage
	if available != nil && *available < s.ReserveBytes {
		found = &cause.Shortage{AvailableBytes: *available, ReserveBytes: s.ReserveBytes}
	}
	if group := system.Groups.Memory; group != nil && group.Left() < group.Reserve(s.ReserveBytes) {
		found = &cause.Shortage{AvailableBytes: group.Left(), ReserveBytes: group.Reserve(s.ReserveBytes), Group: group.Folder}
	}
	if s.shortage == nil {
		s.shortage = found
	}
	return found != nil
}

func (s *sampler) sample() {
	measured, err := s.session.Server.Measure(s.ctx, false)
	if err != nil {
		return // a process has ended: the command that runs will say so
	}
	now := Reading{Measured: measured}
	memory := measured.System.Memory
	s.lock.Lock()
	sample := record.Sample{
		Trial: s.Trial, Phase: s.phase, Seconds: time.Since(s.Started).Seconds(),
		Open: s.open, Messages: s.messages,
		ServerRSSBytes: now.RSSBytes(), ServerCPUSeconds: now.CPUSeconds(),
		KernelBytes: measured.System.KernelBytes(), AvailableBytes: memory.Available,
	}
	short := s.short(measured.System)
	s.lock.Unlock()
	if used, err := s.session.Swarm.Usage(s.ctx); err == nil {
		sample.ClientRSSBytes, sample.ClientCPUSeconds = &used.RSSBytes, &used.CPUSeconds
	}
	s.Sample(sample)
	if short {
		s.endRamp()
	}
}

// endRamp interrupts the swarm, each time that memory is short: between two steps
// of a ramp there was no command to end. The lock keeps the next phase from
// beginning before the order is given, which would end a command of that phase.
func (s *sampler) endRamp() {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.opens {
		s.session.Swarm.Interrupt(s.ctx)
	}
}
