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
	"connbench/harness/reading"
	"connbench/harness/session"
	"connbench/servers/contract"
)

// Attached describes sessions with a server that somebody else has started. Such a session
// starts a swarm, and neither starts nor stops the server.
type Attached struct {
	Plan plan.Plan
	// Parts are what each of its hosts has of the server: at least one. The swarm spreads the
	// connections evenly over their addresses, and connects to no others.
	Parts []Part
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

// Part is what one host has of a server.
type Part struct {
	// Host is the host; nil if nobody can look at it. Then there is no other part.
	Host *lab.Host
	// Target says which processes of it are the server, and Found are those at first.
	Target agent.Target
	Found  []agent.Watched
	// Address is where they listen.
	Address netip.AddrPort
}

// Hidden reports whether nobody can look at the server's host.
func (a Attached) Hidden() bool { return a.Parts[0].Host == nil }

// Found are the processes of all parts at first.
func (a Attached) Found() (found []agent.Watched) {
	for _, part := range a.Parts {
		found = append(found, part.Found...)
	}
	return found
}

// Targets are the addresses of all parts.
func (a Attached) Targets() (list []string) {
	for _, part := range a.Parts {
		list = append(list, part.Address.String())
	}
	return list
}

// Open implements [session.Opener].
func (a Attached) Open(ctx context.Context, _ session.Options) (session.Server, session.Swarm, error) {
	s := &attached{Attached: a}
	if !a.Hidden() {
		s.before, s.uncounted = s.accepted(ctx)
	}
	config := configOf(a.Plan, a.Protocol, a.Targets(), a.Connections, a.TLS)
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
func (s *attached) Addresses() []string { return s.Targets() }

// Ask implements [session.Server].
func (s *attached) Ask(ctx context.Context, _ string) (contract.Stats, error) {
	return contract.Stats{}, errors.Join(ctx.Err(), session.ErrNoAnswers)
}

// Measure implements [session.Server]. If nobody can look at the server's host, what
// remains is the memory of a client host, which must not run out either.
func (s *attached) Measure(ctx context.Context, detail bool) (agent.Measurement, error) {
	if s.Hidden() {
		m, err := s.Clients[0].Agent.Measure(ctx, nil, false)
		seen := agent.Measurement{}
		seen.System.Clock = m.System.Clock
		seen.System.Memory.Available, seen.System.Memory.Reclaimable = m.System.Memory.Available, m.System.Memory.Reclaimable
		return seen, err
	}
	return together(s.places(), func(i int) (agent.Measurement, error) {
		return s.Parts[i].Host.Agent.Observe(ctx, s.Parts[i].Target, detail)
	})
}

func (s *attached) places() []reading.Place {
	var hosts []*lab.Host
	for _, part := range s.Parts {
		hosts = append(hosts, part.Host)
	}
	return placesOf(hosts)
}

// Established implements [session.Server]. Connections that the server had before do not
// count.
func (s *attached) Established(ctx context.Context) (int64, error) {
	switch {
	case s.Hidden():
		return 0, fmt.Errorf("its host is none of the lab's, and %w", session.ErrNoAnswers)
	case s.uncounted != nil:
		return 0, s.uncounted
	}
	n, err := s.accepted(ctx)
	return n - s.before, err
}

// accepted counts the connections that all parts have accepted.
func (s *attached) accepted(ctx context.Context) (sum int64, err error) {
	counts := make([]int64, len(s.Parts))
	err = lab.Together(len(s.Parts), func(i int) (err error) {
		part := s.Parts[i]
		counts[i], err = part.Host.Agent.Accepted(ctx, part.listener(), []netip.AddrPort{part.Address})
		return err
	})
	for _, n := range counts {
		sum += n
	}
	return sum, err
}

// listener is a process that listens; 0 if none is known to.
func (p Part) listener() int {
	for _, process := range p.Found {
		if len(process.Listens) > 0 {
			return process.PID
		}
	}
	return 0
}

// Ended implements [session.Server].
func (s *attached) Ended() error {
	if s.Hidden() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), endPatience)
	defer cancel()
	return lab.Together(len(s.Parts), func(i int) error {
		ended := s.Parts[i].ended(ctx)
		if ended != nil && len(s.Parts) > 1 {
			ended = fmt.Errorf("host %s: %w", s.Parts[i].Host.Facts.Name, ended)
		}
		return ended
	})
}

// ended says that no process is left; nil while there are some, or if the host is lost.
func (p Part) ended(ctx context.Context) error {
	left, err := p.Host.Agent.Find(ctx, p.Target)
	switch {
	case errors.Is(err, agent.ErrHostLost), err == nil && len(left) > 0:
		return nil
	case len(p.Target.PIDs) == 1:
		return fmt.Errorf("the server's process %d has ended", p.Target.PIDs[0])
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
