// Package work is what a message costs a server besides its echo: a stated CPU
// time, the same for every Go variant.
//
// The thread's CPU clock says when it is done, not a loop that was calibrated
// once. Such a loop is a fixed number of instructions, but how many was settled
// in one moment of one process: on a host that was busy just then, that server
// would do less than the next one. The clock stands still while the thread is
// descheduled, so that a busy host delays the work and does not shorten it. Two
// things it cannot tell: how fast the CPU ran, and, where the kernel does not
// account for it, what a hypervisor took.
package work

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// stepsPerReading takes one or two microseconds: longer than reading the clock,
// which is a system call, and short against the work.
const stepsPerReading = 500

// Do uses up d of CPU time and returns, at most some microseconds later; at once
// if d is 0. It does not allocate, and is safe for concurrent use.
func Do(d time.Duration) {
	if d > 0 {
		spin(d)
	}
}

func spin(d time.Duration) {
	// Each thread has a clock of its own.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	end := threadTime() + d
	for state := uint64(1); threadTime() < end; {
		state = calculate(state)
	}
}

// calculate is work for one core's arithmetic alone: no memory, so that caches
// and their neighbours do not change what it takes.
//
//go:noinline
func calculate(state uint64) uint64 {
	for range stepsPerReading {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
	}
	return state
}

// threadTime is the CPU time of the calling thread, clock_gettime(2).
func threadTime() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now); err != nil {
		panic(err) // every Linux since 2.6.12 has it
	}
	return time.Duration(now.Nano())
}
