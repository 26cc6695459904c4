package probe

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"connbench/harness/reading"
)

func TestDescriptorsFollowOpenFiles(t *testing.T) {
	reader := here(t)
	descriptors := func() int64 {
		process, err := reader.Process(os.Getpid(), Detail)
		if err != nil {
			t.Fatal(err)
		}
		if process.Descriptors == nil {
			t.Fatalf("no count of descriptors: %q", process.Warnings)
		}
		return *process.Descriptors
	}
	descriptors() // whatever the runtime opens once is open from here on
	before := descriptors()
	const more = 25
	for range more {
		file, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
	}
	if got := descriptors() - before; got != more {
		t.Errorf("%d files opened raise the count by %d", more, got)
	}
}

func TestMemoryFollowsUse(t *testing.T) {
	reader := here(t)
	read := func() reading.Process {
		process, err := reader.Process(os.Getpid(), Detail)
		if err != nil {
			t.Fatal(err)
		}
		if len(process.Warnings) > 0 {
			t.Fatal(process.Warnings)
		}
		return process
	}
	before := read()
	const size = 64 << 20
	// Beside the Go heap, so that no collection gives other memory back.
	memory, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(memory)
	for i := 0; i < size; i += os.Getpagesize() {
		memory[i] = 1
	}
	after := read()
	for _, figure := range []struct {
		name          string
		before, after *int64
		grown         int64
	}{
		{"RSS", before.RSSBytes, after.RSSBytes, size},
		{"PSS", before.PSSBytes, after.PSSBytes, size},
	} {
		// The rest of the process may move by some MiB meanwhile.
		const slack = 8 << 20
		if got := *figure.after - *figure.before; got < figure.grown-slack || got > figure.grown+slack {
			t.Errorf("%s grew by %d bytes when %d were touched", figure.name, got, figure.grown)
		}
	}
	if *after.Threads <= 0 {
		t.Errorf("%d threads", *after.Threads)
	}
}

func TestCPUClockCountsEndedThreads(t *testing.T) {
	reader := here(t)
	spent := func() float64 {
		process, err := reader.Process(os.Getpid(), Light)
		if err != nil {
			t.Fatal(err)
		}
		if process.CPUSeconds == nil {
			t.Fatalf("no CPU time: %q", process.Warnings)
		}
		return *process.CPUSeconds
	}
	usage := func() float64 {
		var usage syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
			t.Fatal(err)
		}
		return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		for range 5 {
			Spin()
		}
	}()
	<-done
	// getrusage(2) counts ended threads; it rounds down to whole microseconds.
	const rounding = 1e-5
	low := usage() - rounding
	got := spent()
	high := usage() + rounding
	if got < low || got > high {
		t.Errorf("CPU clock says %v s, getrusage %v s just before and %v s just after", got, low, high)
	}
}

func TestEndedProcess(t *testing.T) {
	reader := here(t)
	child := exec.Command("sleep", "0")
	if err := child.Start(); err != nil {
		t.Skip("needs sleep(1):", err)
	}
	// Ended, but its exit status not yet collected: a reading would be all 0.
	deadline := time.Now().Add(30 * time.Second)
	var err error
	for !errors.Is(err, ErrEnded) {
		if time.Now().After(deadline) {
			t.Fatalf("process that has ended still reads without %q: %v", ErrEnded, err)
		}
		_, err = reader.Process(child.Process.Pid, Detail)
	}
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Process(child.Process.Pid, Light); !errors.Is(err, ErrEnded) {
		t.Errorf("process that is gone gives error %v, want %v", err, ErrEnded)
	}
}

// An old kernel: no smaps_rollup, no size of the fd folder, and not live, so
// that there is no CPU clock either.
func TestProcessOfOldKernel(t *testing.T) {
	reader := copyOf(t, map[string]string{
		"proc/42/statm":          "2000 1000 100 1 0 500 0\n",
		"proc/42/stat":           "42 (server) S 1 42 42 0 -1 4194560 100 0 0 0 250 125 0 0 20 0 3 0 100 8192000 1000 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
		"proc/42/status":         "Name:\tserver\nThreads:\t3\n",
		"proc/42/fd/0":           "",
		"proc/42/fd/1":           "",
		"proc/42/fd/7":           "",
		"proc/42/task/42/status": "Name:\tserver\nvoluntary_ctxt_switches:\t10\nnonvoluntary_ctxt_switches:\t1\n",
		"proc/42/task/43/status": "Name:\tserver\nvoluntary_ctxt_switches:\t20\nnonvoluntary_ctxt_switches:\t2\n",
		"proc/42/task/44/status": "Name:\tserver\nvoluntary_ctxt_switches:\t30\nnonvoluntary_ctxt_switches:\t3\n",
	})
	light, err := reader.Process(42, Light)
	if err != nil {
		t.Fatal(err)
	}
	if light.Descriptors != nil {
		t.Errorf("a light reading walked the descriptors: %d", *light.Descriptors)
	}
	detail, err := reader.Process(42, Detail)
	if err != nil {
		t.Fatal(err)
	}
	is(t, "RSS", detail.RSSBytes, int64(1000*os.Getpagesize()))
	is(t, "descriptors", detail.Descriptors, 3)
	is(t, "user time", detail.UserSeconds, 2.5)
	is(t, "system time", detail.SystemSeconds, 1.25)
	is(t, "threads", detail.Threads, 3)
	is(t, "voluntary switches", detail.VoluntarySwitches, 60)
	is(t, "involuntary switches", detail.InvoluntarySwitches, 6)
	missing(t, "PSS", detail.PSSBytes, detail.Warnings, "PSS: ")
	missing(t, "CPU time", detail.CPUSeconds, detail.Warnings, "CPU time: ")
	if _, err := reader.Process(43, Light); !errors.Is(err, ErrEnded) || !strings.Contains(err.Error(), "process 43") {
		t.Errorf("no such process gives error %v", err)
	}
}
