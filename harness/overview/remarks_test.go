package overview

import (
	"slices"
	"testing"

	"connbench/harness/record"
)

// Warnings that say the same with other numbers are one line, with their ranges.
func TestLinesOfTrials(t *testing.T) {
	warnings := [][]string{
		{"echo: the swarm sent late (99th percentile 0.19 ms), of 1,000", "sweep: 3 lost", "sweep: 12 lost"},
		{"echo: the swarm sent late (99th percentile 0.055 ms), of 1,000", "the plan leaves out the settled ramp"},
		{"echo: the swarm sent late (99th percentile 1.2 ms), of 1,000"},
	}
	run := &record.Run{}
	for i := range warnings {
		run.Trials = append(run.Trials, record.Trial{Trial: i + 1, Round: i + 1, Variant: "a", Class: "tuned"})
	}
	got := trialLines(run, func(trial record.Trial) []string { return warnings[trial.Trial-1] })
	want := []string{
		"all trials: echo: the swarm sent late (99th percentile 0.055 to 1.2 ms), of 1,000",
		"trial 1 (a/tuned, round 1): sweep: 3 to 12 lost",
		"trial 2 (a/tuned, round 2): the plan leaves out the settled ramp",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
