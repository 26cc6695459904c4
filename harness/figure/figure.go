// Package figure lists the numbers that a trial is judged by. A figure is one entry:
// what it is called and means, how it is taken from a trial, which tables show it,
// when it may be believed and on what it depends. Tables, page, CSV, benchmark text,
// charts, comparisons, predictions and documentation go over the list and name none.
//
// A phase brings figures of its own along with [Add]; those that belong to no phase
// are in this package, one file a topic.
package figure

import (
	"slices"

	"connbench/harness/environment"
	"connbench/harness/record"
)

// Kind groups figures for readers. On what a figure depends, it says itself.
type Kind string

// The kinds of figures, in the order of how well they usually repeat.
const (
	Memory   Kind = "memory"   // bytes or objects per connection, or left over
	Work     Kind = "work"     // instructions
	Rate     Kind = "rate"     // events per second
	Traffic  Kind = "traffic"  // bytes of messages
	Loss     Kind = "loss"     // messages and connections that were lost, came late or came twice
	CPU      Kind = "CPU"      // CPU time
	Latency  Kind = "latency"  // time
	Capacity Kind = "capacity" // how many connections
)

// kinds are all kinds in that order, with a word for all figures of one.
var kinds = []struct {
	Kind
	all string
}{{Memory, "memory"}, {Work, "instructions"}, {Rate, "rates"}, {Traffic, "bytes sent"}, {Loss, "losses"}, {CPU, "CPU"}, {Latency, "latency"}, {Capacity, "connections"}}

// Kinds are all kinds, in the order of how well their figures usually repeat.
func Kinds() (list []Kind) {
	for _, k := range kinds {
		list = append(list, k.Kind)
	}
	return list
}

// All is a word for all figures of the kind.
func (k Kind) All() string {
	for _, other := range kinds {
		if other.Kind == k {
			return other.all
		}
	}
	return string(k)
}

// Direction says which way a figure improves.
type Direction int

// The directions.
const (
	Lower  Direction = -1
	None   Direction = 0 // a setting rather than a result
	Higher Direction = 1
)

// String is the direction as benchstat's unit metadata has it, "" for None.
func (d Direction) String() string {
	return map[Direction]string{Lower: "lower", Higher: "higher"}[d]
}

// Table names a table, or another list of figures, in which a figure may stand. The
// entries of those tables say the rest; a new table needs no constant here.
type Table string

// The tables.
const (
	TableAdded         Table = "added" // what a layer adds
	TableCapacity      Table = "capacity"
	TableCost          Table = "cost"
	TableLoad          Table = "load"
	TableComplexity    Table = "complexity"
	TableKernel        Table = "kernel"
	TableAfter         Table = "after"
	TableTrials        Table = "trials"        // every single trial, on the page
	TableRepeatability Table = "repeatability" // how far rounds lie apart
	TableComparison    Table = "comparison"    // two runs
	TableProgress      Table = "progress"      // the line that ends a trial
)

// Figure is one number of a trial.
type Figure struct {
	// Name is the path in the record, "per_connection.rss_bytes".
	Name string
	// Title is the name for people, in a table about its subject. Alone is the title
	// outside of that table, "" where it is the same.
	Title, Alone string
	Unit         Unit
	Kind         Kind
	Better       Direction
	// Means is the definition, one sentence.
	Means string
	// Phase is the phase whose clock or counters it is taken from, "" for none.
	Phase string
	// Of is the value in a trial, nil where it was not taken.
	Of func(*record.Trial) *float64
	// Believe says why the value in a trial must not be used, "" where it may; nil
	// Believe: it always may. Read values with [Figure.Value], which asks it.
	Believe func(*record.Trial) (reason string)
	// ClientBound says why the value in a trial is the swarm's rather than the server's, ""
	// where it is not; nil ClientBound: it never is. Such a value is shown, but orders no
	// servers: ask [Variant.ClientBound].
	ClientBound func(*record.Trial) (reason string)

	// Depends are the facts of the environment that spoil a comparison where they
	// differ, besides the architecture, which spoils all. Keys of a phase's part of the
	// plan say so themselves, see package plan.
	Depends []environment.Fact
	// Tolerance is the change for the worse, as a share, that bench-check lets pass. Slack
	// is that change as an amount, for figures that are usually 0. Both 0: it does not
	// judge the figure.
	Tolerance, Slack float64

	// Tables are the tables that show it. An Optional one is left out where no variant
	// of the run has it.
	Tables   []Table
	Optional bool
	// OverFloor adds a column with the multiple of the floor's figure.
	OverFloor bool
	// Says makes it part of the summary, nil: it is not.
	Says *Sentence
	// InsteadOf names a figure that this one replaces in a comparison where
	// that cannot be compared.
	InsteadOf string

	// Slope says how it is fitted, nil where it is no slope.
	Slope *Slope
	// Settled names the same figure without garbage: what connections keep, and so the
	// least that this one is for more connections than were measured.
	Settled string
	// PartOf names the figure that this one is a part of. Where a figure has parts,
	// Remainder is what is left of it besides them.
	PartOf, Remainder string
	// Price names the rate of messages at which this is the CPU time of each, "" where
	// it is not.
	Price string

	// Parameter is what tells a member of a [Family] from the others. Family is the
	// family's name.
	Parameter float64
	Family    string
	// Place is its place in the list, see [Add].
	Place int
}

// Sentence is what the summary says of a figure: Before, the values, After.
type Sentence struct{ Before, After string }

// Value is the figure of a single trial, nil where it was not taken or must not be
// believed; doubt then says why.
func (f Figure) Value(t *record.Trial) (value *float64, doubt string) {
	value, doubt = f.Among(t)
	if value != nil && f.Slope != nil {
		if doubt = f.Slope.doubt(t); doubt != "" {
			return nil, doubt
		}
	}
	return value, doubt
}

// Among is the figure of a trial among others of its kind, which may tell what the
// interval of its own slope does not. Read the figures of a variant with
// [Variant.Summary], which asks them.
func (f Figure) Among(t *record.Trial) (value *float64, doubt string) {
	value = f.Of(t)
	if value == nil || f.Believe == nil {
		return value, ""
	}
	if doubt = f.Believe(t); doubt != "" {
		return nil, doubt
	}
	return value, ""
}

// DependsOn says whether a difference in a fact spoils a comparison of the figure.
func (f Figure) DependsOn(fact environment.Fact) bool {
	return fact == environment.Architecture || slices.Contains(f.Depends, fact)
}

// Timed reports whether the figure depends on the speed of CPUs, and so on the other
// programs that they run.
func (f Figure) Timed() bool { return f.DependsOn(environment.CPUModel) }

// In says whether a table shows the figure.
func (f Figure) In(table Table) bool { return slices.Contains(f.Tables, table) }

// FullTitle is the title outside the figure's own table.
func (f Figure) FullTitle() string {
	if f.Alone != "" {
		return f.Alone
	}
	return f.Title + f.Unit.Alone
}

// Speed is what CPU time depends on.
var Speed = []environment.Fact{
	environment.CPUModel, environment.CPUs, environment.UsableCPUs, environment.CPUQuota, environment.Hypervisor, environment.Emulated,
	environment.Lab, environment.ServerCPUs, environment.ClientCPUs, environment.Plan("client.processes"),
}

// SystemCPU is what CPU time depends on that has work for the kernel in it: the
// softirqs of the clients' sockets, if they have any, are among it.
var SystemCPU = append(slices.Clip(Speed), environment.Engine)

// Pace is what latency and rates depend on: the clients have a part in them.
var Pace = append(slices.Clip(SystemCPU), environment.Link)

// KernelMemory is what memory of the kernel depends on, which may hold one end of the
// connections or both.
var KernelMemory = []environment.Fact{environment.Lab, environment.Engine}

// With is a list of facts with more of them.
func With(list []environment.Fact, more ...environment.Fact) []environment.Fact {
	return append(slices.Clip(list), more...)
}

// Int is a whole number as a figure's value, nil for nil.
func Int[T int | int64](n *T) *float64 {
	if n == nil {
		return nil
	}
	return new(float64(*n))
}

// From reads a value off a part of a record, nil where that is not there.
func From[T any](part *T, of func(*T) float64) *float64 {
	if part == nil {
		return nil
	}
	return new(of(part))
}

// Reads makes a figure that reads a section of a record, nil where that or its value is missing.
func Reads[T any](section record.Section[T], of func(*T) *float64) func(*record.Trial) *float64 {
	return func(t *record.Trial) *float64 {
		if part := section.Of(t); part != nil {
			return of(part)
		}
		return nil
	}
}
