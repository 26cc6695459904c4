package record

import (
	"fmt"
	"slices"
)

// noisySpin marks a trial as noisy: a fixed calculation took so many times as long as
// at the run's fastest.
const noisySpin = 1.25

// JudgeSpin notes how much slower than the run's fastest the host was during the trial.
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

// judgeSpins judges all trials of a run by the fastest of all of them: while the run
// was under way, a slow time before the first fast one passed for normal.
func judgeSpins(trials []Trial) {
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
