package probe

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// System is one reading of the whole host, or of what its network namespace and
// control group let see of it.
type System struct {
	// Clock is the time of the reading, in seconds of CLOCK_MONOTONIC.
	Clock   float64 `json:"clock"`
	Memory  Memory  `json:"memory"`
	Sockets Sockets `json:"sockets"`

	// What follows is in detailed readings only.

	// SlabBytes is kernel memory by slab cache, whole slabs, free objects
	// included; "dentry of files" and "lsm_inode_cache of files" are parted from
	// "dentry" and "lsm_inode_cache". It is nil where /proc/slabinfo may not be read
	// (without root).
	SlabBytes map[string]int64 `json:"slab_bytes,omitempty"`
	// Counters are cumulative counts of events that bound or disturb
	// connections, by the kernel's own names; see counters.go. One that this
	// kernel does not have is left out.
	Counters map[string]int64 `json:"counters,omitempty"`
	// CPUs is the time each CPU spent, since boot.
	CPUs     []CPU    `json:"cpus,omitempty"`
	Pressure Pressure `json:"pressure"`
	// SoftIRQInTasks is true where the kernel is known to count softirqs as time of
	// the tasks that they interrupt: one without CONFIG_IRQ_TIME_ACCOUNTING.
	SoftIRQInTasks bool `json:"softirq_in_tasks"`
	// OpenFiles is the number of open files of all processes (fs.file-nr).
	OpenFiles *int64 `json:"open_files,omitempty"`
	// Tasks is the number of threads of all processes (/proc/loadavg).
	Tasks *int64 `json:"tasks,omitempty"`
	// Conntrack is the number of connections tracked in this network namespace;
	// nil where connection tracking is not there.
	Conntrack *int64 `json:"conntrack,omitempty"`
	// CgroupMemoryBytes is the memory charged to the control group with the
	// tightest limit over the reader; nil where no limit is set.
	CgroupMemoryBytes *int64 `json:"cgroup_memory_bytes,omitempty"`

	Warnings []string `json:"warnings,omitempty"`
}

// Memory is the host's, in bytes, from /proc/meminfo.
type Memory struct {
	Total        *int64 `json:"total_bytes"`
	Available    *int64 `json:"available_bytes"`
	Slab         *int64 `json:"slab_bytes"`
	Reclaimable  *int64 `json:"slab_reclaimable_bytes"`
	Unreclaim    *int64 `json:"slab_unreclaimable_bytes"`
	KernelStacks *int64 `json:"kernel_stack_bytes"`
	PageTables   *int64 `json:"page_table_bytes"`
	PerCPU       *int64 `json:"per_cpu_bytes"`
}

// Sockets are TCP's, from /proc/net/sockstat. InUse and TimeWait are of this
// network namespace, the others of the host.
type Sockets struct {
	// InUse4 and InUse6 are sockets with a local port; an IPv4 connection on an
	// IPv6 listener counts as IPv6.
	InUse4   *int64 `json:"tcp_in_use"`
	InUse6   *int64 `json:"tcp6_in_use"`
	Orphans  *int64 `json:"tcp_orphans"`
	TimeWait *int64 `json:"tcp_time_wait"`
	// Allocated counts sockets in any state but TIME_WAIT, both versions of IP.
	Allocated *int64 `json:"tcp_allocated"`
	// BufferBytes is what net.ipv4.tcp_mem bounds. Since Linux 6.0 each CPU may
	// hold up to 256 pages of it back from the books.
	BufferBytes *int64 `json:"tcp_buffer_bytes"`
}

// CPU is what one CPU did since boot, in seconds, to 10 ms.
type CPU struct {
	CPU     int     `json:"cpu"`
	User    float64 `json:"user"` // nice included
	System  float64 `json:"system"`
	IRQ     float64 `json:"irq"`
	SoftIRQ float64 `json:"softirq"`
	Steal   float64 `json:"steal"`
	Idle    float64 `json:"idle"` // waiting for I/O included
}

// Pressure is the time since boot, in seconds, during which some task, or every
// task that was not idle, waited (/proc/pressure).
type Pressure struct {
	CPUSome    *float64 `json:"cpu_some_seconds,omitempty"`
	MemorySome *float64 `json:"memory_some_seconds,omitempty"`
	MemoryFull *float64 `json:"memory_full_seconds,omitempty"`
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
	r.sockets(&system.Sockets, &missing)
	if level == Detail {
		r.slab(&system, &missing)
		r.cpus(&system, &missing)
		system.SoftIRQInTasks = r.softIRQInTasks()
		r.pressure(&system.Pressure, &missing)
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
		{"MemTotal", info.MemTotalBytes, &memory.Total},
		{"MemAvailable", info.MemAvailableBytes, &memory.Available},
		{"Slab", info.SlabBytes, &memory.Slab},
		{"SReclaimable", info.SReclaimableBytes, &memory.Reclaimable},
		{"SUnreclaim", info.SUnreclaimBytes, &memory.Unreclaim},
		{"KernelStack", info.KernelStackBytes, &memory.KernelStacks},
		{"PageTables", info.PageTablesBytes, &memory.PageTables},
		{"Percpu", info.PercpuBytes, &memory.PerCPU},
	} {
		*field.to = signed(field.from)
		if field.from == nil {
			missing.add(field.name, errors.New("not in /proc/meminfo of this kernel"))
		}
	}
}

func (r *Reader) sockets(sockets *Sockets, missing *warnings) {
	both, err := r.proc.NetSockstat()
	if err != nil {
		missing.add("TCP sockets", err)
		return
	}
	for _, protocol := range both.Protocols {
		if protocol.Protocol == "TCP" {
			sockets.InUse4 = count(&protocol.InUse, 1)
			sockets.Orphans = count(protocol.Orphan, 1)
			sockets.TimeWait = count(protocol.TW, 1)
			sockets.Allocated = count(protocol.Alloc, 1)
			sockets.BufferBytes = count(protocol.Mem, os.Getpagesize())
		}
	}
	// A kernel without IPv6 has no such file, and no such sockets to miss.
	six, err := r.proc.NetSockstat6()
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		missing.add("TCP sockets of IPv6", err)
		return
	}
	for _, protocol := range six.Protocols {
		if protocol.Protocol == "TCP6" {
			sockets.InUse6 = count(&protocol.InUse, 1)
		}
	}
}

// count is value×unit, or nil.
func count(value *int, unit int) *int64 {
	if value == nil {
		return nil
	}
	result := int64(*value) * int64(unit)
	return &result
}

func (r *Reader) slab(system *System, missing *warnings) {
	info, err := r.proc.SlabInfo()
	if errors.Is(err, fs.ErrPermission) {
		missing.add("kernel memory by cache", errors.New("/proc/slabinfo is for root; only the sum of all caches is known"))
		return
	}
	if err != nil {
		missing.add("kernel memory by cache", err)
		return
	}
	system.SlabBytes = make(map[string]int64, len(info.Slabs))
	var files int64
	for _, cache := range info.Slabs {
		system.SlabBytes[cache.Name] = cache.SlabNum * cache.PagesPerSlab * int64(os.Getpagesize())
		if inodesOfFiles(cache.Name) {
			files += cache.ObjActive
		}
	}
	// A cached inode of a file has an object in these as well.
	for _, cache := range info.Slabs {
		if (cache.Name == "dentry" || cache.Name == "lsm_inode_cache") && cache.ObjPerSlab > 0 {
			bytes := min(system.SlabBytes[cache.Name], files*cache.PagesPerSlab*int64(os.Getpagesize())/cache.ObjPerSlab)
			system.SlabBytes[cache.Name] -= bytes
			system.SlabBytes[cache.Name+ofFiles] = bytes
		}
	}
}

// ofFiles marks the part of a slab cache that goes with the cached inodes of files.
const ofFiles = " of files"

// softIRQInTasks looks into the kernel's configuration, once.
func (r *Reader) softIRQInTasks() bool {
	r.configOnce.Do(func() {
		config, err := r.kernelConfig()
		r.inTasks = err == nil && !strings.Contains(config, "CONFIG_IRQ_TIME_ACCOUNTING=y")
	})
	return r.inTasks
}

// kernelConfig is the configuration that the kernel was built with, from where kernels
// and distributions keep it.
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
			IRQ:     cpu.IRQ,
			SoftIRQ: cpu.SoftIRQ,
			Steal:   cpu.Steal,
			Idle:    cpu.Idle + cpu.Iowait,
		})
	}
	slices.SortFunc(system.CPUs, func(a, b CPU) int { return a.CPU - b.CPU })
}

func (r *Reader) pressure(pressure *Pressure, missing *warnings) {
	const micro = 1e-6
	if cpu, err := r.proc.PSIStatsForResource("cpu"); err != nil {
		missing.add("CPU pressure", err)
	} else if cpu.Some != nil {
		some := float64(cpu.Some.Total) * micro
		pressure.CPUSome = &some
	}
	if memory, err := r.proc.PSIStatsForResource("memory"); err != nil {
		missing.add("memory pressure", err)
	} else if memory.Some != nil && memory.Full != nil {
		some, full := float64(memory.Some.Total)*micro, float64(memory.Full.Total)*micro
		pressure.MemorySome, pressure.MemoryFull = &some, &full
	}
}

// tables reads how full the host's tables are.
func (r *Reader) tables(system *System, missing *warnings) {
	files, err := r.number("proc/sys/fs/file-nr")
	system.OpenFiles = figure(missing, "open files", files, err)

	tasks, err := r.tasks()
	system.Tasks = figure(missing, "threads", tasks, err)

	// No file: no connection tracking in this kernel, which is not a fault.
	tracked, err := r.number("proc/sys/net/netfilter/nf_conntrack_count")
	if !errors.Is(err, fs.ErrNotExist) {
		system.Conntrack = figure(missing, "tracked connections", tracked, err)
	}

	group, err := r.memoryCgroup()
	if err != nil {
		missing.add("memory of the control group", err)
	} else if group != nil {
		used, err := group.usage()
		system.CgroupMemoryBytes = figure(missing, "memory of the control group", used, err)
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

// Kernel is the host's kernel memory by kind, in bytes: each slab cache as
// "slab:NAME", but for those of file systems, which hold what the page cache
// happens to hold or somebody has looked up; large allocations that no cache serves
// as "slab:large"; "tcp_buffers", "page_tables" and "kernel_stacks". Where the caches
// are not known there is one kind "slab" instead. Kinds overlap: see
// [System.KernelBytes].
func (s System) Kernel() map[string]int64 {
	kinds := map[string]int64{}
	put := func(kind string, value *int64) {
		if value != nil {
			kinds[kind] = *value
		}
	}
	put("tcp_buffers", s.Sockets.BufferBytes)
	put("page_tables", s.Memory.PageTables)
	put("kernel_stacks", s.Memory.KernelStacks)
	if s.SlabBytes == nil {
		put("slab", s.Memory.Slab)
		return kinds
	}
	var caches int64
	for name, bytes := range s.SlabBytes {
		caches += bytes
		if !ofFileSystem(name) {
			kinds["slab:"+name] = bytes
		}
	}
	if s.Memory.Slab != nil {
		kinds["slab:large"] = max(0, *s.Memory.Slab-caches)
	}
	return kinds
}

// ofFileSystem tells the caches that grow with files read and written, which
// the run's own records and its neighbours on the host cause, and no connection.
// Sockets have inodes of their own.
func ofFileSystem(cache string) bool {
	switch cache {
	case "buffer_head", "radix_tree_node", "extent_status":
		return true
	}
	return inodesOfFiles(cache) || strings.HasSuffix(cache, ofFiles)
}

// inodesOfFiles tells the caches of inodes that are not sockets'. That of /proc is one:
// whoever looks at the descriptors of a process has it grow by an inode for each.
func inodesOfFiles(cache string) bool {
	switch cache {
	case "sock_inode_cache", "lsm_inode_cache":
		return false
	}
	return strings.HasSuffix(cache, "inode_cache") || strings.HasSuffix(cache, "_inode")
}

// KernelBytes is the sum of all kinds of [System.Kernel], nothing counted twice:
// TCP buffers are charged with the slab memory of their heads too, and in whole
// pages, of which each CPU may hold some back, so that only what is beyond both
// is added. It is nil where slab, page tables or kernel stacks are unknown.
func (s System) KernelBytes() *int64 {
	if s.Memory.Slab == nil || s.Memory.PageTables == nil || s.Memory.KernelStacks == nil {
		return nil
	}
	var sum int64
	buffers := -heldBack()
	for kind, bytes := range s.Kernel() {
		if kind == "tcp_buffers" {
			buffers += bytes
			continue
		}
		if strings.HasPrefix(kind, "slab:skbuff_") {
			buffers -= bytes
		}
		sum += bytes
	}
	sum += max(0, buffers)
	return &sum
}

// heldBack is the most TCP memory that may be missing from, or left over in, the
// books: SK_MEMORY_PCPU_RESERVE of include/net/sock.h, 1 MiB a CPU.
func heldBack() int64 { return int64(runtime.NumCPU()) << 20 }
