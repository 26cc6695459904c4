package probe

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestTotal(t *testing.T) {
	for _, test := range []struct {
		name  string
		parts []part
		want  int64
		fails string
	}{
		{"nothing", nil, 0, ""},
		{"two threads", []part{{5_000_000_000, 7e6, 7e6}, {3, 1, 1}}, 5_000_000_003, ""},
		{"one that never ran", []part{{10, 5, 5}, {0, 0, 0}}, 10, ""},
		{"counters shared", []part{{10, 5e6, 5e6}, {10, 8e6, 4e6}}, 0, "ours ran for 9 of 13 ms"},
	} {
		got, err := total(test.parts)
		if test.fails != "" {
			if err == nil || !strings.Contains(err.Error(), test.fails) {
				t.Errorf("%s: error %v, want one with %q", test.name, err, test.fails)
			}
		} else if err != nil || got != test.want {
			t.Errorf("%s: %d, %v, want %d", test.name, got, err, test.want)
		}
	}
}

// Threads that begin after the counter does are counted, and stay counted when
// they have ended. Few test machines count instructions: the kernel's own clock of
// a task stands for them.
func TestCounterFollowsThreads(t *testing.T) {
	reader := here(t)
	reader.event = event{unix.PERF_TYPE_SOFTWARE, unix.PERF_COUNT_SW_TASK_CLOCK}
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
		if _, err := h.instructions.read(); err == nil {
			t.Error("the counter of a process that has ended stays open")
		}
	}
}

func TestNoCounters(t *testing.T) {
	reader := tree(t, map[string]string{"proc/sys/kernel/perf_event_paranoid": "4\n"})
	for _, test := range []struct {
		err  error
		want string
	}{
		{unix.ENOENT, "the CPU shows no counters, as in most virtual machines"},
		{unix.EACCES, "not permitted: kernel.perf_event_paranoid is 4"},
		{unix.ENOSYS, "this kernel has no perf_event_open(2)"},
		{unix.EMFILE, "too many open files"},
	} {
		if got := reader.refusal(test.err).Error(); got != test.want {
			t.Errorf("%v: %q, want %q", test.err, got, test.want)
		}
	}

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
