package trial

import "testing"

// A trial waits for the sockets and the memory of the one before, but not for what
// the host has anyway, nor for what does not show.
func TestRested(t *testing.T) {
	for name, test := range map[string]struct {
		rest               Rest
		orphans, available int64
		target             int
		want               bool
	}{
		"first trial of a run":          {Rest{}, 3, 8 << 30, 10_000, true},
		"sockets of a killed swarm":     {Rest{}, 45_000, 8 << 30, 60_000, false},
		"few beside the target":         {Rest{}, 900, 8 << 30, 1_000_000, true},
		"as many as there always are":   {Rest{Orphans: 5_000}, 5_015, 8 << 30, 10_000, true},
		"memory has not come back":      {Rest{AvailableBytes: 24 << 30}, 0, 22 << 30, 10_000, false},
		"memory has all but come back":  {Rest{AvailableBytes: 24 << 30}, 0, 24<<30 - 64<<20, 10_000, true},
		"there is more than ever of it": {Rest{AvailableBytes: 22 << 30}, 0, 24 << 30, 10_000, true},
	} {
		if got := test.rest.rested(test.orphans, test.available, test.target); got != test.want {
			t.Errorf("%s: rested is %v", name, got)
		}
	}
}
