package work

import (
	"runtime"
	"sync"
	"testing"
	"time"
)

// What is asked for is used up, by the very thread that was asked, also where
// many ask at a time and the host is busy.
func TestDoUsesUpTheTime(t *testing.T) {
	var all sync.WaitGroup
	for range 4 * runtime.GOMAXPROCS(0) {
		all.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for _, want := range []time.Duration{time.Microsecond, 100 * time.Microsecond, 5 * time.Millisecond} {
				before := threadTime()
				Do(want)
				if used := threadTime() - before; used < want {
					t.Errorf("used %v of CPU, want at least %v", used, want)
				}
			}
		})
	}
	all.Wait()
}

func TestDoAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { Do(0); Do(time.Microsecond) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkDo shows in ns/op what more than the time asked for passes.
func BenchmarkDo(b *testing.B) {
	for _, d := range []time.Duration{0, 10 * time.Microsecond, 100 * time.Microsecond} {
		b.Run(d.String(), func(b *testing.B) {
			for b.Loop() {
				Do(d)
			}
		})
	}
}
