package trial

import (
	"context"
	"sync"
	"time"

	"connbench/harness/probe"
	"connbench/harness/record"
)

// sampleEvery is how often the watch looks.
const sampleEvery = 500 * time.Millisecond

// watch samples the trial over time, and stops the ramp before the host runs out
// of memory.
type watch struct {
	run    *run
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup

	lock     sync.Mutex
	phase    string
	open     int
	messages int64
	// slab is what the first reading had of reclaimable slab.
	slab *int64
	// reserve is the available memory that made it stop the ramp, 0 before that.
	reserve int64
}

func startWatch(ctx context.Context, r *run) *watch {
	w := &watch{run: r}
	w.ctx, w.cancel = context.WithCancel(ctx)
	r.swarm.onProgress = func(open int, messages int64) {
		w.lock.Lock()
		w.open, w.messages = open, messages
		w.lock.Unlock()
		r.Progress.Update(open, messages)
	}
	w.done.Go(w.loop)
	return w
}

func (w *watch) stop() {
	w.cancel()
	w.done.Wait()
}

func (w *watch) setPhase(name string) {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.phase, w.messages = name, 0
}

// reserveReached tells the available memory at the moment when the watch stopped the
// ramp, 0 if it did not.
func (w *watch) reserveReached() int64 {
	w.lock.Lock()
	defer w.lock.Unlock()
	return w.reserve
}

func (w *watch) loop() {
	ticks := time.NewTicker(sampleEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
			w.sample()
		case <-w.ctx.Done():
			return
		}
	}
}

// left is MemAvailable without the slab that has come with the connections. The
// kernel counts their inodes and dentries as given back on demand, which they are
// not while they are in use (its Documentation/filesystems/proc.rst, MemAvailable):
// over a KiB for each socket, gigabytes for millions.
func (w *watch) left(memory probe.Memory) *int64 {
	if memory.Available == nil || memory.Reclaimable == nil {
		return memory.Available
	}
	if w.slab == nil {
		w.slab = memory.Reclaimable
	}
	return new(*memory.Available - max(0, *memory.Reclaimable-*w.slab))
}

// short says whether the ramp must end for what is left of memory; w.lock is held.
func (w *watch) short(memory probe.Memory) bool {
	left := w.left(memory)
	if !w.ramping() || left == nil || *left >= w.run.Plan.MemoryReserveBytes {
		return false
	}
	if w.reserve == 0 {
		w.reserve = *left
	}
	return true
}

func (w *watch) sample() {
	r := w.run
	measured, err := r.Lab.Server.Agent.Measure(w.ctx, r.fleet.processes, false)
	if err != nil {
		return // a process has ended: the command that runs will say so
	}
	now := reading{measured: measured}
	memory := measured.System.Memory
	w.lock.Lock()
	s := record.Sample{
		Trial: r.Trial, Phase: w.phase, Seconds: time.Since(r.started).Seconds(),
		Open: w.open, Messages: w.messages,
		ServerRSSBytes: now.rss(), ServerCPUSeconds: now.cpuSeconds(),
		KernelBytes: measured.System.KernelBytes(), AvailableBytes: memory.Available,
	}
	short := w.short(memory)
	w.lock.Unlock()
	if tree, err := r.swarm.tree(w.ctx); err == nil {
		s.ClientRSSBytes, s.ClientCPUSeconds = &tree.RSSBytes, &tree.CPUSeconds
	}
	r.Sample(s)
	if short {
		w.stopRamp()
	}
}

// stopRamp is called each time that memory is short: between two steps there was
// nothing to stop. The next phase waits until the order is given, lest it meets a
// command of that.
func (w *watch) stopRamp() {
	w.lock.Lock()
	defer w.lock.Unlock()
	if w.ramping() {
		w.run.swarm.stopCommand(w.ctx)
	}
}

// ramping is true in a phase that the reserve ends; w.lock is held.
func (w *watch) ramping() bool { return w.phase == "ramp" || w.phase == "settled ramp" }
