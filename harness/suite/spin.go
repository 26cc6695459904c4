package suite

import (
	"context"

	"connbench/harness/lab"
	"connbench/harness/record"
)

// spins are the times of a fixed calculation on the server's host over a run.
type spins struct {
	fastest float64 // in seconds, 0 before the first
	current []float64
}

// time times the calculation once.
func (s *spins) time(ctx context.Context, host *lab.Host) {
	seconds, err := host.Agent.Spin(ctx)
	if err != nil {
		return // the trial will report a lost host
	}
	s.current = append(s.current, seconds)
	if s.fastest == 0 || seconds < s.fastest {
		s.fastest = seconds
	}
}

// judge records how much slower the host was during a trial than at the run's fastest so
// far.
func (s *spins) judge(t *record.Trial) {
	t.Quality.SpinSeconds, s.current = s.current, nil
	t.JudgeSpin(s.fastest)
}
