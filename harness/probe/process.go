package probe

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// ErrEnded says that there is no such process any more.
var ErrEnded = errors.New("the process has ended")

// Process is one reading of one process, all of its threads together.
type Process struct {
	PID int `json:"pid"`
	// RSSBytes is resident memory: in a detailed reading exact, from the memory
	// map; in a light one from counters that the kernel sums up late, and which
	// may be off by some dozen pages a CPU (proc_pid_statm(5)).
	RSSBytes *int64 `json:"rss_bytes"`
	// CPUSeconds is user and system time of all threads, ended ones included, to
	// the nanosecond of the scheduler's clock.
	CPUSeconds *float64 `json:"cpu_seconds"`
	// Descriptors is the number of open file descriptors. Before Linux 6.2 it
	// must be counted one by one, and is, in a detailed reading.
	Descriptors *int64 `json:"descriptors,omitempty"`

	// What follows is in detailed readings only.

	// PSSBytes is resident memory, pages that are shared divided by their users.
	PSSBytes *int64 `json:"pss_bytes,omitempty"`
	// PrivateBytes is resident memory that nobody else maps.
	PrivateBytes *int64 `json:"private_bytes,omitempty"`
	SwapBytes    *int64 `json:"swap_bytes,omitempty"`
	// PageTableBytes is kernel memory for the process's page tables.
	PageTableBytes *int64 `json:"page_table_bytes,omitempty"`
	// UserSeconds and SystemSeconds have the kernel's own split of CPUSeconds, in
	// ticks of 10 ms.
	UserSeconds   *float64 `json:"user_seconds,omitempty"`
	SystemSeconds *float64 `json:"system_seconds,omitempty"`
	Threads       *int64   `json:"threads,omitempty"`
	// VoluntarySwitches and InvoluntarySwitches are sums over the threads that
	// live now. The file for each thread is read, so that the cost grows with
	// the threads.
	VoluntarySwitches   *int64 `json:"voluntary_switches,omitempty"`
	InvoluntarySwitches *int64 `json:"involuntary_switches,omitempty"`

	Warnings []string `json:"warnings,omitempty"`
}

// Process reads the process pid. It fails with [ErrEnded] where there is none,
// or nothing but an exit status that its parent has not collected yet.
func (r *Reader) Process(pid int, level Level) (Process, error) {
	process := Process{PID: pid}
	var missing warnings
	source, err := r.proc.Proc(pid)
	if err != nil {
		return process, ended(pid, err)
	}
	memory, err := source.Statm()
	if err != nil {
		return process, ended(pid, err)
	}
	if memory.Size == 0 {
		return process, fmt.Errorf("process %d: %w", pid, ErrEnded)
	}
	resident := memory.ResidentBytes()
	process.RSSBytes = signed(&resident)

	cpu, err := r.cpuSeconds(pid)
	process.CPUSeconds = figure(&missing, "CPU time", cpu, err)

	if process.Descriptors, err = r.descriptors(pid, level); err != nil {
		missing.add("open descriptors", err)
	}

	if level == Detail {
		r.detail(&process, source, &missing)
	}
	process.Warnings = missing
	return process, nil
}

func (r *Reader) detail(p *Process, source procfs.Proc, missing *warnings) {
	if rollup, err := source.ProcSMapsRollup(); err != nil {
		missing.add("PSS and private memory", err)
	} else {
		p.RSSBytes = signed(&rollup.Rss)
		p.PSSBytes = signed(&rollup.Pss)
		private := rollup.PrivateClean + rollup.PrivateDirty
		p.PrivateBytes = signed(&private)
		p.SwapBytes = signed(&rollup.Swap)
	}
	if status, err := source.NewStatus(); err != nil {
		missing.add("page tables", err)
	} else {
		p.PageTableBytes = signed(&status.VmPTE)
	}
	if stat, err := source.Stat(); err != nil {
		missing.add("user and system time, threads", err)
	} else {
		user, system, threads := seconds(stat.UTime), seconds(stat.STime), int64(stat.NumThreads)
		p.UserSeconds, p.SystemSeconds, p.Threads = &user, &system, &threads
	}
	voluntary, involuntary, err := r.switches(p.PID)
	p.VoluntarySwitches = figure(missing, "context switches", voluntary, err)
	if err == nil {
		p.InvoluntarySwitches = &involuntary
	}
}

// ended turns the errors of a process that is gone into one.
func ended(pid int, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		err = ErrEnded
	}
	return fmt.Errorf("process %d: %w", pid, err)
}

// cpuSeconds reads the process's CPU clock. Its id is made of the pid as in
// clock_getcpuclockid(3): all bits of the pid inverted, then 2 for "scheduler's
// clock" (include/linux/posix-timers.h).
func (r *Reader) cpuSeconds(pid int) (float64, error) {
	if !r.live {
		return 0, errors.New("a copy of /proc has no clocks")
	}
	var spent unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &spent); err != nil {
		return 0, err
	}
	return float64(spent.Nano()) / 1e9, nil
}

// seconds are clock ticks of user space, of which there are 100 a second on
// every architecture that Go runs on (USER_HZ, time(7)).
func seconds[T uint | int](ticks T) float64 { return float64(ticks) / 100 }

// descriptors is nil where it would take a walk and level does not allow it.
func (r *Reader) descriptors(pid int, level Level) (*int64, error) {
	folder := r.path("proc", strconv.Itoa(pid), "fd")
	info, err := os.Stat(folder)
	if err != nil {
		return nil, err
	}
	// Since Linux 6.2 the folder's size is the number of entries, before it is
	// 0; a copy's size means nothing.
	open := info.Size()
	if r.live && open > 0 {
		return &open, nil
	}
	if level != Detail {
		return nil, nil
	}
	entries, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	defer entries.Close()
	names, err := entries.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	open = int64(len(names))
	return &open, nil
}

// switches sums over the living threads; one that ends meanwhile is left out.
func (r *Reader) switches(pid int) (voluntary, involuntary int64, err error) {
	threads, err := r.proc.AllThreads(pid)
	if err != nil {
		return 0, 0, err
	}
	for _, thread := range threads {
		if status, err := thread.NewStatus(); err == nil {
			voluntary += int64(status.VoluntaryCtxtSwitches)
			involuntary += int64(status.NonVoluntaryCtxtSwitches)
		}
	}
	return voluntary, involuntary, nil
}

// Descendants lists the processes that pid started, and those that they
// started, in no particular order. It looks at every process of the host.
func (r *Reader) Descendants(pid int) ([]int, error) {
	processes, err := r.proc.AllProcs()
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, process := range processes {
		if stat, err := process.Stat(); err == nil {
			children[stat.PPID] = append(children[stat.PPID], process.PID)
		}
	}
	var found []int
	for next := children[pid]; len(next) > 0; next = next[1:] {
		found = append(found, next[0])
		next = append(next, children[next[0]]...)
	}
	return found, nil
}
