// Package record defines what a run leaves on disk: the manifest, one record for each
// trial, and samples over time. Every table, plot and benchmark text is computed from
// these files and from nothing else. results/RECORD.md documents them for readers who do
// not know Go. It is generated from the comments of this package.
//
// A figure that was not measured is a nil pointer, null in JSON, and a warning of the
// trial says why. It is never 0.
package record

import (
	"fmt"
	"time"
)

// Schema is the version of the format of all files of a run. Readers refuse newer versions.
const Schema = 1

// File names in the folder of a run.
const (
	ManifestFile = "manifest.json"
	TrialsFile   = "trials.jsonl"
	SamplesFile  = "samples.jsonl" + Packed
)

// Packed ends the name of a file that is compressed with gzip. A published run has its
// trials in [TrialsFile] + Packed.
const Packed = ".gz"

// StderrFile returns the name of the file with what the server of a trial wrote to its
// standard error.
func StderrFile(trial int) string { return fmt.Sprintf("trial-%d-stderr.txt", trial) }

// ClassAttached is the class of a server that somebody else has started: it does not speak the
// contract, and its figures are those that the kernel has of it.
const ClassAttached = "attached"

// Trial is one variant, measured once, in a fresh server process. Each line of
// trials.jsonl is one trial. Each phase adds an object of its own.
type Trial struct {
	// Schema is the version of the format.
	Schema int `json:"schema"`
	// Trial is the number of the trial in the run, from 1, in the order in which they ran.
	Trial int `json:"trial"`
	// Round is the number of the round, from 1. Each round runs every variant once, in
	// an order that changes from round to round.
	Round int `json:"round"`
	// Variant is the name of the server.
	Variant string `json:"variant"`
	// Class is the class of its settings: "default" or "tuned", or "attached" for a server
	// that somebody else has started.
	Class string `json:"class"`
	// Title is the variant's name for people.
	Title string `json:"title"`
	// Model is the variant's I/O model.
	Model string `json:"model"`
	// Library is what the server is made with; left out where it uses no library.
	Library string `json:"library,omitempty"`
	// Protocol is what is spoken: "http" or "tcp". It is left out if that is WebSocket.
	Protocol string `json:"protocol,omitempty"`
	// Security is the layer below the protocol: "tls" or "tls-resumed". It is left out if
	// connections are plain.
	Security string `json:"security,omitempty"`
	// Device is "tun" if the server speaks TCP itself over such a device: its connections are
	// no sockets of the kernel. It is left out if they are.
	Device string `json:"device,omitempty"`
	// Compression is how messages are compressed: "deflate" or "deflate-takeover". It is left
	// out if they are not.
	Compression string `json:"compression,omitempty"`
	// Plan is the name of the plan.
	Plan string `json:"plan"`
	// Lab is the name of the lab.
	Lab string `json:"lab"`
	// Engine is the swarm's engine: "socket" (sockets of the kernel) or "packet" (TCP in the
	// swarm itself).
	Engine string `json:"engine"`
	// Started is when the trial began.
	Started time.Time `json:"started"`
	// Seconds is how long the trial took.
	Seconds float64 `json:"seconds"`

	// ServerProcesses is the number of server processes that share the connections.
	ServerProcesses int `json:"server_processes"`
	// ClientProcesses is the number of processes of the swarm, on all client hosts.
	ClientProcesses int `json:"client_processes"`
	// ServerCPUs are the numbers of the CPUs that the server was kept to, host by host where it
	// ran on several.
	ServerCPUs []int `json:"server_cpus"`
	// ClientCPUs are the numbers of the CPUs that the swarm was kept to.
	ClientCPUs []int `json:"client_cpus"`

	// Valid is false when the figures must not be used.
	Valid bool `json:"valid"`
	// Invalid says why the figures must not be used, a sentence each.
	Invalid []string `json:"invalid,omitempty"`
	// Noisy is true when other programs disturbed the host; the warnings say how. A noisy
	// trial is run again at the end of its round, once, but not on emulated CPUs, nor
	// where the plan has keep_noisy. Its figures count unless the repetition was quiet.
	Noisy bool `json:"noisy,omitempty"`
	// Repeats is the number of the noisy trial that this one repeats.
	Repeats int `json:"repeats,omitempty"`
	// Warnings are what else a reader must know, a sentence each. They also say why a
	// figure was not taken.
	Warnings []string `json:"warnings"`

	// Connections are the counts of connections.
	Connections Connections `json:"connections"`
	// Stop is what ended the ramp.
	Stop Stop `json:"stop"`
	// PerConnection are the costs of a connection in memory.
	PerConnection PerConnection `json:"per_connection"`
	// Fits are the lines behind [Trial.PerConnection], by the same names; those of the
	// settled ramp end in "_settled_bytes".
	Fits map[string]Fit `json:"fits"`
	// KernelCaches are the slopes of single kinds of kernel memory, in bytes per
	// connection, by the kinds that [Step.Kernel] of a step has. Kinds below 1 byte are
	// left out.
	KernelCaches map[string]float64 `json:"kernel_caches,omitempty"`
	// CPU is the server's CPU time for each event of a phase, in microseconds: all of
	// its threads, from cumulative counters. "accept_us" is the time for each connection
	// of the ramp, "echo_us" for each message of the phase echo, "ping_us" for each ping
	// with its pong. "accept_user_us" and "accept_system_us" are the parts that were spent
	// in the server's own code and in the kernel; the others have such parts too.
	// "idle_cores" is CPU seconds per second while nothing is sent.
	CPU map[string]*float64 `json:"cpu"`
	// Client is what the swarm itself took.
	Client Client `json:"client"`
	// Quality says how quiet the host was.
	Quality Quality `json:"quality"`
	// Steps are the points of the ramp, that of the empty server first.
	Steps []Step `json:"steps"`
	// SettledSteps are the points of the second ramp, in which the server collects its
	// garbage before each point.
	SettledSteps []Step `json:"settled_steps,omitempty"`
	// Phases are what each phase of the main server cost.
	Phases []Phase `json:"phases"`

	// sections are the objects of the phases, by name; see [Section].
	sections map[string]any
}

// Connections says how many connections there were.
type Connections struct {
	// Target is the number of connections asked for.
	Target int `json:"target"`
	// Reached is the number of connections that answered the census.
	Reached int `json:"reached"`
	// Peak is the number of connections that were open at the end of the ramp, or just before
	// the server or the swarm died in it.
	Peak int `json:"peak"`
	// Census is three counts of the same connections.
	Census Census `json:"census"`
}

// Census is three counts of the connections that were alive at the end of the hold. If
// they differ, the trial is invalid.
type Census struct {
	// Swarm is the number of connections that sent a message and got it back.
	Swarm *int64 `json:"swarm"`
	// Server is the number of connections by the server's own count.
	Server *int64 `json:"server"`
	// Kernel is the number of established connections that the server has accepted, by the
	// kernel's list.
	Kernel *int64 `json:"kernel"`
}

// Stop says what ended the ramp.
type Stop struct {
	// Reason is the limit that ended the ramp, one of a closed list: the stop reasons.
	Reason string `json:"reason"`
	// Evidence is the facts that show the reason, a sentence each: failures, counters,
	// last words of the server.
	Evidence []string `json:"evidence"`
	// Failures are the failures of the swarm during the ramp.
	Failures []Failure `json:"failures,omitempty"`
	// Counters are the kernel counters of the server's host that changed during the ramp,
	// by how much.
	Counters map[string]int64 `json:"counters,omitempty"`
	// ClientCounters are the same of the client hosts that are not the server's, added up.
	ClientCounters map[string]int64 `json:"client_counters,omitempty"`
}

// Failure counts the failures of one kind.
type Failure struct {
	// Phase is where in the life of a connection it failed: "socket", "bind", "connect",
	// "handshake", "open" (an established connection), "send", "echo", "ping" or "close".
	Phase string `json:"phase"`
	// Error is the name of the errno, or what else went wrong: "timeout",
	// "unacknowledged" (a timeout, and not even the peer's kernel has acknowledged the
	// request), "closed", "rejected", "bad accept", "bad answer", "bad frame" or
	// "mismatch".
	Error string `json:"error"`
	// Count is how often it happened.
	Count int64 `json:"count"`
}

// PerConnection is the cost of a connection: slopes over the points of the ramp, so
// that what an empty server takes does not count. Sizes are bytes per connection.
type PerConnection struct {
	// RSSBytes is resident memory of the server.
	RSSBytes *float64 `json:"rss_bytes"`
	// RSSSettledBytes is resident memory of the server over the settled ramp, without
	// garbage.
	RSSSettledBytes *float64 `json:"rss_settled_bytes"`
	// PSSBytes is resident memory of the server; pages that processes share are divided
	// by their number.
	PSSBytes *float64 `json:"pss_bytes"`
	// PSSSettledBytes is the same over the settled ramp.
	PSSSettledBytes *float64 `json:"pss_settled_bytes"`
	// HeapInUseBytes is heap that holds objects or garbage, as the server reports it.
	HeapInUseBytes *float64 `json:"heap_in_use_bytes"`
	// LiveHeapBytes is heap that the last collection found alive, over the settled ramp,
	// as the server reports it.
	LiveHeapBytes *float64 `json:"live_heap_bytes"`
	// StackBytes is stacks, as the server reports them.
	StackBytes *float64 `json:"stack_bytes"`
	// KernelBytes is the host's kernel memory: slab caches, TCP buffers, page tables.
	// Where clients and server share a kernel it holds both ends of the connections,
	// unless the engine is "packet", which has no sockets.
	KernelBytes *float64 `json:"kernel_bytes"`
	// GroupKernelBytes is kernel memory that is charged to the control group of the
	// server: its ends of the connections. Version 1 of control groups does not charge the
	// socket itself.
	GroupKernelBytes *float64 `json:"group_kernel_bytes,omitempty"`
	// Goroutines is the number of goroutines for each connection, as the server reports
	// them.
	Goroutines *float64 `json:"goroutines"`
	// Threads is the number of threads of the server for each connection.
	Threads *float64 `json:"threads"`
}

// Fit is a line y = intercept + slope × connections by ordinary least squares.
type Fit struct {
	// Slope is the slope of the line.
	Slope float64 `json:"slope"`
	// Low is the lower end of the interval of the fit: the slope minus its standard error
	// times the 97.5th percentile of Student's t. The interval shows how straight the line of
	// this trial is. It is not a 95 % interval for other trials, which differ by more than
	// their own lines show: the interval of a figure comes from the rounds.
	Low float64 `json:"low"`
	// High is the upper end of that interval.
	High float64 `json:"high"`
	// Intercept is the value of the line at no connection.
	Intercept float64 `json:"intercept"`
	// Points is the number of points that the line was fitted to.
	Points int `json:"points"`
}

// Latency is percentiles of a time, and the histogram that they were read from.
type Latency struct {
	// P50US is the median.
	P50US float64 `json:"p50_us"`
	// P90US is the 90th percentile.
	P90US float64 `json:"p90_us"`
	// P99US is the 99th percentile.
	P99US float64 `json:"p99_us"`
	// P999US is the 99.9th percentile.
	P999US float64 `json:"p999_us"`
	// MaxUS is the longest time.
	MaxUS float64 `json:"max_us"`
	// Histogram is an HdrHistogram in nanoseconds (V2, compressed, base64).
	Histogram string `json:"histogram,omitempty"`
}

// Load is a load of messages. Each must come back whole. Latency is measured
// from the scheduled send time where a rate is offered, so that stalls on either side
// count; else from the actual send.
type Load struct {
	// Seconds is how long messages were sent.
	Seconds float64 `json:"seconds"`
	// PayloadBytes is the size of a message's payload.
	PayloadBytes int `json:"payload_bytes"`
	// OfferedPerSecond is the rate at which messages were due; left out where no rate was
	// offered.
	OfferedPerSecond *float64 `json:"offered_per_second,omitempty"`
	// DeliveredPerSecond is the rate of messages that came back whole and right while
	// messages were sent.
	DeliveredPerSecond float64 `json:"delivered_per_second"`
	// Offered is the number of messages that were due; left out by versions before it was
	// recorded, as are late and unanswered.
	Offered *int64 `json:"offered,omitempty"`
	// Sent is the number of messages that were sent.
	Sent int64 `json:"sent"`
	// Delivered is the number of messages that came back whole and right while messages
	// were sent.
	Delivered int64 `json:"delivered"`
	// Late is the number of messages that came back whole and right after that.
	Late *int64 `json:"late,omitempty"`
	// Unanswered is the number of messages that never came back. They are part of the
	// latency with their age when the load ended.
	Unanswered *int64 `json:"unanswered,omitempty"`
	// Corrupt is the number of messages that came back wrong.
	Corrupt int64 `json:"corrupt"`
	// ReceivedBytes is the number of bytes that came from the server, with headers and without
	// TLS; left out by versions before it was recorded.
	ReceivedBytes int64 `json:"received_bytes,omitempty"`
	// Lost is the number of connections that died.
	Lost int `json:"lost"`
	// InFlight is the number of messages outstanding at any time; left out where a rate
	// was offered.
	InFlight int `json:"in_flight,omitempty"`
	Latency
	// LagP50US is how late the swarm itself sent messages, or handled events where no
	// rate was offered: the median in microseconds.
	LagP50US *float64 `json:"lag_p50_us,omitempty"`
	// LagP99US is the 99th percentile of that.
	LagP99US *float64 `json:"lag_p99_us,omitempty"`
	// LagMaxUS is the largest.
	LagMaxUS *float64 `json:"lag_max_us,omitempty"`
	// ClientRunDelaySeconds is time in which event loops of the swarm could have run and
	// had no CPU, added up over its processes.
	ClientRunDelaySeconds *float64 `json:"client_run_delay_seconds,omitempty"`
	// ServerRunDelaySeconds is the same of the server's threads.
	ServerRunDelaySeconds *float64 `json:"server_run_delay_seconds,omitempty"`
	// ServerCPUUS is the server's CPU time for each message that came back.
	ServerCPUUS *float64 `json:"server_cpu_us"`
	// ClientBound is true when the swarm, not the server, set the pace. At an offered rate
	// that is when the 99th percentile of its lag is more than a tenth of the latency's.
	ClientBound bool `json:"client_bound"`
	// Failures are what went wrong.
	Failures []Failure `json:"failures,omitempty"`
}

// CameBack returns the number of messages that came back, during the load or after it. Old
// runs do not tell those that came after it.
func (l Load) CameBack() int64 {
	if l.Late == nil {
		return l.Delivered
	}
	return l.Delivered + *l.Late
}

// Client is what the swarm took in the whole trial.
type Client struct {
	// CPUSeconds is the swarm's CPU time over all metered phases.
	CPUSeconds float64 `json:"cpu_seconds"`
	// ConnectCPUUS is the swarm's CPU time for each connection of the ramp.
	ConnectCPUUS *float64 `json:"connect_cpu_us"`
	// RSSBytes is the swarm's largest resident memory, a sum over its processes.
	RSSBytes int64 `json:"rss_bytes"`
	// PSSBytes is the same with pages that processes share counted once.
	PSSBytes *int64 `json:"pss_bytes,omitempty"`
	// StateBytesPerConnection is the size of what the swarm keeps for one connection.
	StateBytesPerConnection int `json:"state_bytes_per_connection"`
	// Busy is the largest share of a load's time, 0 to 1, in which the busiest event loop
	// did not wait for events.
	Busy float64 `json:"busy"`
	// LagP99US is how late events were handled, the 99th percentile of the worst load.
	LagP99US float64 `json:"lag_p99_us"`
	// LagMaxUS is how late an event was handled at most.
	LagMaxUS float64 `json:"lag_max_us"`
}

// Quality says how quiet the host was during the trial.
type Quality struct {
	// StealShare is CPU time that the hypervisor took, a share of the CPUs used.
	StealShare *float64 `json:"steal_share"`
	// ForeignShare is CPU time that other programs took, a share of the CPUs used.
	ForeignShare *float64 `json:"foreign_share"`
	// ThrottledShare is the share of the trial's time in which a CPU quota kept tasks from
	// running; left out where there is no quota.
	ThrottledShare *float64 `json:"throttled_share,omitempty"`
	// SpinSeconds are the times of a fixed calculation, before and after the trial.
	SpinSeconds []float64 `json:"spin_seconds,omitempty"`
	// SpinRatio is the slowest of them over the run's fastest; 1 is a steady host. In the
	// file it goes by the trials before; readers go by all trials of the run.
	SpinRatio *float64 `json:"spin_ratio"`
	// CPUPressureShare is the share of time in which some task waited for a CPU
	// (/proc/pressure/cpu, "some").
	CPUPressureShare *float64 `json:"cpu_pressure_share"`
	// NoInstructions says why instructions could not be counted.
	NoInstructions string `json:"no_instructions,omitempty"`
}

// Step is one point of a ramp: what was read while nothing moved. Figures of the server
// are sums over its processes.
type Step struct {
	// Connections is the number of connections that were open.
	Connections int `json:"connections"`
	// RSSBytes is resident memory of the server.
	RSSBytes *int64 `json:"rss_bytes"`
	// PSSBytes is resident memory of the server; pages that processes share are divided
	// by their number.
	PSSBytes *int64 `json:"pss_bytes"`
	// HeapInUseBytes is heap that holds objects or garbage, as the server reports it.
	HeapInUseBytes *int64 `json:"heap_in_use_bytes"`
	// LiveHeapBytes is heap that the last collection found alive, as the server reports
	// it.
	LiveHeapBytes *int64 `json:"live_heap_bytes"`
	// StackBytes is stacks, as the server reports them.
	StackBytes *int64 `json:"stack_bytes"`
	// Goroutines is the number of goroutines, as the server reports them.
	Goroutines *int64 `json:"goroutines"`
	// Threads is the number of threads of the server.
	Threads *int64 `json:"threads"`
	// Descriptors is the number of descriptors that the server has open.
	Descriptors *int64 `json:"descriptors"`
	// KernelBytes is the host's kernel memory.
	KernelBytes *int64 `json:"kernel_bytes"`
	// GroupKernelBytes is kernel memory that is charged to the control group of the
	// server.
	GroupKernelBytes *int64 `json:"group_kernel_bytes,omitempty"`
	// ForeignSockets is the number of TCP sockets of other programs that came since the
	// empty server, negative where they went. The kernel's memory is given without them.
	ForeignSockets *int64 `json:"foreign_sockets,omitempty"`
	// KernelDoubt says why the kernel's memory at this point must not be believed.
	KernelDoubt string `json:"kernel_doubt,omitempty"`
	// AvailableBytes is MemAvailable of the host. The memory reserve is judged by that
	// less the reclaimable slab that has come since the trial began.
	AvailableBytes *int64 `json:"available_bytes"`
	// ServerCount is the number of connections by the server's count.
	ServerCount *int64 `json:"server_count"`
	// ClientRSSBytes is resident memory of the swarm.
	ClientRSSBytes *int64 `json:"client_rss_bytes"`
	// CPUSeconds is CPU time of the server since its start.
	CPUSeconds *float64 `json:"cpu_seconds"`
	// Kernel is the host's kernel memory by kind, in bytes: slab caches by name
	// ("slab:TCP"), "tcp_buffers", "page_tables", "kernel_stacks". What file systems
	// cache is left out.
	Kernel map[string]int64 `json:"kernel,omitempty"`
}

// BelievedKernelBytes returns the kernel's memory at a point; nil if it was not measured
// or must not be believed.
func (s Step) BelievedKernelBytes() *int64 {
	if s.KernelDoubt != "" {
		return nil
	}
	return s.KernelBytes
}

// Phase is what one phase cost: differences of cumulative counters between its begin
// and its end.
type Phase struct {
	// Name is the name of the phase.
	Name string `json:"name"`
	// Seconds is how long the phase took.
	Seconds float64 `json:"seconds"`
	// Events is the number of connects, messages, pings or closes in it.
	Events int64 `json:"events"`
	// ServerCPUSeconds is CPU time of the server by the scheduler's clock.
	ServerCPUSeconds *float64 `json:"server_cpu_seconds"`
	// ServerUserSeconds is CPU time in the server's own code, from getrusage(2) where the
	// server reports it, else to 10 ms.
	ServerUserSeconds *float64 `json:"server_user_seconds"`
	// ServerSystemSeconds is CPU time of the server in the kernel, by the same source.
	ServerSystemSeconds *float64 `json:"server_system_seconds"`
	// ClientCPUSeconds is CPU time of the swarm.
	ClientCPUSeconds *float64 `json:"client_cpu_seconds"`
	// ServerRunDelaySeconds is time in which threads of the server were runnable and did
	// not run, added up over the threads.
	ServerRunDelaySeconds *float64 `json:"server_run_delay_seconds,omitempty"`
	// ServerInstructions is the number of instructions that the server executed outside
	// the kernel; left out where the CPU shows no counters.
	ServerInstructions *int64 `json:"server_instructions,omitempty"`
	// SoftirqSeconds is time in which the CPUs of the server's host handled network
	// packets and other software interrupts.
	SoftirqSeconds *float64 `json:"softirq_seconds"`
	// StealSeconds is time in which the hypervisor ran somebody else on these CPUs.
	StealSeconds *float64 `json:"steal_seconds"`
	// ThrottledSeconds is time in which the CPU quota of a control group kept tasks of the
	// server's host from running; left out where there is no quota.
	ThrottledSeconds *float64 `json:"throttled_seconds,omitempty"`
	// GCCycles is the number of garbage collections of the server.
	GCCycles *int64 `json:"gc_cycles"`
	// GCPauseSeconds is time in which collections had stopped the server.
	GCPauseSeconds *float64 `json:"gc_pause_seconds"`
	// GCCPUSeconds is the part of the server's CPU time that went into collections,
	// estimated by their share of the time in which it was busy. Runs begun before
	// 2026-11-26 have the Go runtime's own figure, which counts waiting for a CPU and can
	// be more than the server spent.
	GCCPUSeconds *float64 `json:"gc_cpu_seconds"`
	// VoluntarySwitches is how often threads of the server waited for something.
	VoluntarySwitches *int64 `json:"voluntary_switches"`
	// InvoluntarySwitches is how often the kernel gave a CPU of the server's threads to
	// another.
	InvoluntarySwitches *int64 `json:"involuntary_switches"`
	// Counters are the kernel's network counters that changed, by how much.
	Counters map[string]int64 `json:"counters,omitempty"`
}

// Sample is a reading, taken twice a second whatever phase the trial is in. Each line of
// samples.jsonl.gz is one sample; the file has one gzip member for each trial.
type Sample struct {
	// Trial is the number of the trial.
	Trial int `json:"trial"`
	// Phase is the name of the phase.
	Phase string `json:"phase"`
	// Seconds is the time since the trial began.
	Seconds float64 `json:"seconds"`
	// Open is the number of open connections by the swarm's count.
	Open int `json:"open"`
	// Messages is the number of echoes that the swarm has verified in this phase.
	Messages int64 `json:"messages"`
	// ServerRSSBytes is resident memory of the server.
	ServerRSSBytes *int64 `json:"server_rss_bytes"`
	// ServerCPUSeconds is CPU time of the server since its start.
	ServerCPUSeconds *float64 `json:"server_cpu_seconds"`
	// ClientCPUSeconds is CPU time of the swarm since its start.
	ClientCPUSeconds *float64 `json:"client_cpu_seconds"`
	// ClientRSSBytes is resident memory of the swarm.
	ClientRSSBytes *int64 `json:"client_rss_bytes"`
	// KernelBytes is the host's kernel memory.
	KernelBytes *int64 `json:"kernel_bytes"`
	// AvailableBytes is MemAvailable of the host.
	AvailableBytes *int64 `json:"available_bytes"`
}

// Manifest is what was asked, on which machine, with what.
type Manifest struct {
	// Schema is the version of the format.
	Schema int `json:"schema"`
	// Title is the name of the run for people.
	Title string `json:"title"`
	// Started is when the run began.
	Started time.Time `json:"started"`
	// Finished is when the run ended; null while it runs.
	Finished *time.Time `json:"finished"`
	// State is how far the run came: [StateRunning] (also after a kill -9),
	// [StateFinished], [StateInterrupted] or [StateFailed].
	State string `json:"state"`
	// Command is what to type to repeat the run.
	Command string `json:"command"`
	// Connbench is the version of the suite: module version and VCS revision.
	Connbench string `json:"connbench"`
	// GoVersion is the version of the compiler.
	GoVersion string `json:"go_version"`
	// Seed is the seed of everything random.
	Seed uint64 `json:"seed"`
	// Plan is the plan as it was run, flags applied.
	Plan any `json:"plan"`
	// Lab is the name of the lab.
	Lab string `json:"lab"`
	// LabKind is the kind of the lab, as a lab file names it; runs before December 2026 have
	// none.
	LabKind string `json:"lab_kind,omitempty"`
	// Hosts are the hosts of the lab: machines, or network namespaces of one.
	Hosts []Host `json:"hosts"`
	// SharedKernel is true where all hosts run on one kernel. Its memory then holds both
	// ends of each connection, unless the engine is "packet".
	SharedKernel bool `json:"shared_kernel"`
	// Variants are the servers as they were built and started.
	Variants []Variant `json:"variants"`
	// Modules are the versions of the libraries that the programs were built with, by
	// module path.
	Modules map[string]string `json:"modules"`
	// Limit is the limit that was predicted to come first, and the connections that it
	// allows.
	Limit string `json:"limit,omitempty"`
	// Planned is the number of trials that the plan asks for.
	Planned int `json:"planned"`
	// Warnings are what else a reader must know, a sentence each.
	Warnings []string `json:"warnings,omitempty"`
	// Published is when the run was checked and moved into a folder of published runs.
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

// Host is one machine of the lab, or one network namespace.
type Host struct {
	// Name is its name in the lab.
	Name string `json:"name"`
	// Roles are [RoleServer], [RoleClient] or both.
	Roles []string `json:"roles"`
	// Kernel is the release of its kernel.
	Kernel string `json:"kernel"`
	// OS is the name of its distribution.
	OS string `json:"os"`
	// Architecture is its processor architecture, as Go calls it.
	Architecture string `json:"architecture"`
	// CPUModel is the name of its processor.
	CPUModel string `json:"cpu_model"`
	// CPUs is the number of its CPUs.
	CPUs int `json:"cpus"`
	// UsableCPUs are the numbers of the CPUs that our programs may run on.
	UsableCPUs []int `json:"usable_cpus"`
	// MemoryBytes is its memory.
	MemoryBytes int64 `json:"memory_bytes"`
	// Virtual is its hypervisor, where one shows.
	Virtual string `json:"virtual,omitempty"`
	// Emulated is true where its CPUs are emulated in software. Times and rates then say
	// nothing about hardware; counts and bytes do.
	Emulated bool `json:"emulated,omitempty"`
	// Sysctls are kernel settings that matter to connections, by name.
	Sysctls map[string]string `json:"sysctls"`
	// Limits are the resource limits of the agent there, by name.
	Limits map[string]string `json:"limits"`
	// Addresses are the addresses that it listens on or connects from.
	Addresses []string `json:"addresses,omitempty"`
	// Link is the network card that leads to the other hosts: name, driver, MTU, speed.
	Link string `json:"link,omitempty"`
}

// Variant is one server program as it was built and started.
type Variant struct {
	// Name is the name of its folder in servers/.
	Name string `json:"name"`
	// Class is the class of its settings: "default" or "tuned", or "attached" for a server
	// that somebody else has started.
	Class string `json:"class"`
	// Title is its name for people.
	Title string `json:"title"`
	// Model is its I/O model.
	Model string `json:"model"`
	// Library is what it is made with; left out where it uses no library.
	Library string `json:"library,omitempty"`
	// WebSocket is the WebSocket implementation; left out if it is the library's.
	WebSocket string `json:"websocket,omitempty"`
	// Language is its programming language.
	Language string `json:"language"`
	// Settings is how it is set up, in words.
	Settings string `json:"settings"`
	// Build is the command that built it.
	Build []string `json:"build"`
	// Run is the command that starts it.
	Run []string `json:"run"`
	// Commit is the git commit that it was built from, where that is an earlier build next to
	// the present one; its name then ends with "@" and the commit.
	Commit string `json:"commit,omitempty"`
	// Go is the release of Go that built it, where a run compares several; its name then ends
	// with "@go" and the release.
	Go string `json:"go,omitempty"`
	// Protocol is what is spoken: "http" or "tcp". It is left out if that is WebSocket. The
	// variant's name has it behind a +, unless the server speaks nothing else.
	Protocol string `json:"protocol,omitempty"`
	// Security is the layer below the protocol: "tls" or "tls-resumed". The variant's name then
	// ends with "+" and the layer. It is left out if connections are plain.
	Security string `json:"security,omitempty"`
	// Device is "tun" if it speaks TCP itself over such a device; left out if its connections
	// are sockets of the kernel.
	Device string `json:"device,omitempty"`
	// Compression is how messages are compressed: "deflate" or "deflate-takeover". The variant's
	// name then ends with "+" and that. It is left out if they are not.
	Compression string `json:"compression,omitempty"`
	// SHA256 is the hash of the program.
	SHA256 string `json:"sha256"`
	// Environment is the variables that the harness set: GOGC, GOMEMLIMIT, GOMAXPROCS.
	Environment map[string]string `json:"environment"`
	// Waives are the checks of the gate that its library cannot keep, each with the reason.
	Waives map[string]string `json:"waives,omitempty"`
	// Conforms is true where it passed the conformance gate; null where the gate was not
	// run.
	Conforms *bool `json:"conforms"`
}
