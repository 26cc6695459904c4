package regression

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"connbench/harness/compare"
	"connbench/harness/record"
	"connbench/harness/record/recordtest"
	"connbench/harness/variant"
)

// made is a run in which the goroutine model takes so much more memory.
func made(factor float64) *record.Run {
	o := recordtest.Default
	o.Change = func(t *record.Trial) {
		if t.Variant == "goroutine" {
			*t.PerConnection.RSSBytes *= factor
		}
	}
	return recordtest.Read(o)
}

func TestCheck(t *testing.T) {
	for name, test := range map[string]struct {
		factors  []float64 // of each measurement
		measured []string  // the variants of each
		worse    bool
	}{
		"nothing is worse":      {[]float64{1}, []string{""}, false},
		"within the tolerance":  {[]float64{1.1}, []string{""}, false},
		"worse and confirmed":   {[]float64{1.5, 1.5}, []string{"", "goroutine/tuned"}, true},
		"worse, then no longer": {[]float64{1.5, 1}, []string{"", "goroutine/tuned"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var measured []string
			shown := 0
			last, err := Check(func(variants []string) (Measurement, error) {
				measured = append(measured, strings.Join(variants, ","))
				return Measurement{Baseline: made(1), Run: made(test.factors[len(measured)-1])}, nil
			}, func(a Attempt) error {
				shown++
				if (len(a.Again) > 0) != (shown < len(test.factors)) {
					t.Errorf("attempt %d is followed by one of %v", shown, a.Again)
				}
				return nil
			})
			if err != nil || !slices.Equal(measured, test.measured) || shown != len(measured) {
				t.Errorf("measured %q, shown %d, error %v", measured, shown, err)
			}
			if worse := len(last.Worse()) > 0; worse != test.worse {
				t.Errorf("worse: %v", last.Worse())
			}
		})
	}
}

func TestCheckEndsWithAnError(t *testing.T) {
	broken := errors.New("broken")
	if _, err := Check(func([]string) (Measurement, error) { return Measurement{}, broken }, nil); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

// The two builds of a run are compared under one name.
func TestSplit(t *testing.T) {
	const commit = "1a2b3c4d5e"
	run := made(1)
	n := len(run.Trials)
	for _, v := range run.Manifest.Variants {
		earlier := variant.Choice{Variant: variant.Variant{Name: v.Name}}.At(commit)
		v.Name, v.Commit = earlier.Name, commit
		run.Manifest.Variants = append(run.Manifest.Variants, v)
	}
	for _, trial := range made(1).Trials {
		trial.Variant += "@" + commit
		run.Trials = append(run.Trials, trial)
	}
	m := Split(run)
	if len(m.Baseline.Trials) != n || len(m.Run.Trials) != n || len(run.Trials) != 2*n {
		t.Fatalf("%d and %d of %d trials", len(m.Baseline.Trials), len(m.Run.Trials), len(run.Trials))
	}
	if !strings.HasSuffix(m.Baseline.Dir, "servers of "+commit) || m.Run.Dir != run.Dir {
		t.Errorf("baseline %s, run %s", m.Baseline.Dir, m.Run.Dir)
	}
	c, err := compare.Compare(m.Baseline, m.Run, compare.Tolerances())
	if err != nil || len(c.Notes) > 0 || len(c.Environment) > 0 || len(c.Rows) == 0 {
		t.Errorf("%v, notes %q, environment %v, %d rows", err, c.Notes, c.Environment, len(c.Rows))
	}
}
