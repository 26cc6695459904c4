// Package record defines what a run leaves on disk: the manifest, one record a
// trial, and samples over time. Every table, plot and benchmark text is computed
// from these files and from nothing else. results/README.md documents them for
// readers who are not Go programs.
//
// A figure that could not be taken is a nil pointer, null in JSON, and a warning
// of the trial says why. It is never 0.
package record

import "time"

// Schema is the version of the format of all files of a run. A reader refuses
// what is newer than it knows.
const Schema = 1

// File names in the folder of a run.
const (
	ManifestFile = "manifest.json"
	TrialsFile   = "trials.jsonl"
	SamplesFile  = "samples.jsonl.gz"
)

// Trial is one line of trials.jsonl: one variant, measured once, in a fresh
// server process.
type Trial struct {
	Schema int `json:"schema"`
	// Trial numbers the trials of a run from 1, in the order in which they ran.
	Trial int `json:"trial"`
	// Round numbers the rounds from 1; each round runs every variant once.
	Round   int    `json:"round"`
	Variant string `json:"variant"`
	Class   string `json:"class"`
	Title   string `json:"title"`
	Model   string `json:"model"`
	Library string `json:"library,omitempty"`
	Plan    string `json:"plan"`
	Lab     string `json:"lab"`
	// Engine is the swarm's engine, "socket" or EnginePacket.
	Engine  string    `json:"engine"`
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"`

	ServerProcesses int   `json:"server_processes"`
	ClientProcesses int   `json:"client_processes"`
	ServerCPUs      []int `json:"server_cpus"`
	ClientCPUs      []int `json:"client_cpus"`

	// Valid is false when the figures must not be used; Invalid says why.
	Valid   bool     `json:"valid"`
	Invalid []string `json:"invalid,omitempty"`
	// Noisy is true when the host was disturbed during the trial; Warnings say
	// by what. Such a trial is run again, once, but not on emulated CPUs. Its
	// figures stand unless the repetition was quiet.
	Noisy bool `json:"noisy,omitempty"`
	// Repeats is the number of the noisy trial that this one was run in place of;
	// 0: none.
	Repeats  int      `json:"repeats,omitempty"`
	Warnings []string `json:"warnings"`

	Connections   Connections   `json:"connections"`
	Stop          Stop          `json:"stop"`
	PerConnection PerConnection `json:"per_connection"`
	// Fits are the lines behind PerConnection, by the same names.
	Fits map[string]Fit `json:"fits"`
	// KernelCaches are the slopes of single slab caches and other kinds of kernel
	// memory, in bytes per connection, largest first when listed.
	KernelCaches map[string]float64 `json:"kernel_caches,omitempty"`
	// CPU is the server's cost of one event, by the name of the event, in microseconds
	// of CPU time: all of its threads, from cumulative counters. "accept_us" is the
	// sum, "accept_user_us" and "accept_system_us" are its parts. "idle_cores" is CPU
	// seconds a second while all connections are idle.
	CPU     map[string]*float64 `json:"cpu"`
	Client  Client              `json:"client"`
	Quality Quality             `json:"quality"`
	// Steps are the points of the ramp, the empty server first; SettledSteps
	// those of the second ramp, in which the server settles before each point.
	Steps        []Step `json:"steps"`
	SettledSteps []Step `json:"settled_steps,omitempty"`
	// Phases are the differences of cumulative counters over each phase of the main
	// server's session.
	Phases []Phase `json:"phases"`

	// sections are what single phases found, by name; see [Section].
	sections map[string]any
}

// Connections says how many there were.
type Connections struct {
	// Target is the number asked for, Reached the number that answered the
	// census.
	Target  int `json:"target"`
	Reached int `json:"reached"`
	// Peak is the number open at the end of the ramp.
	Peak   int    `json:"peak"`
	Census Census `json:"census"`
}

// Census counts the connections that were alive at the end of the hold, three
// times: the swarm's verified answers, the server's own count, and the established
// connections that the kernel says the server has accepted. A trial in which they
// differ is invalid.
type Census struct {
	Swarm  *int64 `json:"swarm"`
	Server *int64 `json:"server"`
	Kernel *int64 `json:"kernel"`
}

// Stop says what ended the ramp.
type Stop struct {
	// Reason is that of a cause in harness/cause.
	Reason string `json:"reason"`
	// Evidence is one sentence a fact: errno counts, counters, last words.
	Evidence []string `json:"evidence"`
	// Failures are the swarm's failures during the ramp.
	Failures []Failure `json:"failures,omitempty"`
	// Counters are the kernel counters of the server's host that changed during the
	// ramp, ClientCounters those of client hosts elsewhere, added up.
	Counters       map[string]int64 `json:"counters,omitempty"`
	ClientCounters map[string]int64 `json:"client_counters,omitempty"`
}

// Failure counts one kind of failure, by phase of a connection and errno.
type Failure struct {
	Phase string `json:"phase"`
	Error string `json:"error"`
	Count int64  `json:"count"`
}

// PerConnection are slopes over the ramp's steps, in bytes per connection.
type PerConnection struct {
	RSSBytes        *float64 `json:"rss_bytes"`
	RSSSettledBytes *float64 `json:"rss_settled_bytes"`
	PSSBytes        *float64 `json:"pss_bytes"`
	PSSSettledBytes *float64 `json:"pss_settled_bytes"`
	HeapInUseBytes  *float64 `json:"heap_in_use_bytes"`
	LiveHeapBytes   *float64 `json:"live_heap_bytes"`
	StackBytes      *float64 `json:"stack_bytes"`
	// KernelBytes is slab, TCP buffer pages and page tables of the host. In a
	// lab of one kernel it holds both ends, unless the engine is EnginePacket.
	KernelBytes *float64 `json:"kernel_bytes"`
	// GroupKernelBytes is kernel memory that is charged to the servers' control
	// group; nil where the host has none for us.
	GroupKernelBytes *float64 `json:"group_kernel_bytes,omitempty"`
	// Goroutines and Threads are counts per connection.
	Goroutines *float64 `json:"goroutines"`
	Threads    *float64 `json:"threads"`
}

// Fit is a line y = Intercept + Slope·connections by ordinary least squares,
// with the 95 % interval of its slope by Student's t.
type Fit struct {
	Slope     float64 `json:"slope"`
	Low       float64 `json:"low"`
	High      float64 `json:"high"`
	Intercept float64 `json:"intercept"`
	Points    int     `json:"points"`
}

// Latency are percentiles in microseconds, and the histogram that they were read
// from (HdrHistogram V2, compressed, base64; in nanoseconds).
type Latency struct {
	P50US     float64 `json:"p50_us"`
	P90US     float64 `json:"p90_us"`
	P99US     float64 `json:"p99_us"`
	P999US    float64 `json:"p999_us"`
	MaxUS     float64 `json:"max_us"`
	Histogram string  `json:"histogram,omitempty"`
}

// Load is a phase of messages over all connections.
type Load struct {
	Seconds      float64 `json:"seconds"`
	PayloadBytes int     `json:"payload_bytes"`
	// OfferedPerSecond is the rate at which messages were due (echo only).
	OfferedPerSecond   *float64 `json:"offered_per_second,omitempty"`
	DeliveredPerSecond float64  `json:"delivered_per_second"`
	Sent               int64    `json:"sent"`
	Delivered          int64    `json:"delivered"`
	Corrupt            int64    `json:"corrupt"`
	Lost               int      `json:"lost"`
	// InFlight is the number of outstanding messages (saturate only).
	InFlight int `json:"in_flight,omitempty"`
	Latency
	// ServerCPUUS is the server's CPU time per delivered message.
	ServerCPUUS *float64 `json:"server_cpu_us"`
	// ClientBound is true when the swarm, not the server, set the pace.
	ClientBound bool      `json:"client_bound"`
	Failures    []Failure `json:"failures,omitempty"`
}

// Client is what the swarm spent on the whole trial.
type Client struct {
	CPUSeconds   float64  `json:"cpu_seconds"`
	ConnectCPUUS *float64 `json:"connect_cpu_us"`
	RSSBytes     int64    `json:"rss_bytes"`
	// PSSBytes counts what its processes share once: the memory that it takes.
	PSSBytes                *int64  `json:"pss_bytes,omitempty"`
	StateBytesPerConnection int     `json:"state_bytes_per_connection"`
	Busy                    float64 `json:"busy"`
	LagP99US                float64 `json:"lag_p99_us"`
	LagMaxUS                float64 `json:"lag_max_us"`
}

// Quality says how quiet the host was during the trial.
type Quality struct {
	// StealShare is time stolen by the hypervisor, 0 to 1 of the CPUs used.
	StealShare *float64 `json:"steal_share"`
	// ForeignShare is CPU time of processes that are not ours, likewise.
	ForeignShare *float64 `json:"foreign_share"`
	// ThrottledShare is time in which a CPU quota kept tasks from running, over the
	// trial's time; left out where there is no quota.
	ThrottledShare *float64 `json:"throttled_share,omitempty"`
	// SpinRatio is the time of a fixed calculation at the trial's slowest over
	// that at the run's fastest; 1 is a steady host.
	SpinRatio *float64 `json:"spin_ratio"`
	// CPUPressureShare is the share of time some task waited for a CPU
	// (/proc/pressure/cpu "some").
	CPUPressureShare *float64 `json:"cpu_pressure_share"`
	// NoInstructions says why instructions could not be counted.
	NoInstructions string `json:"no_instructions,omitempty"`
}

// Step is one point of the ramp: what was read while nothing moved. Server
// figures are sums over its processes.
type Step struct {
	Connections      int      `json:"connections"`
	RSSBytes         *int64   `json:"rss_bytes"`
	PSSBytes         *int64   `json:"pss_bytes"`
	HeapInUseBytes   *int64   `json:"heap_in_use_bytes"`
	LiveHeapBytes    *int64   `json:"live_heap_bytes"`
	StackBytes       *int64   `json:"stack_bytes"`
	Goroutines       *int64   `json:"goroutines"`
	Threads          *int64   `json:"threads"`
	Descriptors      *int64   `json:"descriptors"`
	KernelBytes      *int64   `json:"kernel_bytes"`
	GroupKernelBytes *int64   `json:"group_kernel_bytes,omitempty"`
	// ForeignSockets is the number of TCP sockets of other programs that came since the
	// empty server, negative where they went. The kernel's memory is without theirs.
	ForeignSockets *int64 `json:"foreign_sockets,omitempty"`
	// KernelDoubt says why the kernel's memory at this point must not be believed.
	KernelDoubt    string   `json:"kernel_doubt,omitempty"`
	AvailableBytes *int64   `json:"available_bytes"`
	ServerCount      *int64   `json:"server_count"`
	ClientRSSBytes   *int64   `json:"client_rss_bytes"`
	CPUSeconds       *float64 `json:"cpu_seconds"`
	// Kernel is the host's kernel memory by kind, in bytes: slab caches by name
	// ("slab:TCP"), "tcp_buffers", "page_tables", "kernel_stacks".
	Kernel map[string]int64 `json:"kernel,omitempty"`
}

// BelievedKernelBytes is the kernel's memory at a point, nil where it was not measured
// or must not be believed.
func (s Step) BelievedKernelBytes() *int64 {
	if s.KernelDoubt != "" {
		return nil
	}
	return s.KernelBytes
}

// Phase is what one phase of a trial cost.
type Phase struct {
	// Name is the phase's: "ramp", "hold", "census" and so on.
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
	// Events counts what the phase is about: connects, messages, closes.
	Events int64 `json:"events"`
	// ServerCPUSeconds is exact to the scheduler's clock; the split into user and
	// system is from getrusage where the server reports it.
	ServerCPUSeconds    *float64 `json:"server_cpu_seconds"`
	ServerUserSeconds   *float64 `json:"server_user_seconds"`
	ServerSystemSeconds *float64 `json:"server_system_seconds"`
	ClientCPUSeconds    *float64 `json:"client_cpu_seconds"`
	// ServerRunDelaySeconds is time in which threads of the server were runnable and did
	// not run, added up over the threads; ClientRunDelaySeconds is the swarm's.
	ServerRunDelaySeconds *float64 `json:"server_run_delay_seconds,omitempty"`
	ClientRunDelaySeconds *float64 `json:"client_run_delay_seconds,omitempty"`
	// ServerInstructions is the number of instructions that the server executed outside
	// the kernel; null where the CPU shows no counters.
	ServerInstructions *int64 `json:"server_instructions,omitempty"`
	// SoftirqSeconds is the host's, all CPUs.
	SoftirqSeconds *float64 `json:"softirq_seconds"`
	StealSeconds   *float64 `json:"steal_seconds"`
	// ThrottledSeconds is time in which the CPU quota of a control group kept tasks of the
	// host from running; null where there is no quota.
	ThrottledSeconds *float64 `json:"throttled_seconds,omitempty"`
	GCCycles       *int64   `json:"gc_cycles"`
	GCPauseSeconds *float64 `json:"gc_pause_seconds"`
	GCCPUSeconds   *float64 `json:"gc_cpu_seconds"`
	// Context switches of the server's threads.
	VoluntarySwitches   *int64 `json:"voluntary_switches"`
	InvoluntarySwitches *int64 `json:"involuntary_switches"`
	// Counters are the kernel's network counters that changed.
	Counters map[string]int64 `json:"counters,omitempty"`
}

// Sample is one line of samples.jsonl.gz: a reading twice a second, whatever
// phase the trial is in.
type Sample struct {
	Trial   int     `json:"trial"`
	Phase   string  `json:"phase"`
	Seconds float64 `json:"seconds"` // since the trial began
	Open    int     `json:"open"`    // by the swarm's count
	// Messages is the swarm's count of verified echoes in this phase.
	Messages         int64    `json:"messages"`
	ServerRSSBytes   *int64   `json:"server_rss_bytes"`
	ServerCPUSeconds *float64 `json:"server_cpu_seconds"` // cumulative
	ClientCPUSeconds *float64 `json:"client_cpu_seconds"` // cumulative
	ClientRSSBytes   *int64   `json:"client_rss_bytes"`
	KernelBytes      *int64   `json:"kernel_bytes"`
	AvailableBytes   *int64   `json:"available_bytes"`
}

// Manifest is manifest.json: what was asked, on which machine, with what.
type Manifest struct {
	Schema   int        `json:"schema"`
	Title    string     `json:"title"`
	Started  time.Time  `json:"started"`
	Finished *time.Time `json:"finished"`
	// State is one of StateRunning (also after a kill -9), StateFinished,
	// StateInterrupted and StateFailed.
	State string `json:"state"`
	// Command is what to type to repeat the run.
	Command string `json:"command"`
	// Connbench is the suite's own version: module version and VCS revision.
	Connbench string `json:"connbench"`
	GoVersion string `json:"go_version"`
	Seed      uint64 `json:"seed"`
	// Plan is the plan as it was run, flags applied.
	Plan  any    `json:"plan"`
	Lab   string `json:"lab"`
	Hosts []Host `json:"hosts"`
	// SharedKernel is true where all hosts run on one kernel, whose memory then
	// holds both ends of each connection; see [Run.BothEnds].
	SharedKernel bool      `json:"shared_kernel"`
	Variants     []Variant `json:"variants"`
	// Modules are the versions of the libraries that the programs were built with.
	Modules map[string]string `json:"modules"`
	// Limit is the limit that was predicted to bind, and the connections it allows.
	Limit string `json:"limit,omitempty"`
	// Planned is the number of trials that the plan asks for.
	Planned  int      `json:"planned"`
	Warnings []string `json:"warnings,omitempty"`
	// Published is when the run was checked and moved into a folder of published
	// runs; nil for those that lie there unchecked.
	Published *time.Time `json:"published,omitempty"`
}

// States of a run.
const (
	StateRunning     = "running"
	StateFinished    = "finished"
	StateInterrupted = "interrupted"
	StateFailed      = "failed"
)

// Roles of a host.
const (
	RoleServer = "server"
	RoleClient = "client"
)

// Host is one machine of the lab.
type Host struct {
	Name         string   `json:"name"`
	Roles        []string `json:"roles"` // RoleServer, RoleClient
	Kernel       string   `json:"kernel"`
	OS           string   `json:"os"`
	Architecture string   `json:"architecture"`
	CPUModel     string   `json:"cpu_model"`
	CPUs         int      `json:"cpus"`
	// UsableCPUs are the numbers of those that our programs may run on.
	UsableCPUs  []int  `json:"usable_cpus"`
	MemoryBytes int64  `json:"memory_bytes"`
	Virtual     string `json:"virtual,omitempty"` // hypervisor, where one shows
	// Emulated is true where its CPUs are known to be emulated in software: times and
	// rates then say nothing of hardware, counts and bytes do.
	Emulated  bool              `json:"emulated,omitempty"`
	Sysctls   map[string]string `json:"sysctls"`
	Limits    map[string]string `json:"limits"`
	Addresses []string          `json:"addresses,omitempty"`
	// Link is the card that leads to the other hosts: name, driver, MTU, speed.
	Link string `json:"link,omitempty"`
}

// Variant is one server program as it was built and started.
type Variant struct {
	Name     string   `json:"name"`
	Class    string   `json:"class"`
	Title    string   `json:"title"`
	Model    string   `json:"model"`
	Library  string   `json:"library,omitempty"`
	Language string   `json:"language"`
	Settings string   `json:"settings"`
	Build    []string `json:"build"`
	Run      []string `json:"run"`
	SHA256   string   `json:"sha256"`
	// Environment is what the harness set: GOGC, GOMEMLIMIT, GOMAXPROCS.
	Environment map[string]string `json:"environment"`
	// Conforms is nil where the gate was not run.
	Conforms *bool `json:"conforms"`
}
