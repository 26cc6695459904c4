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

// Memory reads the memory of this process. It keeps its file open, since there
// may be no descriptor left when it is read.
type Memory struct{ descriptor int }

// OpenMemory opens the file to read from.
func OpenMemory() (Memory, error) {
	const path = "/proc/self/statm"
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return Memory{}, fmt.Errorf("%s: %w", path, err)
	}
	return Memory{fd}, nil
}

// Resident is the resident memory in bytes: the second field of
// proc_pid_statm(5), in pages.
func (m Memory) Resident() int64 {
	var buffer [128]byte
	n, err := unix.Pread(m.descriptor, buffer[:], 0)
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

// Close gives the descriptor back.
func (m Memory) Close() { unix.Close(m.descriptor) }
