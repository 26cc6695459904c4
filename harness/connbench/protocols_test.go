package main

import (
	"maps"
	"strings"
	"testing"

	"connbench/scripts/needs"
)

// A server is measured with each protocol that the plan asks for and that it speaks. The tables
// say what WebSocket and HTTP add to bytes, and read each against the floor of its protocol.
func TestProtocolsAreMeasured(t *testing.T) {
	t.Parallel()
	needs.Server(t)
	plan := strings.Replace(brief, "connections", "protocol = [\"tcp\", \"http\", \"websocket\"]\nconnections", 1)
	c := benchOf(t, "../../servers", plan, "--variants", "goroutine/tuned,floor,net-http", "--bin", programsOf(t))
	if status := c.exit(t); status != 0 {
		t.Fatalf("exit status %d\n%s", status, c.stderr.String())
	}
	measured := map[string]string{}
	for _, trial := range c.run(t).Trials {
		if !trial.Valid {
			t.Errorf("%s is invalid: %s", trial.Variant, strings.Join(trial.Invalid, "; "))
		}
		if census := trial.Connections.Census; census.Swarm == nil || census.Server == nil || *census.Swarm != *census.Server {
			t.Errorf("%s: connections %+v", trial.Variant, trial.Connections)
		}
		measured[trial.Variant] = trial.Protocol
	}
	want := map[string]string{"floor": "", "floor+tcp": "tcp", "floor+http": "http", "goroutine": "", "goroutine+tcp": "tcp", "net-http": "http"}
	if !maps.Equal(measured, want) {
		t.Errorf("measured are %v, want %v", measured, want)
	}
	if out := c.stdout.String(); !strings.Contains(out, "Protocols: what they add to bytes alone") {
		t.Errorf("no table of what protocols add in\n%s", out)
	}
}

// What cannot be measured so is said before anything is built.
func TestProtocolsThatDoNotFit(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ old, new, variants, want string }{
		"nobody speaks it": {"connections", "protocol = [\"http\"]\nconnections", "goroutine", "none of these variants supports what the plan asks for (protocol)"},
		"no such protocol": {"connections", "protocol = [\"smtp\"]\nconnections", "floor", `protocol has "smtp"`},
		"pings":            {"connections", "protocol = [\"tcp\"]\nping = {seconds = 1, interval_seconds = 1, payload_bytes = 8}\nconnections", "floor", "have no pings"},
	} {
		t.Run(name, func(t *testing.T) {
			refuses(t, strings.Replace(brief, test.old, test.new, 1), test.variants, test.want)
		})
	}
}
