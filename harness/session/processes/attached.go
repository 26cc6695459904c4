package processes

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"connbench/clients/control"
	"connbench/harness/agent"
	"connbench/harness/lab"
	"connbench/harness/plan"
	"connbench/harness/session"
	"connbench/servers/contract"
)

// Attached describes sessions with a server that somebody else has started. Such a session
// starts a swarm, and neither starts nor stops the server.
type Attached struct {
	Plan plan.Plan
	// Host is the server's host; nil if nobody can look at it.
	Host *lab.Host
	// Target says which processes of it are the server, and PID is one of them that listens.
	Target agent.Target
	PID    int
	// Addresses are where it listens. The swarm connects to these and to no others.
	Addresses []netip.AddrPort
	// Opening is what the swarm asks for.
	Opening control.Opening
	// Protocol is what is spoken: "" for WebSocket.
	Protocol string
	// TLS is how connections are encrypted; nil if they are not.
	TLS *control.TLS
	// Clients are the client hosts, each with the sources that can reach the server.
	// SwarmPaths are the swarm's programs there.
	Clients    []lab.Client
	SwarmPaths []string
	// Connections is the largest number of connections that will be asked for.
	Connections int
}

// Open implements [session.Opener].
func (a Attached) Open(ctx context.Context, _ session.Options) (session.Server, session.Swarm, error) {
	s := &attached{Attached: a}
	if a.Host != nil {
		var err error
		if s.before, err = s.accepted(ctx); err != nil {
			s.uncounted = err
		}
	}
	var targets []string
	for _, address := range a.Addresses {
		targets = append(targets, address.String())
	}
	config := configOf(a.Plan, a.Protocol, targets, a.Connections, a.TLS)
	config.Opening = &a.Opening
	config.Pushes = a.Protocol == "" // HTTP has none
	swarm, err := startSwarm(ctx, a.Clients, a.SwarmPaths, a.Plan.Client.OpenFiles, config)
	return s, swarm, err
}

// attached is a server that somebody else has started.
type attached struct {
	Attached
	// before is the number of connections that it had already; uncounted says why that is
	// not known.
	before    int64
	uncounted error
}

// Addresses implements [session.Server].
func (s *attached) Addresses() []string {
	var list []string
	for _, address := range s.Attached.Addresses {
		list = append(list, address.String())
	}
	return list
}

// Ask implements [session.Server].
func (s *attached) Ask(ctx context.Context, _ string) (contract.Stats, error) {
	return contract.Stats{}, errors.Join(ctx.Err(), session.ErrNoAnswers)
}

// Measure implements [session.Server]. If nobody can look at the server's host, what
// remains is the memory of a client host, which must not run out either.
func (s *attached) Measure(ctx context.Context, detail bool) (agent.Measurement, error) {
	if s.Host == nil {
		m, err := s.Clients[0].Agent.Measure(ctx, nil, false)
		seen := agent.Measurement{}
		seen.System.Clock = m.System.Clock
		seen.System.Memory.Available, seen.System.Memory.Reclaimable = m.System.Memory.Available, m.System.Memory.Reclaimable
		return seen, err
	}
	return s.Host.Agent.Observe(ctx, s.Target, detail)
}

// Established implements [session.Server]. Connections that the server had before do not
// count.
func (s *attached) Established(ctx context.Context) (int64, error) {
	switch {
	case s.Host == nil:
		return 0, fmt.Errorf("its host is none of the lab's, and %w", session.ErrNoAnswers)
	case s.uncounted != nil:
		return 0, s.uncounted
	}
	n, err := s.accepted(ctx)
	return n - s.before, err
}

func (s *attached) accepted(ctx context.Context) (int64, error) {
	return s.Host.Agent.Accepted(ctx, s.PID, s.Attached.Addresses)
}

// Ended implements [session.Server].
func (s *attached) Ended() error {
	if s.Host == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), endPatience)
	defer cancel()
	left, err := s.Host.Agent.Find(ctx, s.Target)
	switch {
	case errors.Is(err, agent.ErrHostLost), err == nil && len(left) > 0:
		return nil
	case len(s.Target.PIDs) == 1:
		return fmt.Errorf("the server's process %d has ended", s.Target.PIDs[0])
	case err != nil:
		return fmt.Errorf("the server's processes have ended: %w", err)
	}
	return errors.New("the server's processes have ended")
}

// AwaitEnd implements [session.Server].
func (s *attached) AwaitEnd() {
	for deadline := time.Now().Add(endPatience); s.Ended() == nil && time.Now().Before(deadline); {
		time.Sleep(100 * time.Millisecond)
	}
}

// LastWords implements [session.Server]. What the server writes goes elsewhere.
func (s *attached) LastWords(context.Context) string { return "" }

// Stderr implements [session.Server].
func (s *attached) Stderr(context.Context) string { return "" }

// Restart implements [session.Server].
func (s *attached) Restart(context.Context) error { return session.ErrNotOurs }

// Stop implements [session.Server]. The server goes on.
func (s *attached) Stop(context.Context) error { return nil }
