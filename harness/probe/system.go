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
)

// System is one reading of the whole host, as far as its network namespace and
// control group let us see it.
type System struct {
	// Clock is the time of the reading, in seconds of CLOCK_MONOTONIC.
	Clock   float64 `json:"clock"`
	Memory  Memory  `json:"memory"`
	Sockets Sockets `json:"sockets"`
	Groups  Groups  `json:"groups"`

	// Only detailed readings have the fields below.

	// Slab is kernel memory by slab cache; see [Cache]. It is nil where
	// /proc/slabinfo may not be read (without root).
	Slab map[string]Cache `json:"slab,omitempty"`
	// NegativeDentries is the number of directory entries of files that do not exist.
	NegativeDentries *int64 `json:"negative_dentries,omitempty"`
	// Counters are cumulative counts of events that limit or disturb connections,
	// by the kernel's own names; see counters.go. Counters that this kernel does
	// not have are left out.
	Counters map[string]int64 `json:"counters,omitempty"`
	// CPUs is the time that each CPU spent, since boot.
	CPUs []CPU `json:"cpus,omitempty"`
	// CPUPressureSeconds is the time since boot in which some task waited for a CPU
	// (/proc/pressure/cpu, "some").
	CPUPressureSeconds *float64 `json:"cpu_pressure_seconds,omitempty"`
	// SoftIRQInTasks is true where the kernel is known to count softirqs as time of
	// the tasks that they interrupt: one without CONFIG_IRQ_TIME_ACCOUNTING.
	SoftIRQInTasks bool `json:"softirq_in_tasks"`
	// OpenFiles is the number of open files of all processes (fs.file-nr).
	OpenFiles *int64 `json:"open_files,omitempty"`
	// Tasks is the number of threads of all processes (/proc/loadavg).
	Tasks *int64 `json:"tasks,omitempty"`
	// Conntrack is the number of connections tracked in this network namespace;
	// nil in a kernel without connection tracking.
	Conntrack *int64 `json:"conntrack,omitempty"`

	Warnings []string `json:"warnings,omitempty"`
}

// Memory is the host's, in bytes, from /proc/meminfo.
type Memory struct {
	Available    *int64 `json:"available_bytes"`
	Slab         *int64 `json:"slab_bytes"`
	Reclaimable  *int64 `json:"slab_reclaimable_bytes"`
	KernelStacks *int64 `json:"kernel_stack_bytes"`
	PageTables   *int64 `json:"page_table_bytes"`
}

// Sockets are TCP's, of both versions of IP, from /proc/net/sockstat. TimeWait is
// of this network namespace, the others are of the whole host.
type Sockets struct {
	Orphans  *int64 `json:"tcp_orphans"`
	TimeWait *int64 `json:"tcp_time_wait"`
	// Allocated counts sockets in any state but TIME_WAIT, exactly.
	Allocated *int64 `json:"tcp_allocated"`
	// BufferBytes is what net.ipv4.tcp_mem limits. HeldBackBytes is the most that
	// the CPUs may keep out of that sum, or leave in it: 1 MiB each since Linux 6.0
	// (SK_MEMORY_PCPU_RESERVE of include/net/sock.h).
	BufferBytes   *int64 `json:"tcp_buffer_bytes"`
	HeldBackBytes int64  `json:"tcp_held_back_bytes"`
}

// CPU is what one CPU did since boot, in seconds, to 10 ms.
type CPU struct {
	CPU     int     `json:"cpu"`
	User    float64 `json:"user"` // nice included
	System  float64 `json:"system"`
	SoftIRQ float64 `json:"softirq"`
	Steal   float64 `json:"steal"`
}

// System reads the host.
func (r *Reader) System(level Level) System {
	system := System{Clock: monotonic()}
	var missing warnings
	if level == Detail {
		// The kernel adds up memory counters per CPU once a second. Reading this
		// file, which needs root, makes it do so now.
		_, _ = os.ReadFile(r.path("proc/sys/vm/stat_refresh"))
	}
	r.memory(&system.Memory, &missing)
	r.groups(&system.Groups, level, &missing)
	r.sockets(&system.Sockets, &missing)
	if level == Detail {
		r.slab(&system, &missing)
		r.cpus(&system, &missing)
		system.SoftIRQInTasks = r.softIRQInTasks()
		r.pressure(&system, &missing)
		r.counters(&system, &missing)
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

func (r *Reader) memory(memory *Memory, missing *warnings) {
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

// Available is the memory in bytes that programs may still take: MemAvailable, or
// what a control group leaves, if that is less. It is nil where MemAvailable is
// unknown.
func (s System) Available() *int64 {
	available, group := s.Memory.Available, s.Groups.Memory
	if available == nil || group == nil {
		return available
	}
	return new(min(*available, group.Left()))
}

func (r *Reader) sockets(sockets *Sockets, missing *warnings) {
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
	if file, err := os.Open(r.path("proc/config.gz")); err == nil {
		defer file.Close()
		unzipped, err := gzip.NewReader(file)
		if err != nil {
			return "", err
		}
		config, err := io.ReadAll(unzipped)
		return string(config), err
	}
	release, err := r.text("proc/sys/kernel/osrelease")
	if err != nil {
		return "", err
	}
	return r.text("boot/config-" + release)
}

func (r *Reader) cpus(system *System, missing *warnings) {
	stat, err := r.proc.Stat()
	if err != nil {
		missing.add("CPU time of the host", err)
		return
	}
	for number, cpu := range stat.CPU {
		system.CPUs = append(system.CPUs, CPU{
			CPU:     int(number),
			User:    cpu.User + cpu.Nice,
			System:  cpu.System,
			SoftIRQ: cpu.SoftIRQ,
			Steal:   cpu.Steal,
		})
	}
	slices.SortFunc(system.CPUs, func(a, b CPU) int { return a.CPU - b.CPU })
}

func (r *Reader) pressure(system *System, missing *warnings) {
	const micro = 1e-6
	if cpu, err := r.proc.PSIStatsForResource("cpu"); err != nil {
		missing.add("CPU pressure", err)
	} else if cpu.Some != nil {
		system.CPUPressureSeconds = new(float64(cpu.Some.Total) * micro)
	}
}

// tables reads how full the host's tables are.
func (r *Reader) tables(system *System, missing *warnings) {
	files, err := r.number("proc/sys/fs/file-nr")
	system.OpenFiles = figure(missing, "open files", files, err)

	tasks, err := r.tasks()
	system.Tasks = figure(missing, "threads", tasks, err)

	// A kernel without this file has no connection tracking, which is no fault.
	tracked, err := r.number("proc/sys/net/netfilter/nf_conntrack_count")
	if !errors.Is(err, fs.ErrNotExist) {
		system.Conntrack = figure(missing, "tracked connections", tracked, err)
	}
}

// tasks is the number after the slash of /proc/loadavg's fourth field.
func (r *Reader) tasks() (int64, error) {
	content, err := r.text("proc/loadavg")
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
