// Package phase has the phases of a trial, one file each. A phase's file holds all that
// the suite knows about it: its table in a plan with defaults and checks, whether and
// how long it runs, what it asks the swarm to do, what it records, and its figures.
// Everything else goes over the list of phases.
package phase

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"connbench/clients/control"
	"connbench/harness/figure"
	"connbench/harness/plan"
	"connbench/harness/progress"
	"connbench/harness/reading"
	"connbench/harness/record"
	"connbench/harness/session"
	"connbench/harness/variant"
)

// Phase is one part of a trial.
type Phase struct {
	// Name is the phase's name in progress, record and samples.
	Name string
	// Order is its place in a trial: phases run in ascending order.
	Order int
	// About says in one sentence what the phase does, for the documentation.
	About string
	// Table is the phase's part of a plan, nil where it has none of its own.
	Table plan.Table
	// Finds are the objects of a trial's record that the phase fills in.
	Finds []record.Object
	// Opens is true if the phase opens connections, so that the memory reserve ends it.
	Opens bool
	// OwnServer is true if the phase starts fresh servers itself, after the main one has
	// been closed. If it fails, only its own figures are missing.
	OwnServer bool
	// Broadcast is true if the phase needs a server that can send messages to all connections.
	Broadcast bool
	// Planned says whether the phase is part of a plan, and about how many seconds it
	// takes with a number of connections.
	Planned func(p plan.Plan, connections int) (runs bool, seconds float64)
	// Run carries the phase out. It records in t.Record what it found, even if it returns
	// an error.
	Run func(ctx context.Context, t *Trial) error
}

// all lists the phases in their order.
var all []Phase

// Add adds a phase to those that trials run. It returns the phase so that package
// variables can be initialised with it.
func Add(p Phase) Phase {
	if slices.ContainsFunc(all, func(q Phase) bool { return q.Name == p.Name || q.Order == p.Order }) {
		panic(fmt.Sprintf("phase: %s has the name or the place (%d) of another", p.Name, p.Order))
	}
	all = append(all, p)
	slices.SortFunc(all, func(a, b Phase) int { return cmp.Compare(a.Order, b.Order) })
	return p
}

// All returns the phases in the order in which a trial runs them.
func All() []Phase { return slices.Clone(all) }

// Of returns the phases of a plan.
func Of(p plan.Plan, connections int) []Phase {
	return slices.DeleteFunc(All(), func(phase Phase) bool {
		runs, _ := phase.Planned(p, connections)
		return !runs
	})
}

// Duration estimates how long the phases of a plan take with a number of connections.
func Duration(p plan.Plan, connections int) time.Duration {
	sum := 0.0
	for _, phase := range all {
		if runs, seconds := phase.Planned(p, connections); runs {
			sum += seconds
		}
	}
	return plan.Seconds(sum)
}

// Topology is what phases must know about the hosts.
type Topology struct {
	// ServerProcesses is the number of server processes, ServerCPUs the number of
	// CPUs that they share.
	ServerProcesses, ServerCPUs int
	// MostPerProcess is the number of connections that the server's library allows in one
	// process; 0 is no limit.
	MostPerProcess int
	// DescriptorsPerProcess is the number of descriptors that a server process may open; 0
	// is unknown.
	DescriptorsPerProcess int64
	// ClientHosts is the number of hosts that clients are on.
	ClientHosts int
	// KernelEnds is how many ends of each connection the server's kernel holds: 2 if the
	// clients have their sockets there too.
	KernelEnds int
}

// Hosts reads the hosts themselves, apart from servers and clients.
type Hosts interface {
	// Lost is an [agent.ErrHostLost] if a host has been lost.
	Lost() error
	// TimeWait counts the sockets in TIME_WAIT on all hosts; nil if a host does not know.
	TimeWait(ctx context.Context) (*int64, error)
	// ServerHost reads the server's host in detail, even after the server has ended.
	ServerHost(ctx context.Context) (reading.System, error)
	// Counters adds up the kernel counters of the client hosts other than the server's;
	// nil if there are none, or one cannot be read.
	Counters(ctx context.Context) map[string]int64
}

// Trial is a running trial, as its phases see it.
type Trial struct {
	Plan   plan.Plan
	Target int
	Topology
	Hosts    Hosts
	Progress progress.Progress
	// Record is filled in by the phases and filed at the end.
	Record *record.Trial
	// Session is the open session: the main server's, or one that a phase with OwnServer
	// has opened.
	Session *session.Session
	// Meters are the meters of the closed sessions, the main server's first.
	Meters []*session.Meter

	Opener session.Opener
	Watch  session.Watch
}

// OpenSession starts a fresh server with its swarm. CloseSession must follow, even after
// an error.
func (t *Trial) OpenSession(ctx context.Context, o session.Options) (err error) {
	t.Session, err = session.Start(ctx, t.Opener, o, t.Watch)
	t.Progress.Update(0, 0) // the connections of the session before are gone
	return err
}

// CloseSession ends server and swarm, and keeps their meter. If they do not end as they
// should, the trial is invalid: the figures of a server that hands its work to other
// processes are not its own.
func (t *Trial) CloseSession(ctx context.Context) {
	if err := t.Session.Close(ctx); err != nil {
		t.Invalidate("%v", err)
	}
	if t.Session.Meter != nil {
		t.Meters = append(t.Meters, t.Session.Meter)
	}
	t.Session = nil
}

// Warn notes what a reader must know about figures that are valid. Each text is noted
// once.
func (t *Trial) Warn(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(t.Record.Warnings, text) {
		t.Record.Warnings = append(t.Record.Warnings, text)
	}
}

// WarnOfFullHandshakes notes that fewer than half of the connections that a command opened
// resumed a TLS session, if they all should have.
func (t *Trial) WarnOfFullHandshakes(name string, r control.Result) {
	if resumed := r.Counts[control.CountResumed]; t.Record.Security == variant.SecurityResumed && resumed < int64(r.Opened)/2 {
		t.Warn("%s: %d of %d connections resumed a TLS session: the server does not support it for all", name, resumed, r.Opened)
	}
}

// Invalidate notes why the figures must not be used.
func (t *Trial) Invalidate(format string, args ...any) {
	t.Record.Invalid = append(t.Record.Invalid, fmt.Sprintf(format, args...))
}

// CPU notes the server's CPU time for each event of a phase, in microseconds, and its
// Instructions. The scheduler's clock gives the sum; the parts have the proportions of
// getrusage.
func (t *Trial) CPU(event string, piece record.Phase) {
	if piece.Events == 0 {
		return
	}
	if n := piece.ServerInstructions; n != nil {
		t.SetCPU(event+"_instructions", new(float64(*n)/float64(piece.Events)))
	}
	if piece.ServerCPUSeconds == nil {
		return
	}
	total := *piece.ServerCPUSeconds / float64(piece.Events) * 1e6
	t.SetCPU(event+"_us", &total)
	if piece.ServerUserSeconds == nil || piece.ServerSystemSeconds == nil {
		return
	}
	if sum := *piece.ServerUserSeconds + *piece.ServerSystemSeconds; sum > 0 {
		t.SetCPU(event+"_user_us", new(total**piece.ServerUserSeconds/sum))
		t.SetCPU(event+"_system_us", new(total**piece.ServerSystemSeconds/sum))
	}
}

// SetCPU notes one figure in the record's "cpu".
func (t *Trial) SetCPU(name string, value *float64) {
	if t.Record.CPU == nil {
		t.Record.CPU = map[string]*float64{}
	}
	t.Record.CPU[name] = value
}

// SwarmMemory keeps the largest memory use of the swarm.
func (t *Trial) SwarmMemory(u control.Usage) {
	c := &t.Record.Client
	c.RSSBytes = max(c.RSSBytes, u.RSSBytes)
	if u.PSSBytes > 0 && (c.PSSBytes == nil || u.PSSBytes > *c.PSSBytes) {
		c.PSSBytes = &u.PSSBytes
	}
	c.StateBytesPerConnection = max(c.StateBytesPerConnection, u.StateBytesPerConnection)
}

// SwarmLag keeps the highest load and the largest lag of the swarm.
func (t *Trial) SwarmLag(u control.Usage) {
	c := &t.Record.Client
	c.Busy = max(c.Busy, u.Busy)
	c.LagP99US = max(c.LagP99US, u.LagP99Seconds*1e6)
	c.LagMaxUS = max(c.LagMaxUS, u.LagMaxSeconds*1e6)
}

// Sleep waits, unless ctx ends before.
func Sleep(ctx context.Context, seconds float64) error {
	select {
	case <-time.After(plan.Seconds(seconds)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Always implements [Phase.Planned] for a phase that is part of every plan and takes next
// to no time.
func Always(plan.Plan, int) (bool, float64) { return true, 0 }

// FailuresOf returns the swarm's failures for the record.
func FailuresOf(counted []control.Failure) []record.Failure {
	var failures []record.Failure
	for _, f := range counted {
		failures = append(failures, record.Failure{Phase: string(f.Phase), Error: string(f.Error), Count: f.Count})
	}
	return failures
}

// Latency returns the percentiles of an encoded histogram of nanoseconds; nil if there is
// no histogram, or it is empty.
func (t *Trial) Latency(encoded string) *record.Latency {
	if encoded == "" {
		return nil
	}
	latency, err := record.ReadLatency(encoded)
	if err != nil {
		t.Warn("a latency histogram of the swarm could not be read: %s", strings.TrimSpace(err.Error()))
	}
	return latency
}

// Added is what memory has grown by, in bytes per connection. It is nil if either reading is
// missing, or if there are no connections.
func Added[N int | int64](before, after *int64, connections N) *float64 {
	if before == nil || after == nil || connections == 0 {
		return nil
	}
	return new(float64(*after-*before) / float64(connections))
}

// OfCPU makes a figure that reads one of the record's CPU times.
func OfCPU(name string) func(*record.Trial) *float64 {
	return func(t *record.Trial) *float64 { return t.CPU[name] }
}

// AddCPU adds three figures: the server's CPU time for each event of a phase, and its parts,
// user and system. total has the fields that differ between events; the others follow from
// the event. AddCPU returns the first figure.
func AddCPU(place int, event string, total figure.Figure) figure.Figure {
	part := figure.Figure{Unit: figure.UnitMicroseconds, Kind: figure.CPU, Better: figure.Lower, Phase: total.Phase}
	user, system := part, part
	total.Name, total.Of = "cpu."+event+"_us", OfCPU(event+"_us")
	total.Unit, total.Kind, total.Better, total.Depends = part.Unit, part.Kind, part.Better, figure.SystemCPU
	user.Name, user.Of = "cpu."+event+"_user_us", OfCPU(event+"_user_us")
	user.Title, user.Means = "user "+total.Title, "The part of "+total.Title+" that was spent in the server's own code."
	user.Depends, user.InsteadOf = figure.Speed, total.Name
	system.Name, system.Of = "cpu."+event+"_system_us", OfCPU(event+"_system_us")
	system.Title, system.Means = "system "+total.Title, "The part of "+total.Title+" that was spent in the kernel."
	system.Depends = figure.SystemCPU
	added := figure.Add(place, total)
	figure.Add(place, user)
	figure.Add(place, system)
	return added
}

// Instructions adds the figure of a server's instructions for each event of a phase. They
// hardly depend on other programs.
func Instructions(place int, phase, event, what string, tables ...figure.Table) figure.Figure {
	return figure.Add(place, figure.Figure{
		Name: "cpu." + event + "_instructions", Title: "instructions per " + what, Unit: figure.UnitInstructions, Kind: figure.Work, Better: figure.Lower, Phase: phase,
		Means: "Instructions that the server executed outside the kernel, per " + what + ". They hardly depend on other programs; most virtual machines cannot count them.",
		Of:    OfCPU(event + "_instructions"), Tolerance: 0.1,
		Tables: tables, Optional: true,
	})
}

// MostInFlight is the largest number of messages in flight: the swarm keeps a time stamp
// for each.
const MostInFlight = 1 << 24
