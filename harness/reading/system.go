package reading

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
	// by the kernel's own names; see probe/counters.go. Counters that this kernel does
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

// Groups is what the control groups leave to this process, and so to what it starts:
// its own groups and all groups around them.
type Groups struct {
	// Memory is the group that leaves fewest bytes; nil where none limits memory.
	Memory *GroupUse `json:"memory,omitempty"`

	// Only detailed readings have the fields below.

	// Tasks is the group that leaves fewest threads; nil where none limits them.
	Tasks *GroupUse `json:"tasks,omitempty"`
	// Throttled is nil where no group has a quota of CPU time.
	Throttled *Throttled `json:"throttled,omitempty"`
}

// GroupUse is what a control group allows, and how much of it is used. Of memory, page
// cache that can be dropped is not counted as used.
type GroupUse struct {
	Folder string `json:"folder"`
	Limit  int64  `json:"limit"`
	Used   int64  `json:"used"`
}

// Left is what the group allows more; negative where its limit was lowered.
func (u GroupUse) Left() int64 { return u.Limit - u.Used }

// Reserve is how much of the group must stay free where so much of a host must: not
// more than a quarter of its limit, so that small groups can be used.
func (u GroupUse) Reserve(ofHost int64) int64 { return min(ofHost, u.Limit/4) }

// Throttled is what quotas of CPU time did since their groups were made.
type Throttled struct {
	// Periods are those in which a group had used up its quota, Seconds the time for
	// which that kept its tasks from running, each CPU's time for itself.
	Periods int64   `json:"periods"`
	Seconds float64 `json:"seconds"`
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
