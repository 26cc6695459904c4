package record

import "testing"

// A slow host shows against the fastest time of the run, whichever trial that was in.
func TestSpinIsJudgedOverTheWholeRun(t *testing.T) {
	trials := []Trial{
		{Quality: Quality{SpinSeconds: []float64{0.13, 0.13}}},
		{Quality: Quality{SpinSeconds: []float64{0.1, 0.12}}},
		{Quality: Quality{SpinSeconds: []float64{0.12, 0.12}}},
		{Quality: Quality{SpinRatio: new(2.0)}}, // of a run from before the times were filed
	}
	JudgeSpins(trials)
	for i, want := range []struct {
		ratio float64
		noisy bool
	}{{1.3, true}, {1.2, false}, {1.2, false}, {2, false}} {
		got := trials[i]
		if r := *got.Quality.SpinRatio; r < want.ratio-0.001 || r > want.ratio+0.001 || got.Noisy != want.noisy || (len(got.Warnings) > 0) != want.noisy {
			t.Errorf("trial %d: ratio %g, noisy %v, warnings %q", i+1, r, got.Noisy, got.Warnings)
		}
	}
}
