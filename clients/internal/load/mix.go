package load

import (
	"errors"

	"connbench/clients/control"
	"connbench/clients/internal/connections"
)

// The load "mix" sends messages of several sizes in an open loop, on a part of the connections,
// while the others idle.
func init() {
	Register("mix", Traits{
		Checks:    []Check{Connections, Seconds, Timeout, Rate, SomeOpen},
		Active:    true,
		Scheduled: true,
	}, func(t *connections.Table, job Job, o control.MixOptions) (Load, error) {
		if len(o.PayloadBytes) == 0 {
			return nil, errors.New("mix: payload_bytes must have at least one size")
		}
		for _, size := range o.PayloadBytes {
			if wrong := atMost(size, connections.LargestPayload); wrong != "" {
				return nil, errors.New("mix: " + wrong)
			}
		}
		l, err := newSilentLoop(t, job)
		if err == nil {
			t.BeginMix(o.PayloadBytes, l.end)
		}
		return l, err
	})
}
