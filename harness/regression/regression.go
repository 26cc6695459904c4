// Package regression finds out whether servers got worse: it compares a new run with
// a baseline, and confirms what seems worse by a second run.
package regression

import (
	"connbench/harness/compare"
	"connbench/harness/record"
	"connbench/harness/variant"
)

// Attempt is one measurement, compared with the baseline.
type Attempt struct {
	// Number is 1 for the first attempt.
	Number int
	// Run is what was measured, Comparison that of the baseline with it.
	Run        *record.Run
	Comparison compare.Comparison
	// Again are the variants that the next attempt measures once more; none after
	// the last.
	Again []string
}

// Worse lists the tolerances that were exceeded.
func (a Attempt) Worse() []string { return a.Comparison.Failed }

// attempts is how many measurements must agree that something is worse.
const attempts = 2

// Measurement is what an attempt measured, and the baseline that it is compared with.
type Measurement struct{ Baseline, Run *record.Run }

// Check calls measure for all variants of the plan (none are named), and once more for those
// that seem worse. It calls show after each attempt, and returns the last one.
func Check(measure func(variants []string) (Measurement, error), show func(Attempt) error) (Attempt, error) {
	var last Attempt
	for n := 1; n == 1 || len(last.Again) > 0; n++ {
		m, err := measure(last.Again)
		if err != nil {
			return last, err
		}
		comparison, err := compare.Compare(m.Baseline, m.Run, compare.Tolerances())
		if err != nil {
			return last, err
		}
		last = Attempt{Number: n, Run: m.Run, Comparison: comparison}
		if n < attempts {
			last.Again = comparison.FailedVariants()
		}
		if err := show(last); err != nil {
			return last, err
		}
	}
	return last, nil
}

// Split splits a run that measured two builds of each variant. The earlier builds become the
// baseline, under the names of the present ones.
func Split(run *record.Run) Measurement {
	m := Measurement{Baseline: half(run), Run: half(run)}
	present := map[string]string{} // of the earlier builds, by their names
	for _, v := range run.Manifest.Variants {
		if v.Commit == "" {
			m.Run.Manifest.Variants = append(m.Run.Manifest.Variants, v)
			continue
		}
		present[v.Name] = variant.Present(v.Name, v.Commit)
		v.Name = present[v.Name]
		m.Baseline.Manifest.Variants = append(m.Baseline.Manifest.Variants, v)
		m.Baseline.Dir = run.Dir + ", servers of " + v.Commit
	}
	for _, t := range run.Trials {
		if name, earlier := present[t.Variant]; earlier {
			t.Variant = name
			m.Baseline.Trials = append(m.Baseline.Trials, t)
		} else {
			m.Run.Trials = append(m.Run.Trials, t)
		}
	}
	return m
}

// half returns a copy of a run without variants and trials.
func half(run *record.Run) *record.Run {
	part := *run
	part.Trials, part.Manifest.Variants = nil, nil
	return &part
}
