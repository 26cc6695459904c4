// Package usage reads what this process has used of the machine.
package usage

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// CPUTime is CPU time in seconds.
type CPUTime struct{ User, System float64 }

// Sub returns the time between two readings.
func (t CPUTime) Sub(before CPUTime) CPUTime {
	return CPUTime{t.User - before.User, t.System - before.System}
}

// CPU reads the CPU time of this process so far (getrusage(2)).
func CPU() CPUTime {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		panic("getrusage: " + err.Error()) // getrusage(2): only for wrong arguments
	}
	seconds := func(t unix.Timeval) float64 { return float64(t.Nano()) / 1e9 }
	return CPUTime{User: seconds(usage.Utime), System: seconds(usage.Stime)}
}

// Thread reads the scheduling of the thread that opened it. It keeps its file open,
// since there may be no descriptor left when it is read.
type Thread struct{ schedstat int }

// OpenThread opens the file to read from. A kernel without CONFIG_SCHED_INFO lacks it.
func OpenThread() Thread {
	schedstat, err := unix.Open("/proc/thread-self/schedstat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		schedstat = -1
	}
	return Thread{schedstat}
}

// RunDelay returns for how long the thread could have run and had no CPU, in
// nanoseconds: the second field of schedstat (sched-stats.rst). ok is false if the kernel
// does not say.
func (t Thread) RunDelay() (nanoseconds int64, ok bool) {
	var buffer [128]byte
	n, err := unix.Pread(t.schedstat, buffer[:], 0)
	if err != nil {
		return 0, false
	}
	fields := bytes.Fields(buffer[:n])
	if len(fields) < 2 {
		return 0, false
	}
	nanoseconds, err = strconv.ParseInt(string(fields[1]), 10, 64)
	return nanoseconds, err == nil
}

// Close gives the descriptor back.
func (t Thread) Close() { unix.Close(t.schedstat) }

// Memory reads the memory of this process. It keeps its files open, since there
// may be no descriptor left when it is read.
type Memory struct{ statm, rollup int }

// OpenMemory opens the files to read from. A kernel before 4.14 lacks the second.
func OpenMemory() (Memory, error) {
	const path = "/proc/self/statm"
	statm, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return Memory{}, fmt.Errorf("%s: %w", path, err)
	}
	rollup, err := unix.Open("/proc/self/smaps_rollup", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		rollup = -1
	}
	return Memory{statm, rollup}, nil
}

// Resident is the resident memory in bytes: the second field of
// proc_pid_statm(5), in pages.
func (m Memory) Resident() int64 {
	var buffer [128]byte
	n, err := unix.Pread(m.statm, buffer[:], 0)
	if err != nil {
		panic("/proc/self/statm: " + err.Error()) // it is open, and always readable
	}
	fields := bytes.Fields(buffer[:n])
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		panic("/proc/self/statm: " + err.Error())
	}
	return pages * int64(os.Getpagesize())
}

// Proportional is the resident memory in bytes, pages that are shared divided by
// their users (Pss of proc_pid_smaps(5)); 0 where it cannot be read. The kernel
// walks the process's pages for it.
func (m Memory) Proportional() int64 {
	var buffer [2048]byte
	n, err := unix.Pread(m.rollup, buffer[:], 0)
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(buffer[:n], []byte("\nPss:"))
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kilobytes, _ := strconv.ParseInt(string(fields[0]), 10, 64) // 0 as promised
	return kilobytes << 10
}

// Close gives the descriptors back.
func (m Memory) Close() {
	unix.Close(m.statm)
	unix.Close(m.rollup)
}
