package load

import (
	"connbench/clients/control"
	"connbench/clients/internal/connections"
)

// The load "say" asks questions in the peer's own language, in an open loop.
func init() {
	Register("say", Traits{
		Checks:    []Check{Connections, Seconds, Timeout, Rate, SomeOpen},
		Active:    true,
		Scheduled: true,
	}, func(t *connections.Table, job Job, s control.Say) (Load, error) {
		l, err := newSilentLoop(t, job)
		if err != nil {
			return nil, err
		}
		return l, t.BeginQuestions(s, l.end)
	})
}
