// Package perf counts events of processes with the CPU's counters (perf_event_open(2)).
package perf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"connbench/harness/probe/tree"
)

// Event is what a counter counts, outside the kernel (perf_event_open(2)).
type Event struct {
	Type   uint32
	Config uint64
}

// Instructions counts the instructions that the CPU completed.
var Instructions = Event{unix.PERF_TYPE_HARDWARE, unix.PERF_COUNT_HW_INSTRUCTIONS}

// Counter counts an event in all threads of a process: one file for each thread
// that it had when the counter was made; threads that those start are counted with
// them.
type Counter struct{ files []*os.File }

// Count begins to count in a process with these threads. The host's files say why it
// is not permitted.
func Count(host tree.Tree, threads []int, what Event) (*Counter, error) {
	c := &Counter{}
	attributes := unix.PerfEventAttr{
		Type: what.Type, Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{})), Config: what.Config,
		Read_format: unix.PERF_FORMAT_TOTAL_TIME_ENABLED | unix.PERF_FORMAT_TOTAL_TIME_RUNNING,
		Bits:        unix.PerfBitInherit | unix.PerfBitExcludeKernel | unix.PerfBitExcludeHv,
	}
	for _, thread := range threads {
		fd, err := unix.PerfEventOpen(&attributes, thread, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
		if errors.Is(err, unix.ESRCH) {
			continue // it has ended
		}
		if err != nil {
			c.Close()
			return nil, refusal(host, err)
		}
		c.files = append(c.files, os.NewFile(uintptr(fd), "counter of thread "+strconv.Itoa(thread)))
	}
	return c, nil
}

// refusal says why the kernel does not let us count.
func refusal(host tree.Tree, err error) error {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENODEV):
		return errors.New("the CPU shows no counters, as in most virtual machines")
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		if paranoid, e := host.Text("proc/sys/kernel/perf_event_paranoid"); e == nil {
			return fmt.Errorf("not permitted: kernel.perf_event_paranoid is %s", paranoid)
		}
		return errors.New("not permitted")
	case errors.Is(err, unix.ENOSYS):
		return errors.New("this kernel has no perf_event_open(2)")
	}
	return err
}

// Read is the count so far.
func (c *Counter) Read() (int64, error) {
	var parts []part
	for _, file := range c.files {
		var buffer [24]byte
		if _, err := file.Read(buffer[:]); err != nil {
			return 0, err
		}
		parts = append(parts, part{
			events:  binary.NativeEndian.Uint64(buffer[0:]),
			enabled: binary.NativeEndian.Uint64(buffer[8:]),
			running: binary.NativeEndian.Uint64(buffer[16:]),
		})
	}
	return total(parts)
}

// Close ends the count.
func (c *Counter) Close() {
	if c == nil {
		return
	}
	for _, file := range c.files {
		file.Close()
	}
}

// part is what one file of a counter says: a count, and the time in which it was
// wanted and in which it ran, in nanoseconds.
type part struct{ events, enabled, running uint64 }

// total adds parts up. A counter that had to make room for others has not seen
// everything, and is no exact count.
func total(parts []part) (int64, error) {
	var sum part
	for _, p := range parts {
		sum.events += p.events
		sum.enabled += p.enabled
		sum.running += p.running
	}
	if sum.running < sum.enabled {
		return 0, fmt.Errorf("somebody else uses the CPU's counters: ours ran for %d of %d ms", sum.running/1e6, sum.enabled/1e6)
	}
	return int64(sum.events), nil
}
