package load

import (
	"fmt"

	"connbench/clients/control"
	"connbench/clients/internal/connections"
	"connbench/clients/internal/pacing"
)

// Swarm is what commands are checked against: its connections, and what its protocol
// allows.
type Swarm struct {
	// Open is the number of connections on this host, Capacity the most on all hosts.
	Open, Capacity int
	Hosts          int
	LargestPing    int // bytes; negative: none
}

// Check returns what is wrong with a command, or "".
type Check func(control.Command, Swarm) (wrong string)

// Timeout demands a timeout.
func Timeout(c control.Command, _ Swarm) string {
	return unless(c.TimeoutSeconds > 0, "timeout_seconds must be positive")
}

// Seconds demands a duration.
func Seconds(c control.Command, _ Swarm) string {
	return unless(c.Seconds > 0, "seconds must be positive")
}

// Payload bounds the size of a message.
func Payload(c control.Command, _ Swarm) string {
	return atMost(c.PayloadBytes, connections.LargestPayload)
}

// PingPayload bounds the size of a ping.
func PingPayload(c control.Command, s Swarm) string {
	if s.LargestPing < 0 {
		return "the protocol has no pings"
	}
	return atMost(c.PayloadBytes, s.LargestPing)
}

func atMost(payload, most int) string {
	return unless(payload >= 0 && payload <= most, "payload_bytes must be between 0 and %d", most)
}

// Connections bounds the number of connections.
func Connections(c control.Command, s Swarm) string {
	return unless(c.Connections >= 0 && c.Connections <= s.Capacity,
		"connections must be between 0 and the %d of configure, not %d", s.Capacity, c.Connections)
}

// SomeOpen demands that there are connections, if not here then perhaps elsewhere.
func SomeOpen(_ control.Command, s Swarm) string {
	return unless(s.Open > 0 || s.Hosts > 1, "no connection is open; ramp first")
}

// Rate demands a rate and its pacing.
func Rate(c control.Command, _ Swarm) string {
	if c.RatePerSecond <= 0 {
		return "rate_per_second must be positive"
	}
	return knownPacing(c)
}

// RateOrWindow demands at least one of them.
func RateOrWindow(c control.Command, _ Swarm) string {
	if c.RatePerSecond < 0 || c.Window < 0 || c.RatePerSecond == 0 && c.Window == 0 {
		return "rate_per_second or window must be positive, and neither negative"
	}
	return knownPacing(c)
}

func knownPacing(c control.Command) string {
	if _, err := pacing.Of(c); err != nil {
		return "pacing: " + err.Error()
	}
	return ""
}

// InFlight demands a number of outstanding messages.
func InFlight(c control.Command, _ Swarm) string {
	return unless(c.InFlight > 0, "in_flight must be positive")
}

// unless returns what is wrong unless all is right.
func unless(right bool, format string, values ...any) string {
	if right {
		return ""
	}
	return fmt.Sprintf(format, values...)
}
