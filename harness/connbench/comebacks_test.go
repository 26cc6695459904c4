package main

import (
	"strings"
	"testing"

	"connbench/harness/cause"
	"connbench/harness/phase/comebacks"
	"connbench/scripts/needs"
)

// comebackPlan drops 100 connections, and restarts the server of as many.
const comebackPlan = `
title = "Comebacks"
variants = ["sound"]
connections = 100
keep_noisy = true
[ramp]
steps = 3
pause_seconds = 0.01
timeout_seconds = 3
settled = false
[storm]
seconds = 10
[restart]
seconds = 60
`

// A server that stops to accept takes back those that it can, and why it does not take the others
// is said. Its next process takes all.
func TestStormThatNeverComesBack(t *testing.T) {
	t.Parallel()
	needs.Server(t)
	c := benchTest(t, comebackPlan, "--variants", "stops-accepting")
	if status := c.exit(t); status != 0 {
		t.Fatalf("exit status %d\n%s", status, c.stderr.String())
	}
	trial := &c.run(t).Trials[0]
	const accepted, target = 120, 100
	storm, restart := comebacks.Storm.Of(trial), comebacks.Restart.Of(trial)
	if !trial.Valid || storm == nil || storm.Dropped != target || storm.Back != accepted-target || storm.Missing != 2*target-accepted || storm.AllSeconds != nil {
		t.Fatalf("invalid %q, the storm: %+v", trial.Invalid, storm)
	}
	if storm.Reason != cause.Timeout.Reason || !strings.Contains(strings.Join(storm.Evidence, "\n"), "handshake: timeout") {
		t.Errorf("reason %q, evidence %q", storm.Reason, storm.Evidence)
	}
	if out := c.stdout.String(); !strings.Contains(out, "storm: why connections did not come back: timeout") {
		t.Errorf("it is not said:\n%s", out)
	}
	if restart == nil || restart.Dropped != target || restart.Back != target || *restart.DownSeconds <= 0 || *restart.AllSeconds <= 0 {
		t.Errorf("the restart: %+v", restart)
	}
}

// A server that does not start again takes no figures but its own.
func TestRestartThatNeverIs(t *testing.T) {
	t.Parallel()
	needs.Server(t)
	c := hostileTest(t, comebackPlan, "starts-once")
	if status := c.exit(t); status != 0 {
		t.Fatalf("exit status %d\n%s", status, c.stderr.String())
	}
	trial := &c.run(t).Trials[0]
	if storm := comebacks.Storm.Of(trial); !trial.Valid || storm == nil || storm.Back != 100 || comebacks.Restart.Of(trial) != nil {
		t.Errorf("invalid %q, the storm: %+v, the restart: %+v", trial.Invalid, storm, comebacks.Restart.Of(trial))
	}
	if said := strings.Join(trial.Warnings, "\n"); !strings.Contains(said, "restart did not end: the server was killed and did not start again") || !strings.Contains(said, "once is enough") {
		t.Errorf("it is not said:\n%s", said)
	}
}
