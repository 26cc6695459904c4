package cause

import (
	"fmt"
	"maps"
	"slices"

	"connbench/clients/control"
)

// Facts are what is known when a ramp has ended, or a trial before its ramp had.
type Facts struct {
	// Ramp is how the ramp ended; nil where the trial could not go on before that,
	// and Failed then says why.
	Ramp   *Ramp
	Failed string

	// Interrupted is true after Ctrl-C, a signal, or when the plan's time is over.
	Interrupted bool
	// Each of these says how it happened, "" where it did not: a host was lost, a
	// process of the server or of the swarm ended, a host refused to start one, the
	// server broke the contract of servers/README.md.
	HostLost, ServerEnded, ClientEnded, StartRefused, ContractBroken string

	// ServerCounters are the kernel counters of the server's host that changed during
	// the ramp, by how much; ClientCounters those of client hosts elsewhere, added up.
	ServerCounters, ClientCounters map[string]int64
	// LastWords are what servers wrote to standard error last, one sentence each.
	LastWords []string
}

// Ramp is how a ramp ended.
type Ramp struct {
	// Open is the number of connections at its end, Target the number asked for.
	Open, Target int
	// StoppedBy and Failures are as in control.Result, TimeoutSeconds as in
	// control.Command.
	StoppedBy      string
	Failures       []control.Failure
	TimeoutSeconds float64
	// Answers counts what the server said to connections that it refused or ended, by HTTP
	// status and close code.
	Answers map[string]int64

	// BudgetBytes is the memory that the plan allows the connections, 0: any amount;
	// SpentBytes is what they took, nil where the budget was not spent.
	BudgetBytes int64
	SpentBytes  *int64
	// Shortage says for what memory the ramp was stopped; nil where it was not.
	Shortage *Shortage
	// Descriptors is what the server's processes have open, nil where it is unknown;
	// DescriptorLimit is what they may have together, 0: any number.
	Descriptors     *int64
	DescriptorLimit int64
	// LibraryLimit is the number of connections that the server's library allows all
	// its processes, 0: any.
	LibraryLimit int
}

// Shortage is the memory that was short.
type Shortage struct {
	// AvailableBytes were left, when ReserveBytes had to be.
	AvailableBytes, ReserveBytes int64
	// Group is the folder of the control group that had no more, "" where it was the
	// host.
	Group string
}

// Counter is a counter's change on all hosts.
func (f *Facts) Counter(name string) int64 { return f.ServerCounters[name] + f.ClientCounters[name] }

// Failures is the number of failures of these kinds.
func (f *Facts) Failures(kinds []control.FailureKind) (count int64) {
	if f.Ramp == nil {
		return 0
	}
	for _, failure := range f.Ramp.Failures {
		if slices.Contains(kinds, failure.Kind()) {
			count += failure.Count
		}
	}
	return count
}

// mostly says whether at least half of all failures are of these kinds.
func (f *Facts) mostly(kinds []control.FailureKind) bool {
	if f.Ramp == nil {
		return false
	}
	var all int64
	for _, failure := range f.Ramp.Failures {
		all += failure.Count
	}
	of := f.Failures(kinds)
	return of > 0 && 2*of >= all
}

// stopped says whether StoppedBy names what ended the ramp.
func (f *Facts) stopped(by string) bool { return f.Ramp != nil && f.Ramp.StoppedBy == by }

// open is the number of connections at the end of the ramp.
func (f *Facts) open() int {
	if f.Ramp == nil {
		return 0
	}
	return f.Ramp.Open
}

// counters lists every change, one sentence each.
func (f *Facts) counters() (list []string) {
	for _, side := range []struct {
		name    string
		changes map[string]int64
	}{{"server host", f.ServerCounters}, {"client hosts", f.ClientCounters}} {
		for _, name := range slices.Sorted(maps.Keys(side.changes)) {
			list = append(list, fmt.Sprintf("%s: %s %+d", side.name, name, side.changes[name]))
		}
	}
	return list
}
