// Package agent runs programs on a host and reads that host's figures, for a
// harness that may be elsewhere. The harness starts `connbench agent` on the
// host (directly, in a namespace, over ssh) and holds its standard input and
// output: JSON values in both directions, no port, no file. When its input ends
// the agent kills everything that it started and exits.
package agent

import (
	"connbench/harness/probe"
	"connbench/harness/record"
)

// request is what the harness asks; every request has one reply of the same ID.
type request struct {
	ID int64  `json:"id"`
	Do string `json:"do"`

	Name      string `json:"name,omitempty"`
	Start     *Start `json:"start,omitempty"`
	Process   int    `json:"process,omitempty"`
	Processes []int  `json:"processes,omitempty"`
	Line      string `json:"line,omitempty"`
	Detail    bool   `json:"detail,omitempty"`

	// For reach: where from and where to; for listen: where.
	Sources []string `json:"sources,omitempty"`
	Targets []string `json:"targets,omitempty"`

	// For a program on its way: its hash, and the next piece of it.
	SHA256 string `json:"sha256,omitempty"`
	Piece  []byte `json:"piece,omitempty"`
	Last   bool   `json:"last,omitempty"`
}

// What a request does.
const (
	doHost    = "host"    // facts of the host
	doHave    = "have"    // where the program with this hash is, "" if it must be sent
	doPut     = "put"     // the next piece of a program
	doStart   = "start"   // start a process
	doWrite   = "write"   // a line to a process's standard input
	doClose   = "close"   // end of a process's standard input
	doKill    = "kill"    // SIGKILL to a process and its children
	doMeasure = "measure" // read the host's and the processes' figures
	doSaid    = "said"    // the last line that a process wrote to its standard error
	doTree    = "tree"    // what a process and its descendants use
	doSpin    = "spin"    // time a fixed calculation
	doVitals  = "vitals"  // what of the host changes, or is nobody else's business
	doListen  = "listen"  // accept connections on addresses, for reach
	doReach   = "reach"   // connect from addresses to those that listen
	doForward = "forward" // what is missing for the packet engine
	doLink    = "link"    // the card that leads to an address
	doPing    = "ping"    // say something, so that the other side knows
)

// Start says what to start and how.
type Start struct {
	Command []string `json:"command"`
	// Environment is added to the host's own, from which every GO* variable has
	// been removed: only what the harness says may set up a Go program.
	Environment map[string]string `json:"environment,omitempty"`
	// CPUs are those the process may run on; none: all.
	CPUs []int `json:"cpus,omitempty"`
	// Grouped has the kernel's memory for the process counted apart, where the host
	// allows it: see [Measurement].
	Grouped bool `json:"grouped,omitempty"`
}

// message is what the agent says: a reply, or (ID 0) an event of a process.
type message struct {
	ID    int64  `json:"id,omitempty"`
	Error string `json:"error,omitempty"`

	Host        *record.Host `json:"host,omitempty"`
	Warnings    []string     `json:"warnings,omitempty"`
	Path        string       `json:"path,omitempty"`
	Said        string       `json:"said,omitempty"`
	Process     int          `json:"process,omitempty"`
	PID         int          `json:"pid,omitempty"`
	Measurement *Measurement `json:"measurement,omitempty"`
	Tree        *Tree        `json:"tree,omitempty"`
	SpinSeconds float64      `json:"spin_seconds,omitempty"`
	Vitals      *Vitals      `json:"vitals,omitempty"`
	Targets     []string     `json:"targets,omitempty"`
	Reach       *Reach       `json:"reach,omitempty"`
	Missing     []string     `json:"missing,omitempty"`
	Link        string       `json:"link,omitempty"`

	Line *string `json:"line,omitempty"`
	Exit *Exit   `json:"exit,omitempty"`
}

// Vitals are what of a host does not go into the record.
type Vitals struct {
	// Boot is the kernel's own mark (boot_id, random(4)): hosts with the same one
	// run on one kernel.
	Boot string `json:"boot"`
	// UnixSeconds is the time by the host's clock.
	UnixSeconds float64 `json:"unix_seconds"`
	// Programs is the folder where programs are kept, FreeBytes what may still be
	// written there.
	Programs  string `json:"programs"`
	FreeBytes int64  `json:"free_bytes"`
}

// Measurement is one reading of the host and of some of its processes.
type Measurement struct {
	System    probe.System    `json:"system"`
	Processes []probe.Process `json:"processes"`
	// GroupKernelBytes is [probe.Group.KernelBytes] of all processes that were
	// started Grouped, in detailed readings; nil where there are none, or the host
	// has no such group.
	GroupKernelBytes *int64 `json:"group_kernel_bytes,omitempty"`
}

// Tree is what a process and its descendants use together.
type Tree struct {
	RSSBytes   int64   `json:"rss_bytes"`
	CPUSeconds float64 `json:"cpu_seconds"`
}

// Exit says how a process ended.
type Exit struct {
	// Status is the exit status, -1 after a signal; Signal names that.
	Status int    `json:"status"`
	Signal string `json:"signal,omitempty"`
	// Stderr is the end of what it wrote there.
	Stderr string `json:"stderr,omitempty"`
}
