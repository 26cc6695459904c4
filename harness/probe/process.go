package probe

import (
	"errors"
	"fmt"
	"io/fs"
	"math"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"connbench/harness/reading"
)

// ErrEnded is the error for a process that does not exist any more.
var ErrEnded = errors.New("the process has ended")

// Process reads the process pid. It fails with [ErrEnded] if there is none, or if
// only the exit status is left of it.
func (r *Reader) Process(pid int, level Level) (reading.Process, error) {
	process, err := r.process(pid, level)
	if errors.Is(err, ErrEnded) {
		r.forget(pid)
	}
	return process, err
}

func (r *Reader) process(pid int, level Level) (reading.Process, error) {
	process := reading.Process{PID: pid}
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

	if level == Detail {
		r.detail(&process, source, &missing)
	}
	process.Warnings = missing
	return process, nil
}

func (r *Reader) detail(p *reading.Process, source procfs.Proc, missing *warnings) {
	descriptors, err := source.FileDescriptorsLen()
	p.Descriptors = figure(missing, "open descriptors", int64(descriptors), err)

	limits, err := source.Limits()
	p.MostDescriptors = figure(missing, "RLIMIT_NOFILE", int64(min(limits.OpenFiles, math.MaxInt64)), err)

	if rollup, err := source.ProcSMapsRollup(); err != nil {
		missing.add("PSS", err)
	} else {
		p.RSSBytes = signed(&rollup.Rss)
		p.PSSBytes = signed(&rollup.Pss)
	}

	stat, err := source.Stat()
	if err != nil {
		missing.add("user and system time, threads", err)
		return
	}
	user, system, threads := seconds(stat.UTime), seconds(stat.STime), int64(stat.NumThreads)
	p.UserSeconds, p.SystemSeconds, p.Threads = &user, &system, &threads

	process := identity{p.PID, stat.Starttime}
	if instructions, err := r.instructions(process); err != nil {
		p.NoInstructions = err.Error()
	} else {
		p.UserInstructions = &instructions
	}
	activity, err := r.activity(process)
	if err != nil {
		missing.add("context switches and run delay", err)
		return
	}
	p.VoluntarySwitches, p.InvoluntarySwitches = &activity.voluntary, &activity.involuntary
	delay := activity.delay.Seconds()
	p.RunDelaySeconds = figure(missing, "run delay", delay, activity.noDelay)
}

// ended replaces the errors that a vanished process causes by ErrEnded.
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

// seconds converts clock ticks of user space: 100 a second on every architecture that
// Go runs on (USER_HZ, time(7)).
func seconds[T uint | int](ticks T) float64 { return float64(ticks) / 100 }
