package regression

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"connbench/harness/record"
	"connbench/harness/record/recordtest"
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
			last, err := Check(made(1), func(variants []string) (*record.Run, error) {
				measured = append(measured, strings.Join(variants, ","))
				return made(test.factors[len(measured)-1]), nil
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
	if _, err := Check(made(1), func([]string) (*record.Run, error) { return nil, broken }, nil); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}
