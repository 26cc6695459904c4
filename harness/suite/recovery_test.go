package suite

import "testing"

// A trial waits for the sockets and the memory of the one before, but not for what
// the host has anyway, nor for what does not show.
func TestRecovered(t *testing.T) {
	for name, test := range map[string]struct {
		before             recovery
		orphans, available int64
		target             int
		want               bool
	}{
		"first trial of a run":             {recovery{}, 3, 8 << 30, 10_000, true},
		"sockets of a killed swarm":        {recovery{}, 45_000, 8 << 30, 60_000, false},
		"few next to the target":           {recovery{}, 900, 8 << 30, 1_000_000, true},
		"as many as there always are":      {recovery{orphans: 5_000}, 5_015, 8 << 30, 10_000, true},
		"memory has not come back":         {recovery{availableBytes: 24 << 30}, 0, 22 << 30, 10_000, false},
		"most of the memory has come back": {recovery{availableBytes: 24 << 30}, 0, 24<<30 - 64<<20, 10_000, true},
		"there is more than ever of it":    {recovery{availableBytes: 22 << 30}, 0, 24 << 30, 10_000, true},
	} {
		if got := test.before.recovered(test.orphans, test.available, test.target); got != test.want {
			t.Errorf("%s: recovered is %v", name, got)
		}
	}
}
