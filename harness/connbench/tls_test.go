package main

import (
	"slices"
	"strings"
	"testing"

	"connbench/harness/phase/connections"
	"connbench/scripts/needs"
)

// A server is measured without TLS, with it, and with resumed sessions; one that cannot do it
// is left out, with a line. The tables say what TLS adds.
func TestTLSIsMeasured(t *testing.T) {
	t.Parallel()
	needs.Server(t)
	plan := strings.Replace(brief, "connections", "security = [\"none\", \"tls\", \"tls-resumed\"]\nconnections", 1)
	c := benchOf(t, "../../servers", plan, "--variants", "goroutine/tuned,floor", "--bin", programsOf(t))
	if status := c.exit(t); status != 0 {
		t.Fatalf("exit status %d\n%s", status, c.stderr.String())
	}
	if !strings.Contains(c.stderr.String(), "left out, because they cannot do TLS: floor") {
		t.Errorf("nothing is said of what is left out:\n%s", c.stderr.String())
	}
	var measured []string
	for _, trial := range c.run(t).Trials {
		if !trial.Valid {
			t.Errorf("%s is invalid: %s", trial.Variant, strings.Join(trial.Invalid, "; "))
			continue
		}
		if !slices.Contains(measured, trial.Variant) {
			measured = append(measured, trial.Variant)
		}
		ramp := connections.Ramp.Of(&trial)
		switch resumed := ramp.Resumed; {
		case trial.Security == "":
			if resumed != nil {
				t.Errorf("%d sessions are resumed without TLS", *resumed)
			}
		case resumed == nil:
			t.Errorf("%s: it is not said how many sessions were resumed", trial.Variant)
		case (*resumed > 0) != (trial.Security == "tls-resumed"):
			t.Errorf("%s: %d sessions were resumed", trial.Variant, *resumed)
		}
	}
	if slices.Sort(measured); !slices.Equal(measured, []string{"goroutine", "goroutine+tls", "goroutine+tls-resumed"}) {
		t.Errorf("measured are %v", measured)
	}
	if out := c.stdout.String(); !strings.Contains(out, "TLS: what it adds to a connection without it") {
		t.Errorf("no table of what TLS adds in\n%s", out)
	}
}
