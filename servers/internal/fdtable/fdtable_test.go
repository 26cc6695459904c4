package fdtable

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

func TestSlotsStayWhereTheyAre(t *testing.T) {
	var table Table[int]
	first := table.At(0)
	*first = 7
	for _, n := range []int{1, chunk - 1, chunk, 10*chunk + 3, 5 * chunk} {
		if slot := table.At(n); *slot != 0 {
			t.Errorf("slot %d is %d before it is used", n, *slot)
		}
		*table.At(n) = n
	}
	if table.At(0) != first || *first != 7 || *table.At(10*chunk + 3) != 10*chunk+3 {
		t.Error("a slot has moved when the table grew")
	}
}

// Whoever comes first makes a slot; all others get the same.
func TestSlotsAreSharedByGoroutines(t *testing.T) {
	var table Table[atomic.Int64]
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for n := range 20 * chunk {
				table.At(n).Add(1)
			}
		})
	}
	all.Wait()
	for n := range 20 * chunk {
		if got := table.At(n).Load(); got != 8 {
			t.Fatalf("slot %d was counted %d times", n, got)
		}
	}
}

// What the table takes follows the numbers that are used, and is not what it takes
// while it grows.
func TestMemoryFollowsUse(t *testing.T) {
	heap := func() int64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return int64(stats.HeapAlloc)
	}
	var table Table[[32]byte]
	before := heap()
	const slots = 100 * chunk
	for n := range slots {
		table.At(n)[0] = 1
	}
	if each := float64(heap()-before) / slots; each > 33 {
		t.Errorf("a slot of 32 bytes takes %.1f", each)
	}
	runtime.KeepAlive(&table)
}
