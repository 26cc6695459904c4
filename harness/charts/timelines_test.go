package charts

import (
	"testing"

	"connbench/harness/record"
)

// However many samples a trial has, few are kept, evenly far apart, from the first on.
func TestManySamplesAreThinned(t *testing.T) {
	for _, n := range []int{1, mostSamples - 1, mostSamples, 3*mostSamples + 7, 20 * mostSamples} {
		var line Timeline
		for i := range n {
			line.add(record.Sample{Open: i})
		}
		kept := line.Samples
		if len(kept) > mostSamples || n < mostSamples && len(kept) != n || n >= mostSamples && len(kept) < mostSamples/2 || kept[0].Open != 0 {
			t.Errorf("of %d samples %d are kept, the first is %d", n, len(kept), kept[0].Open)
		}
		for i := 2; i < len(kept); i++ {
			if kept[i].Open-kept[i-1].Open != kept[1].Open {
				t.Fatalf("of %d samples, %d follows %d", n, kept[i].Open, kept[i-1].Open)
			}
		}
	}
}
