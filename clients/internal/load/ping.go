package load

import (
	"connbench/clients/internal/connections"
	"connbench/clients/internal/protocol"
)

// The load "ping" sends the protocol's own pings in an open loop.
func init() {
	Register("ping", Traits{
		Checks:    []Check{Connections, Seconds, Timeout, PingPayload, Rate, SomeOpen},
		Active:    true,
		Scheduled: true,
	}, func(t *connections.Table, job Job, _ struct{}) (Load, error) {
		return newOpenLoop(t, job, protocol.Ping)
	})
}
