package connections

import (
	"math"
	"testing"

	"connbench/harness/phase"
	"connbench/harness/plan"
	"connbench/harness/record"
)

// simulated ramps a server that takes bytes by a formula, and returns what is found
// with the number of points. The kernel's memory is unknown at the points that are hidden.
func simulated(t *testing.T, budget int64, target int, pss func(n int) int64, hidden func(point int) bool) (*BudgetRecord, int) {
	t.Helper()
	return simulatedWith(t, budget, target, 5000, pss, hidden)
}

// simulatedWith is simulated with so many bytes of the kernel for each connection.
func simulatedWith(t *testing.T, budget int64, target, kernel int, pss func(n int) int64, hidden func(point int) bool) (*BudgetRecord, int) {
	t.Helper()
	trial := &phase.Trial{Target: target, Plan: plan.Default(), Record: &record.Trial{}}
	trial.Plan.BudgetBytes = budget
	RampPlan.Change(&trial.Plan, func(r *RampTable) { r.Steps = 16 })
	r := ramp{t: trial, table: RampPlan.Of(trial.Plan)}
	at := func(n int) record.Step {
		return record.Step{Connections: n, PSSBytes: new(pss(n)), KernelBytes: new(int64(1<<30 + kernel*n))}
	}
	trial.Record.Steps = []record.Step{at(0)}
	for n := range r.points() {
		if last := trial.Record.Steps[len(trial.Record.Steps)-1].Connections; n <= last || n > target {
			t.Fatalf("after %d connections come %d of %d", last, n, target)
		}
		step := at(n)
		if hidden(len(trial.Record.Steps)) {
			step.KernelBytes = nil
		}
		trial.Record.Steps = append(trial.Record.Steps, step)
	}
	describeBudget(trial)
	return Budget.Of(trial.Record), len(trial.Record.Steps) - 1
}

func none(int) bool { return false }

func TestBudgetIsSpent(t *testing.T) {
	const empty = 40 << 20
	for name, test := range map[string]struct {
		pss   func(n int) int64
		exact float64 // connections that 1 GiB holds
	}{
		"a line":              {func(n int) int64 { return empty + 300*int64(n) }, float64(1<<30-empty) / 5300},
		"large":               {func(n int) int64 { return empty + 17_000*int64(n) }, float64(1<<30-empty) / 22_000},
		"ever more expensive": {func(n int) int64 { return empty + int64(n)*int64(n)/50 }, (math.Sqrt(5000*5000+4*(1<<30-empty)/50.0) - 5000) * 25},
		"ever cheaper":        {func(n int) int64 { return empty + int64(200_000*math.Sqrt(float64(n))) }, math.Pow((math.Sqrt(4e10+4*5000*(1<<30-empty))-2e5)/1e4, 2)},
	} {
		t.Run(name, func(t *testing.T) {
			b, points := simulated(t, 1<<30, 262_144, test.pss, none)
			if b.Connections == nil || math.Abs(*b.Connections/test.exact-1) > 0.01 || *b.SpentBytes < 1<<30 {
				t.Errorf("budget %+v, spent at %v; want %.0f", *b, b.Connections, test.exact)
			}
			if points < 8 || points > 24 {
				t.Errorf("%d points for 16 steps", points)
			}
		})
	}
}

// Connections without kernel sockets take so little that the first points do not show it.
func TestBudgetWithoutKernelSockets(t *testing.T) {
	const empty = 40 << 20
	b, points := simulatedWith(t, 1<<30, 1<<30/32, 0, func(n int) int64 {
		if n > 0 && n < 100_000 {
			return empty - 4<<20
		}
		return empty + 33*int64(n)
	}, none)
	if exact := float64(1<<30-empty) / 33; b.Connections == nil || math.Abs(*b.Connections/exact-1) > 0.01 {
		t.Errorf("budget %+v, want %.0f", *b, exact)
	}
	if points < 8 || points > 24 {
		t.Errorf("%d points for 16 steps", points)
	}
	// The first point is one that kernel sockets can reach.
	var first int
	simulatedWith(t, 1<<30, 1<<30/32, 20_000, func(n int) int64 {
		if first == 0 {
			first = n
		}
		return empty
	}, none)
	if first != 1<<30/4096/16 {
		t.Errorf("the first point is at %d connections", first)
	}
}

func TestBudgetThatIsNotSpent(t *testing.T) {
	b, _ := simulated(t, 1<<30, 1000, func(n int) int64 { return 1 << 20 }, none)
	if b.Connections != nil || *b.SpentBytes != 1<<20+5000*1000 {
		t.Errorf("budget %+v", *b)
	}
	// An empty server may take more already.
	b, points := simulated(t, 1<<20, 1000, func(int) int64 { return 2 << 20 }, none)
	if points != 0 || b.Connections == nil || *b.Connections != 0 {
		t.Errorf("%d points, budget %+v", points, *b)
	}
}

// Points at which other programs' sockets hide what is spent do not end the ramp, unless
// there are many in a row.
func TestBudgetBesideOthers(t *testing.T) {
	ramped := func(hidden func(point int) bool) (*BudgetRecord, int) {
		return simulated(t, 1<<30, 262_144, func(n int) int64 { return 40<<20 + 300*int64(n) }, hidden)
	}
	const exact = float64(1<<30-40<<20) / 5300
	for name, hidden := range map[string]func(int) bool{
		"the first":      func(point int) bool { return point == 1 },
		"every other":    func(point int) bool { return point%2 == 0 },
		"three in a row": func(point int) bool { return point >= 5 && point < 8 },
	} {
		if b, points := ramped(hidden); b.Connections == nil || math.Abs(*b.Connections/exact-1) > 0.01 || points > 50 {
			t.Errorf("%s: budget %+v after %d points, want %.0f", name, *b, points, exact)
		}
	}
	if b, points := ramped(func(int) bool { return true }); b.Connections != nil || points > mostUnknown+1 {
		t.Errorf("all: budget %+v after %d points", *b, points)
	}
}
