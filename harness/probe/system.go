package probe

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"connbench/harness/probe/cgroup"
	"connbench/harness/reading"
)

// System reads the host, and the control groups of this process.
func (r *Reader) System(level Level) reading.System { return r.system(r.cgroups, level) }

// SystemOf reads the host, and the control groups of the process pid.
func (r *Reader) SystemOf(pid int, level Level) reading.System {
	return r.system(r.cgroups.Of(pid), level)
}

func (r *Reader) system(cgroups *cgroup.Reader, level Level) reading.System {
	system := reading.System{Clock: monotonic()}
	var missing warnings
	if level == Detail {
		// The kernel adds up memory counters per CPU once a second. Reading this
		// file, which needs root, makes it do so now.
		_, _ = os.ReadFile(r.files.Path("proc/sys/vm/stat_refresh"))
	}
	r.memory(&system.Memory, &missing)
	groups(cgroups, &system.Groups, level, &missing)
	r.sockets(&system.Sockets, &missing)
	if level == Detail {
		r.slab(&system, &missing)
		r.cpus(&system, &missing)
		system.SoftIRQInTasks = r.softIRQInTasks()
		r.pressure(&system, &missing)
		r.counters(cgroups, &system, &missing)
		r.tables(&system, &missing)
	}
	system.Warnings = missing
	return system
}

func monotonic() float64 {
	var now unix.Timespec
	// It cannot fail: the clock exists and now is writable.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return float64(now.Nano()) / 1e9
}

func (r *Reader) memory(memory *reading.Memory, missing *warnings) {
	info, err := r.proc.Meminfo()
	if err != nil {
		missing.add("memory", err)
		return
	}
	for _, field := range []struct {
		name string
		from *uint64
		to   **int64
	}{
		{"MemAvailable", info.MemAvailableBytes, &memory.Available},
		{"Slab", info.SlabBytes, &memory.Slab},
		{"SReclaimable", info.SReclaimableBytes, &memory.Reclaimable},
		{"KernelStack", info.KernelStackBytes, &memory.KernelStacks},
		{"PageTables", info.PageTablesBytes, &memory.PageTables},
	} {
		*field.to = signed(field.from)
		if field.from == nil {
			missing.add(field.name, errors.New("not in /proc/meminfo of this kernel"))
		}
	}
}

func (r *Reader) sockets(sockets *reading.Sockets, missing *warnings) {
	stat, err := r.proc.NetSockstat()
	if err != nil {
		missing.add("TCP sockets", err)
		return
	}
	for _, protocol := range stat.Protocols {
		if protocol.Protocol == "TCP" {
			sockets.Orphans = times(protocol.Orphan, 1)
			sockets.TimeWait = times(protocol.TW, 1)
			sockets.Allocated = times(protocol.Alloc, 1)
			sockets.BufferBytes = times(protocol.Mem, os.Getpagesize())
		}
	}
	cpus, err := r.onlineCPUs()
	if err != nil {
		missing.add("online CPUs", err)
	}
	sockets.HeldBackBytes = int64(cpus) << 20
}

// times is value×unit, or nil.
func times(value *int, unit int) *int64 {
	if value == nil {
		return nil
	}
	return new(int64(*value) * int64(unit))
}

// softIRQInTasks looks into the kernel's configuration, once.
func (r *Reader) softIRQInTasks() bool {
	r.configOnce.Do(func() {
		config, err := r.kernelConfig()
		r.inTasks = err == nil && !strings.Contains(config, "CONFIG_IRQ_TIME_ACCOUNTING=y")
	})
	return r.inTasks
}

// kernelConfig returns the configuration that the kernel was built with, from where
// kernels and distributions keep it.
func (r *Reader) kernelConfig() (string, error) {
	if file, err := os.Open(r.files.Path("proc/config.gz")); err == nil {
		defer file.Close()
		unzipped, err := gzip.NewReader(file)
		if err != nil {
			return "", err
		}
		config, err := io.ReadAll(unzipped)
		return string(config), err
	}
	release, err := r.files.Text("proc/sys/kernel/osrelease")
	if err != nil {
		return "", err
	}
	return r.files.Text("boot/config-" + release)
}

func (r *Reader) cpus(system *reading.System, missing *warnings) {
	stat, err := r.proc.Stat()
	if err != nil {
		missing.add("CPU time of the host", err)
		return
	}
	for number, cpu := range stat.CPU {
		system.CPUs = append(system.CPUs, reading.CPU{
			CPU:     int(number),
			User:    cpu.User + cpu.Nice,
			System:  cpu.System,
			SoftIRQ: cpu.SoftIRQ,
			Steal:   cpu.Steal,
		})
	}
	slices.SortFunc(system.CPUs, func(a, b reading.CPU) int { return a.CPU - b.CPU })
}

func (r *Reader) pressure(system *reading.System, missing *warnings) {
	const micro = 1e-6
	if cpu, err := r.proc.PSIStatsForResource("cpu"); err != nil {
		missing.add("CPU pressure", err)
	} else if cpu.Some != nil {
		system.CPUPressureSeconds = new(float64(cpu.Some.Total) * micro)
	}
}

// tables reads how full the host's tables are.
func (r *Reader) tables(system *reading.System, missing *warnings) {
	files, err := r.files.Number("proc/sys/fs/file-nr")
	system.OpenFiles = figure(missing, "open files", files, err)

	tasks, err := r.tasks()
	system.Tasks = figure(missing, "threads", tasks, err)

	// A kernel without this file has no connection tracking, which is no fault.
	tracked, err := r.files.Number("proc/sys/net/netfilter/nf_conntrack_count")
	if !errors.Is(err, fs.ErrNotExist) {
		system.Conntrack = figure(missing, "tracked connections", tracked, err)
	}
}

// tasks is the number after the slash of /proc/loadavg's fourth field.
func (r *Reader) tasks() (int64, error) {
	content, err := r.files.Text("proc/loadavg")
	if err != nil {
		return 0, err
	}
	if fields := strings.Fields(content); len(fields) >= 4 {
		if _, total, found := strings.Cut(fields[3], "/"); found {
			return strconv.ParseInt(total, 10, 64)
		}
	}
	return 0, fmt.Errorf("/proc/loadavg: %q is not as in proc_loadavg(5)", content)
}
