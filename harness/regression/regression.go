// Package regression finds out whether servers got worse: it compares a new run with
// a baseline, and confirms what seems worse by a second run.
package regression

import (
	"connbench/harness/compare"
	"connbench/harness/record"
)

// Attempt is one measurement, compared with the baseline.
type Attempt struct {
	// Number is 1 for the first attempt.
	Number     int
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

// Check measures, by measure, the variants of the baseline that it is given (none:
// all of the plan), and once more those that seem worse. Each attempt is shown as it
// ends; the last one is returned.
func Check(baseline *record.Run, measure func(variants []string) (*record.Run, error), show func(Attempt) error) (Attempt, error) {
	var last Attempt
	for n := 1; n == 1 || len(last.Again) > 0; n++ {
		run, err := measure(last.Again)
		if err != nil {
			return last, err
		}
		comparison, err := compare.Compare(baseline, run, compare.Tolerances())
		if err != nil {
			return last, err
		}
		last = Attempt{Number: n, Run: run, Comparison: comparison}
		if n < attempts {
			last.Again = comparison.FailedVariants()
		}
		if err := show(last); err != nil {
			return last, err
		}
	}
	return last, nil
}
