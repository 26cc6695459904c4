package record

import (
	"fmt"
	"slices"
)

// noisySpin is the ratio from which a trial is noisy: the time of a fixed calculation over
// the fastest time of the run.
const noisySpin = 1.25

// JudgeSpin records how much slower the host was during the trial than at the run's
// fastest.
func (t *Trial) JudgeSpin(fastest float64) {
	if len(t.Quality.SpinSeconds) == 0 || fastest <= 0 {
		return
	}
	ratio := slices.Max(t.Quality.SpinSeconds) / fastest
	t.Quality.SpinRatio = &ratio
	if ratio > noisySpin && !t.Noisy {
		t.Noisy = true
		t.Warnings = append(t.Warnings, fmt.Sprintf("a fixed calculation took %.2f times as long as at the run's fastest", ratio))
	}
}

// JudgeSpins judges all trials of a run by the fastest time of all. While the run went on,
// a slow time before the first fast one looked normal.
func JudgeSpins(trials []Trial) {
	fastest := 0.0
	for _, t := range trials {
		for _, seconds := range t.Quality.SpinSeconds {
			if fastest == 0 || seconds < fastest {
				fastest = seconds
			}
		}
	}
	for i := range trials {
		trials[i].JudgeSpin(fastest)
	}
}
