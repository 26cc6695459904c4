package processes

import (
	"errors"
	"strings"
	"testing"

	"connbench/clients/control"
	"connbench/harness/session"
)

// An error of the swarm is told by its kind, not by its words.
func TestTroubleOfTheSwarm(t *testing.T) {
	s := &swarm{}
	host := &swarmHost{name: "client1"}
	for trouble, want := range map[control.Trouble]struct{ ended, refused bool }{
		control.TroubleEnded: {ended: true}, control.TroubleRefused: {refused: true}, "": {},
	} {
		err := s.failed(host, control.Event{Kind: control.KindError, Error: "worker 2: no luck", Trouble: trouble})
		start := (*session.StartError)(nil)
		refused := errors.As(err, &start) && start.Refused()
		if errors.Is(err, session.ErrSwarmEnded) != want.ended || refused != want.refused || !strings.Contains(err.Error(), "client1") || !strings.Contains(err.Error(), "worker 2: no luck") {
			t.Errorf("%q: %v", trouble, err)
		}
	}
}
