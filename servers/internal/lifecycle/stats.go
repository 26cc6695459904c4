package lifecycle

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"syscall"
	"time"

	"connbench/servers/contract"
)

// settle collects twice, because what a sync.Pool holds outlives one collection,
// and gives the free pages back.
func settle() {
	runtime.GC()
	debug.FreeOSMemory()
}

// collections is the CPU time of this process's collections.
var collections gcTime

// stats reads the figures of this process. None of the calls stops the program.
func stats(connections int64) contract.Stats {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"},
		{Name: "/sched/goroutines:goroutines"},
		{Name: "/gc/cycles/total:gc-cycles"},
	}
	metrics.Read(samples)
	count := func(i int) *int64 { return new(int64(samples[i].Value.Uint64())) }

	// A span is in use as a whole: its free slots ("unused") cannot serve other
	// sizes, so they belong to what the heap occupies.
	heapInUse := *count(0) + *count(1)

	// runtime/metrics has pauses as a histogram only; this is their exact sum.
	var gc debug.GCStats
	debug.ReadGCStats(&gc)

	s := contract.Stats{
		Connections:    connections,
		HeapInUseBytes: &heapInUse,
		HeapLiveBytes:  count(2),
		StackBytes:     count(3),
		Goroutines:     count(4),
		GCCycles:       count(5),
		GCPauseSeconds: new(gc.PauseTotal.Seconds()),
	}
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err == nil {
		s.UserSeconds = new(time.Duration(usage.Utime.Nano()).Seconds())
		s.SystemSeconds = new(time.Duration(usage.Stime.Nano()).Seconds())
		s.GCCPUSeconds = new(collections.add(readRuntimeTimes(), *s.UserSeconds+*s.SystemSeconds))
	}
	return s
}
