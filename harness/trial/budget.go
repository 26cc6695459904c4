package trial

import (
	"iter"

	"connbench/harness/record"
)

// budgetPoints are the points of a ramp that goes on until the plan's budget is
// spent: as many as the plan has steps for, each as far as the rest of the budget,
// shared among the steps left, seems to reach by what a connection took so far. The
// last may fall short; then small ones follow until the budget is spent.
func (r *run) budgetPoints() iter.Seq[int] {
	return func(yield func(int) bool) {
		for {
			empty, last := r.record.Steps[0], r.record.Steps[len(r.record.Steps)-1]
			before, spent := r.spent(empty), r.spent(last)
			if spent == nil || *spent >= r.Plan.BudgetBytes || last.Connections >= r.Target {
				return
			}
			step := r.Target / r.Plan.Ramp.Steps
			if each := float64(*spent-*before) / float64(last.Connections); last.Connections > 0 && each > 0 {
				left := max(1, r.Plan.Ramp.Steps-len(r.record.Steps)+1)
				all := float64(r.Plan.BudgetBytes) / each
				step = int(max(float64(r.Plan.BudgetBytes-*spent)/each/float64(left), all/float64(smallStep*r.Plan.Ramp.Steps)))
			}
			if !yield(min(r.Target, last.Connections+max(1, step))) {
				return
			}
		}
	}
}

// smallStep is how many of the least steps make one of those that the plan counts.
const smallStep = 4

// spent is what of a budget is spent at a point of the ramp, in bytes; nil where a
// part of it was not measured.
func (r *run) spent(at record.Step) *int64 {
	empty := r.record.Steps[0]
	if at.PSSBytes == nil || at.KernelBytes == nil || empty.KernelBytes == nil {
		return nil
	}
	return new(*at.PSSBytes + *at.KernelBytes - *empty.KernelBytes)
}

// describeBudget finds the number of connections at which the budget was spent.
func (r *run) describeBudget() {
	if r.Plan.BudgetBytes == 0 {
		return
	}
	steps := r.record.Steps
	last := steps[len(steps)-1]
	b := &record.Budget{Bytes: r.Plan.BudgetBytes, SpentBytes: r.spent(last)}
	r.record.Budget = b
	switch {
	case b.SpentBytes == nil:
		r.warn("what of the budget was spent could not be measured: it takes the PSS of the servers and the kernel's memory")
	case *b.SpentBytes < b.Bytes:
	case len(steps) == 1:
		b.Connections = new(0.0) // the empty server takes more
	default:
		first := steps[len(steps)-2]
		from, to := float64(*r.spent(first)), float64(*b.SpentBytes)
		share := (float64(b.Bytes) - from) / (to - from)
		b.Connections = new(float64(first.Connections) + share*float64(last.Connections-first.Connections))
	}
}
