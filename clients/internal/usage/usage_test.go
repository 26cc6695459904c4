package usage

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"connbench/scripts/needs"
)

func TestRunDelay(t *testing.T) {
	for text, want := range map[string]int64{
		"1000 2500000 7\n": 2_500_000,
		"0 0 0\n":          0,
		"1000\n":           -1,
		"a b c\n":          -1,
	} {
		path := filepath.Join(t.TempDir(), "schedstat")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		thread := Thread{fd}
		got, ok := thread.RunDelay()
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: %d, %t; want %d", text, got, ok, want)
		}
		thread.Close()
	}
	if _, ok := (Thread{-1}).RunDelay(); ok {
		t.Error("a file that is not there has a run delay")
	}
}

// A thread's delay never falls.
func TestRunDelayOfThisThread(t *testing.T) {
	needs.File(t, "/proc/thread-self/schedstat", "CONFIG_SCHED_INFO")
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	thread := OpenThread()
	defer thread.Close()
	before, ok := thread.RunDelay()
	if !ok {
		t.Fatal("the run delay cannot be read")
	}
	for range 100 {
		runtime.Gosched()
		after, _ := thread.RunDelay()
		if after < before {
			t.Fatalf("%d, and then %d", before, after)
		}
		before = after
	}
}
