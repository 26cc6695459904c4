package connections

import (
	"fmt"
	"iter"

	"connbench/harness/environment"
	"connbench/harness/figure"
	"connbench/harness/limits"
	"connbench/harness/overview"
	"connbench/harness/phase"
	"connbench/harness/record"
	"connbench/harness/table"
)

// BudgetRecord is memory that the connections may take: the PSS of the server's
// processes, empty ones included, and the kernel's memory above what it was with the
// empty server. The kernel's part holds both ends of each connection where clients and
// server share a kernel, unless the engine is "packet". The ramp ends at its first pause
// at which the budget is spent, garbage included: a server is taken as it runs.
type BudgetRecord struct {
	// Bytes is the budget.
	Bytes int64 `json:"bytes"`
	// SpentBytes is what was spent at the last point of the ramp at which that is known.
	SpentBytes *int64 `json:"spent_bytes"`
	// Connections is the number of connections at which the budget was spent, on the line
	// between the last two such points; null where it was not spent.
	Connections *float64 `json:"connections"`
}

// Budget is the object of a trial whose plan has a budget.
var Budget = record.NewSection[BudgetRecord]("budget")

// budgetPoints yields the points of a ramp that goes on until the plan's budget is
// spent, about as many as the plan has steps. Each step takes an equal share of what is
// left of the budget, by what a connection took so far. The first is small enough for
// connections with kernel sockets: what others take is seen only then. If the last step falls short,
// small ones follow until the budget is spent. Points at which it is not known how much is
// spent are passed over by small steps too, but not many in a row.
func budgetPoints(t *phase.Trial, steps int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for {
			known, unknown := known(t.Record.Steps)
			if len(known) == 0 || unknown > mostUnknown {
				return
			}
			empty, at, last := known[0], known[len(known)-1], t.Record.Steps[len(t.Record.Steps)-1]
			before, spent := *spentOf(empty, empty), *spentOf(empty, at)
			if spent >= t.Plan.BudgetBytes || last.Connections >= t.Target {
				return
			}
			step := max(1, min(t.Target, int(t.Plan.BudgetBytes/limits.SocketBytes))/steps)
			each := float64(spent-before) / float64(at.Connections)
			switch {
			case at.Connections > 0 && each > 0:
				left := max(1, steps-len(t.Record.Steps)+1)
				small := t.Plan.BudgetBytes / int64(each*float64(smallSteps*steps)+1)
				step = int(max(float64(t.Plan.BudgetBytes-spent)/each/float64(left), float64(small)))
				if unknown > 0 {
					step = int(small)
				}
			case unknown == 0:
				step = max(step, last.Connections) // they take too little to be seen yet
			}
			if !yield(min(t.Target, last.Connections+max(1, step))) {
				return
			}
		}
	}
}

// mostUnknown is how many points in a row may be passed over.
const mostUnknown = 3

// known are the points at which it is known how much of a budget is spent, from the empty
// server on, and how many at the end it is not known of. There are none where it is not even
// known of the empty server.
func known(steps []record.Step) (points []record.Step, unknown int) {
	for _, step := range steps {
		if spentOf(steps[0], step) == nil {
			unknown++
			continue
		}
		points, unknown = append(points, step), 0
	}
	if spentOf(steps[0], steps[0]) == nil {
		return nil, unknown
	}
	return points, unknown
}

// smallSteps is how many of the smallest steps make an average one.
const smallSteps = 4

// spentOf returns how much of a budget is spent at a point of the ramp, in bytes; nil if
// a part of it was not measured.
func spentOf(empty, at record.Step) *int64 {
	kernel := at.BelievedKernelBytes()
	if at.PSSBytes == nil || kernel == nil || empty.KernelBytes == nil {
		return nil
	}
	return new(*at.PSSBytes + *kernel - *empty.KernelBytes)
}

// describeBudget records the number of connections at which the budget was spent.
func describeBudget(t *phase.Trial) {
	if t.Plan.BudgetBytes == 0 {
		return
	}
	b := &BudgetRecord{Bytes: t.Plan.BudgetBytes}
	Budget.Set(t.Record, b)
	steps, _ := known(t.Record.Steps)
	if len(steps) > 0 {
		b.SpentBytes = spentOf(steps[0], steps[len(steps)-1])
	}
	switch {
	case b.SpentBytes == nil:
		t.Warn("how much of the budget was spent could not be measured: it takes the PSS of the servers and the kernel's memory")
	case *b.SpentBytes < b.Bytes:
	case len(steps) == 1:
		b.Connections = new(0.0) // the empty server takes more
	default:
		first, last := steps[len(steps)-2], steps[len(steps)-1]
		from, to := float64(*spentOf(steps[0], first)), float64(*b.SpentBytes)
		share := (float64(b.Bytes) - from) / (to - from)
		b.Connections = new(float64(first.Connections) + share*float64(last.Connections-first.Connections))
	}
}

// InBudget is how many connections fit into the plan's budget of memory.
var InBudget = figure.Add(figure.PlaceConnections, figure.Figure{
	Name: "budget.connections", Title: "in budget", Alone: "connections in budget", Unit: figure.UnitConnections, Kind: figure.Capacity, Better: figure.Higher,
	Means: "Connections at which the plan's memory budget was used up: PSS of the server's processes plus kernel memory beyond that with the empty server.",
	Of: func(t *record.Trial) *float64 {
		if b := Budget.Of(t); b != nil {
			return b.Connections
		}
		return nil
	},
	Depends:  figure.With(figure.KernelMemory, environment.Plan("budget_bytes")),
	Tables:   []figure.Table{figure.TableCapacity, figure.TableComparison},
	Optional: true,
})

// What a run with a budget says besides the figure.
var (
	_ = overview.AddNote(InBudget, func(run *record.Run) []string {
		return []string{fmt.Sprintf("In budget: connections at which PSS of the server's processes, empty ones included, and kernel memory "+
			"above that with the empty server came to %s.", table.Memory(budgetOf(run)))}
	}, overview.WhoseKernel)
	_ = overview.AddOpening(func(run overview.Run) string {
		budget := budgetOf(run.Run)
		if budget == 0 {
			return ""
		}
		var list []string
		for _, v := range run.Variants {
			if s := v.Summary(InBudget); s.N() > 0 {
				list = append(list, run.Label(v)+" "+table.Number(s.Median))
			} else {
				list = append(list, fmt.Sprintf("%s not known (stopped by: %s)", run.Label(v), overview.StopReasons(v.Valid)))
			}
		}
		return fmt.Sprintf("Connections within %s of memory: %s.", table.Memory(budget), table.List(list))
	})
)

// budgetOf is the budget of a run in bytes, 0 if it has none.
func budgetOf(run *record.Run) int64 {
	for _, t := range run.Trials {
		if budget := Budget.Of(&t); budget != nil {
			return budget.Bytes
		}
	}
	return 0
}
