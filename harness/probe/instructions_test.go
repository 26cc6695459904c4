package probe

import (
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"connbench/harness/probe/perf"
)

// Threads that begin after the counter does are counted, and stay counted when
// they have ended. Few test machines count instructions: the kernel's own clock of
// a task stands for them.
func TestCounterFollowsThreads(t *testing.T) {
	reader := here(t)
	reader.event = perf.Event{Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_TASK_CLOCK}
	read := func() int64 {
		process, err := reader.Process(os.Getpid(), Detail)
		if err != nil {
			t.Fatal(err)
		}
		if process.UserInstructions == nil {
			t.Skip("no counters here: ", process.NoInstructions)
		}
		return *process.UserInstructions
	}
	before := read()
	spent := make(chan time.Duration)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		var begin, end unix.Timespec
		unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &begin)
		for range 10 {
			Spin()
		}
		unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &end)
		spent <- time.Duration(end.Nano() - begin.Nano())
	}()
	thread := <-spent
	if counted := time.Duration(read() - before); counted < thread*9/10 {
		t.Errorf("counted %v of a thread that took %v", counted, thread)
	}

	for process, h := range reader.histories {
		reader.forget(process.pid)
		if _, err := h.instructions.Read(); err == nil {
			t.Error("the counter of a process that has ended stays open")
		}
	}
}

func TestCountOrReason(t *testing.T) {
	// Whatever this machine has: a count, or the reason why there is none.
	live := here(t)
	process, err := live.Process(os.Getpid(), Detail)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(process.NoInstructions)
	if (process.UserInstructions == nil) != (process.NoInstructions != "") {
		t.Errorf("instructions %v, reason %q", process.UserInstructions, process.NoInstructions)
	}
}
