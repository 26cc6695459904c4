package lifecycle

import (
	"runtime/metrics"
	"sync"
)

// gcTime estimates the CPU time that collections took, and never says more than
// the process spent.
//
// The runtime measures by the clock on the wall, not by CPU time: a thread that
// waits for a CPU in the middle of a collection counts as collecting. Its figure
// /cpu/classes/gc/total:cpu-seconds was 7,480 s for servers that ran for 220 s on
// two CPUs, with a collection's idle workers and without. Waiting stretches all
// that the runtime measures alike, so the share of collections in its busy time is
// right, and it is taken of the CPU time that getrusage(2) says.
type gcTime struct {
	lock    sync.Mutex
	before  runtimeTimes
	cpu     float64
	seconds float64
}

// runtimeTimes are the runtime's, in seconds, as of the last collection.
type runtimeTimes struct{ collecting, busy float64 }

// add takes the times of now, and returns the CPU time of all collections so far.
func (g *gcTime) add(now runtimeTimes, cpu float64) float64 {
	g.lock.Lock()
	defer g.lock.Unlock()
	if busy := now.busy - g.before.busy; busy > 0 && cpu > g.cpu {
		share := (now.collecting - g.before.collecting) / busy
		g.seconds += min(1, max(0, share)) * (cpu - g.cpu)
	}
	g.before, g.cpu = now, cpu
	return g.seconds
}

// readRuntimeTimes reads them. Busy is the time in which the program held a CPU, or
// waited for one.
func readRuntimeTimes() runtimeTimes {
	samples := []metrics.Sample{
		{Name: "/cpu/classes/gc/total:cpu-seconds"},
		{Name: "/cpu/classes/total:cpu-seconds"},
		{Name: "/cpu/classes/idle:cpu-seconds"},
	}
	metrics.Read(samples)
	seconds := func(i int) float64 { return samples[i].Value.Float64() }
	return runtimeTimes{collecting: seconds(0), busy: seconds(1) - seconds(2)}
}
