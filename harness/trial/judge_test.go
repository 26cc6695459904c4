package trial

import (
	"testing"

	"connbench/harness/figure"
	"connbench/harness/record"
)

func TestFitLeavesTheEmptyServerOut(t *testing.T) {
	steps := []record.Step{{Connections: 0, RSSBytes: new(int64(0))}}
	for n := 1; n <= 6; n++ {
		// What the first connection costs once must not be spread over all.
		steps = append(steps, record.Step{Connections: n * 100, RSSBytes: new(int64(1<<20 + n*100*512))})
	}
	line, ok := figure.FitSteps(steps, func(s record.Step) *int64 { return s.RSSBytes })
	if !ok || line.Slope < 511 || line.Slope > 513 || line.Points != 6 {
		t.Errorf("fit %+v, %v", line, ok)
	}
	if _, ok := figure.FitSteps(steps, func(s record.Step) *int64 { return s.HeapInUseBytes }); ok {
		t.Error("a line was drawn through figures that were not taken")
	}
}
