package suite

import (
	"context"
	"fmt"

	"connbench/harness/lab"
	"connbench/harness/record"
)

// noisySpin marks a trial as noisy: a fixed calculation took so many times as long as
// at the run's fastest.
const noisySpin = 1.25

// spins are the times of a fixed calculation on the server's host over a run.
type spins struct {
	fastest float64 // in seconds, 0 before the first
	current []float64
}

// time times the calculation once.
func (s *spins) time(ctx context.Context, host *lab.Host) {
	seconds, err := host.Agent.Spin(ctx)
	if err != nil {
		return // a host that is lost shows in every other figure
	}
	s.current = append(s.current, seconds)
	if s.fastest == 0 || seconds < s.fastest {
		s.fastest = seconds
	}
}

// judge notes how much slower than the run's fastest the host was during a trial.
func (s *spins) judge(t *record.Trial) {
	slowest := 0.0
	for _, seconds := range s.current {
		slowest = max(slowest, seconds)
	}
	s.current = nil
	if slowest == 0 {
		return
	}
	ratio := slowest / s.fastest
	t.Quality.SpinRatio = &ratio
	if ratio > noisySpin {
		t.Noisy = true
		t.Warnings = append(t.Warnings, fmt.Sprintf("a fixed calculation took %.2f times as long as at the run's fastest", ratio))
	}
}
