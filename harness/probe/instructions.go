package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// event is what a counter counts (perf_event_open(2)).
type event struct {
	kind   uint32
	config uint64
}

// userInstructions are instructions that the CPU completed outside the kernel.
var userInstructions = event{unix.PERF_TYPE_HARDWARE, unix.PERF_COUNT_HW_INSTRUCTIONS}

// counter counts an event in all threads of a process: one file for each thread
// that it had when the counter was made; threads that those start are counted with
// them.
type counter struct{ files []*os.File }

// count begins to count in a process.
func (r *Reader) count(pid int, what event) (*counter, error) {
	threads, err := r.proc.AllThreads(pid)
	if err != nil {
		return nil, err
	}
	c := &counter{}
	attributes := unix.PerfEventAttr{
		Type: what.kind, Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{})), Config: what.config,
		Read_format: unix.PERF_FORMAT_TOTAL_TIME_ENABLED | unix.PERF_FORMAT_TOTAL_TIME_RUNNING,
		Bits:        unix.PerfBitInherit | unix.PerfBitExcludeKernel | unix.PerfBitExcludeHv,
	}
	for _, thread := range threads {
		fd, err := unix.PerfEventOpen(&attributes, thread.PID, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
		if errors.Is(err, unix.ESRCH) {
			continue // it has ended
		}
		if err != nil {
			c.close()
			return nil, r.refusal(err)
		}
		c.files = append(c.files, os.NewFile(uintptr(fd), "counter of thread "+strconv.Itoa(thread.PID)))
	}
	return c, nil
}

// refusal says why the kernel does not let us count.
func (r *Reader) refusal(err error) error {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENODEV):
		return errors.New("the CPU shows no counters, as in most virtual machines")
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		if paranoid, e := r.text("proc/sys/kernel/perf_event_paranoid"); e == nil {
			return fmt.Errorf("not permitted: kernel.perf_event_paranoid is %s", paranoid)
		}
		return errors.New("not permitted")
	case errors.Is(err, unix.ENOSYS):
		return errors.New("this kernel has no perf_event_open(2)")
	}
	return err
}

// read is the count so far.
func (c *counter) read() (int64, error) {
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

func (c *counter) close() {
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

// instructions is what a process executed in user space since its first detailed
// reading.
func (r *Reader) instructions(process identity) (int64, error) {
	if !r.live {
		return 0, errors.New("a copy of /proc has no counters")
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.noCounter != nil {
		return 0, r.noCounter
	}
	h := r.history(process)
	if h.instructions == nil {
		var err error
		if h.instructions, err = r.count(process.pid, r.event); err != nil {
			r.noCounter = err // it would be the same for the next process
			return 0, err
		}
	}
	return h.instructions.read()
}
