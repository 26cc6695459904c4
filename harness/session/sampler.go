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
	peakRSS  *int64 // of the server, in this phase
	// slab is the reclaimable slab in the first sample.
	slab *int64
	// shortage is the memory that ran short when the ramp was ended; nil before.
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
	s.phase, s.opens, s.messages, s.peakRSS = phase, opens, 0, nil
}

// forgetPeak begins anew with the peak of the server's memory.
func (s *sampler) forgetPeak() {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.peakRSS = nil
}

// larger returns the larger of two numbers. Either may be nil.
func larger(a, b *int64) *int64 {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}

// lastOpen returns the number of connections that the swarm last reported.
func (s *sampler) lastOpen() int {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.open
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

// available returns MemAvailable without the slab that has come with the connections. The
// kernel counts their inodes and dentries as reclaimable, although they are in use
// (MemAvailable in Documentation/filesystems/proc.rst): more than a KiB for each socket.
func (s *sampler) available(memory reading.Memory) *int64 {
	if memory.Available == nil || memory.Reclaimable == nil {
		return memory.Available
	}
	if s.slab == nil {
		s.slab = memory.Reclaimable
	}
	return new(*memory.Available - max(0, *memory.Reclaimable-*s.slab))
}

// short reports whether the ramp must end because the memory of the host, or of a control
// group, runs out. The caller holds s.lock.
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
		return // a process has ended, and the running command will say so
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
	s.peakRSS = larger(s.peakRSS, sample.ServerRSSBytes)
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

// endRamp interrupts the swarm. It is called with every sample while memory is short,
// because between two steps of a ramp there is no command to interrupt. The lock keeps the
// next phase from starting a command meanwhile, which must not be interrupted.
func (s *sampler) endRamp() {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.opens {
		s.session.Swarm.Interrupt(s.ctx)
	}
}
