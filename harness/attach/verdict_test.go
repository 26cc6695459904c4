package attach

import (
	"testing"

	"connbench/harness/record"
)

func TestHeld(t *testing.T) {
	for _, test := range []struct {
		reached, servers int
		want             string
	}{
		{1500, 1, "chat held all 1,500 connections."},
		{1500, 2, "chat held all 1,500 connections on 2 hosts."},
		{900, 2, "chat held 900 of 1,500 connections on 2 hosts; what stopped the next one: rejected (HTTP status 503)."},
	} {
		trial := record.Trial{Connections: record.Connections{Target: 1500, Reached: test.reached}, Stop: record.Stop{Reason: "rejected", Evidence: []string{"HTTP status 503"}}}
		if got := held("chat", &trial, test.servers); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}
