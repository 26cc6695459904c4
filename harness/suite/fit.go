package suite

import (
	"context"
	"errors"
	"fmt"

	"connbench/harness/lab"
	"connbench/harness/limits"
	"connbench/harness/plan"
	"connbench/harness/variant"
)

// Size is how large a run is, and what bounds it.
type Size struct {
	// Target is the number of connections, Processes how many server processes
	// share them.
	Target, Processes int
	Prediction        limits.Prediction
}

// Limit is the limit that binds first, in words; "" where none is known.
func (s Size) Limit() string {
	limit, ok := s.Prediction.Binding()
	if !ok {
		return ""
	}
	return fmt.Sprintf("%s allows %d connections (%s = %s)", limit.Name, *limit.Connections, limit.Where, limit.Value)
}

// ErrTooMany marks a target that does not fit.
var ErrTooMany = errors.New("too many connections")

// Predict computes the limits of the lab for the tightest of the choices. bytes
// is what a connection was measured to take of the server host's memory, nil
// where that is not known.
func Predict(ctx context.Context, p plan.Plan, l *lab.Lab, choices []variant.Choice, bytes *float64) (limits.Prediction, error) {
	t := limits.Topology{
		Shared: l.Shared, Processes: p.Server.Processes,
		Addresses: l.Server.Addresses, PortsPerProcess: 1, Backlog: p.Server.Backlog,
		Loops:        len(l.Server.CPUs),
		ReserveBytes: p.MemoryReserveBytes, ServerBytes: bytes,
	}
	if p.Connections != plan.Max {
		t.Connections = int(p.Connections)
	}
	for _, choice := range choices {
		if cap := choice.Limits.MaxConnectionsPerProcess; cap > 0 && (t.LibraryCap == 0 || cap < t.LibraryCap) {
			t.LibraryCap = cap
		}
	}
	server, err := factsOf(ctx, l.Server.Host)
	if err != nil {
		return limits.Prediction{}, err
	}
	var clients []limits.Client
	for _, client := range l.Clients {
		facts, err := factsOf(ctx, client.Host)
		if err != nil {
			return limits.Prediction{}, err
		}
		clients = append(clients, limits.Client{Facts: facts, Sources: client.Sources})
	}
	return limits.Compute(server, clients, t), nil
}

func factsOf(ctx context.Context, host *lab.Host) (limits.Facts, error) {
	m, err := host.Agent.Measure(ctx, nil, true)
	return limits.Facts{Host: host.Facts, System: m.System}, err
}

// Fit decides the number of connections and of server processes. A target that
// the lab cannot hold is an [ErrTooMany] that names the limit.
func Fit(ctx context.Context, p plan.Plan, l *lab.Lab, choices []variant.Choice) (Size, error) {
	prediction, err := Predict(ctx, p, l, choices, nil)
	if err != nil {
		return Size{}, err
	}
	s := Size{Target: int(p.Connections), Processes: p.Server.Processes, Prediction: prediction}
	if p.Connections == plan.Max {
		if prediction.Ceiling == nil || *prediction.Ceiling < 1 {
			return s, fmt.Errorf("%w: max is no number here, since no limit is known or one is used up; name a number", ErrTooMany)
		}
		s.Target = int(*prediction.Ceiling)
	} else if exceeded := prediction.Exceeded(s.Target); len(exceeded) > 0 {
		limit := exceeded[0]
		return s, fmt.Errorf("%w: %d do not fit: %s (%s = %s) allows %d; %s, or take max",
			ErrTooMany, s.Target, limit.Name, limit.Where, limit.Value, *limit.Connections, limit.Raise)
	}
	if s.Processes == 0 {
		s.Processes = prediction.Processes(s.Target)
	}
	return s, nil
}
