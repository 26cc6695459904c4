package probe

import (
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// The counters of a process never fall, even if threads end and new ones get their
// numbers.
func TestCountersOutliveThreads(t *testing.T) {
	reader := copyOf(t, map[string]string{
		"proc/42/statm": "2000 1000 100 1 0 500 0\n",
		"proc/42/stat":  "42 (server) S 1 42 42 0 -1 4194560 100 0 0 0 250 125 0 0 20 0 3 0 100 8192000 1000 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
	})
	task := func(id int) string { return reader.files.Path("proc/42/task", strconv.Itoa(id)) }
	thread := func(id int, voluntary, involuntary, delay string) {
		t.Helper()
		if err := os.MkdirAll(task(id), 0o755); err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string]string{
			"status":    "Name:\tserver\nvoluntary_ctxt_switches:\t" + voluntary + "\nnonvoluntary_ctxt_switches:\t" + involuntary + "\n",
			"schedstat": "123456789 " + delay + " 17\n",
		} {
			if err := os.WriteFile(task(id)+"/"+name, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	ends := func(id int) {
		if err := os.RemoveAll(task(id)); err != nil {
			t.Fatal(err)
		}
	}
	reads := func(when string, voluntary, involuntary int64, delay float64) {
		t.Helper()
		process, err := reader.Process(42, Detail)
		if err != nil {
			t.Fatal(err)
		}
		is(t, when+": voluntary switches", process.VoluntarySwitches, voluntary)
		is(t, when+": involuntary switches", process.InvoluntarySwitches, involuntary)
		is(t, when+": run delay", process.RunDelaySeconds, delay)
	}

	thread(42, "10", "1", "1000000000")
	thread(43, "20", "2", "2000000000")
	reads("two threads", 30, 3, 3)
	thread(42, "11", "1", "1500000000")
	ends(43)
	reads("one has ended", 31, 3, 3.5)
	thread(44, "5", "5", "250000000")
	reads("another began", 36, 8, 3.75)
	thread(44, "1", "0", "100")
	reads("its number was given to a new one", 37, 8, 3.7500001)

	// A kernel without schedstat has no run delay, and everything else.
	if err := os.Remove(task(42) + "/schedstat"); err != nil {
		t.Fatal(err)
	}
	process, err := reader.Process(42, Detail)
	if err != nil {
		t.Fatal(err)
	}
	is(t, "without schedstat: voluntary switches", process.VoluntarySwitches, 37)
	missing(t, "without schedstat: run delay", process.RunDelaySeconds, process.Warnings, "run delay: ")

	if err := os.RemoveAll(reader.files.Path("proc/42")); err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Process(42, Light); err == nil || len(reader.histories) > 0 {
		t.Errorf("error %v; kept of a process that is gone: %v", err, reader.histories)
	}
}

// Two threads that work on one CPU at the same time wait for each other.
func TestRunDelayHere(t *testing.T) {
	reader := here(t)
	delay := func() float64 {
		process, err := reader.Process(os.Getpid(), Detail)
		if err != nil {
			t.Fatal(err)
		}
		if process.RunDelaySeconds == nil {
			t.Skip("this kernel does not tell: ", process.Warnings)
		}
		return *process.RunDelaySeconds
	}
	before := delay()
	var both, done sync.WaitGroup
	both.Add(2)
	for range 2 {
		done.Go(func() {
			runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
			var usable, first unix.CPUSet
			if err := unix.SchedGetaffinity(0, &usable); err != nil {
				t.Error(err)
			}
			for cpu := range 1024 {
				if usable.IsSet(cpu) {
					first.Set(cpu)
					break
				}
			}
			if err := unix.SchedSetaffinity(0, &first); err != nil {
				t.Error(err)
			}
			both.Done()
			both.Wait()
			for range 20 {
				Spin()
			}
			delay() // while both still live
		})
	}
	done.Wait()
	if after := delay(); after <= before {
		t.Errorf("run delay was %v s and is %v s after two threads have shared a CPU", before, after)
	}
}
