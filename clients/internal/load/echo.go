package load

import (
	"connbench/clients/internal/connections"
	"connbench/clients/internal/protocol"
)

// The load "echo" sends messages in an open loop.
func init() {
	Register("echo", Traits{
		Checks:    []Check{Connections, Seconds, Timeout, Payload, Rate, SomeOpen},
		Active:    true,
		Scheduled: true,
	}, func(t *connections.Table, job Job, _ struct{}) (Load, error) {
		return newOpenLoop(t, job, protocol.Data)
	})
}
