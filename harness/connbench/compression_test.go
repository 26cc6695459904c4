package main

import (
	"slices"
	"strings"
	"testing"

	"connbench/harness/cause"
	"connbench/harness/phase/connections"
	"connbench/harness/phase/loads"
	"connbench/scripts/needs"
)

// compressing is a plan with compression and a load.
func compressing(ways string) string {
	return strings.Replace(brief, "connections = 300", "compression = ["+ways+"]\nconnections = 60\necho = {seconds = 0.5, rate_per_second = 200, payload_bytes = 2000}", 1)
}

// A server is measured without compression, with it, and with context takeover if it can; one that
// cannot compress is left out, with a line. The tables say what compression adds, and what it
// saves.
func TestCompressionIsMeasured(t *testing.T) {
	t.Parallel()
	needs.Server(t)
	plan := strings.Replace(compressing(`"none", "deflate", "deflate-takeover"`), "steps = 6", "steps = 6\npayload_bytes = 3000", 1)
	c := benchOf(t, "../../servers", plan, "--variants", "gws/tuned,net-http,c-epoll", "--bin", programsOf(t), "--rounds", "1")
	if status := c.exit(t); status != 0 {
		t.Fatalf("exit status %d\n%s", status, c.stderr.String())
	}
	for _, want := range []string{"left out, because they do not speak websocket: net-http", "left out, because they cannot do deflate or deflate-takeover: c-epoll"} {
		if !strings.Contains(c.stderr.String(), want) {
			t.Errorf("%q is not said:\n%s", want, c.stderr.String())
		}
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
		if _, way, _ := strings.Cut(trial.Variant, "+"); way != trial.Compression {
			t.Errorf("%s is compressed by %q", trial.Variant, trial.Compression)
		}
		if ramp := connections.Ramp.Of(&trial); ramp.PayloadBytes != 3000 {
			t.Errorf("%s: each connection echoed %d bytes", trial.Variant, ramp.PayloadBytes)
		}
		// A header is 4 bytes; text becomes at least a third smaller.
		load := loads.Echo.Of(&trial)
		each := load.ReceivedBytes / (load.Delivered + *load.Late)
		if plain := trial.Compression == ""; plain && each != 2004 || !plain && (each < 300 || each > 1400) {
			t.Errorf("%s: %d bytes came for each message", trial.Variant, each)
		}
	}
	if slices.Sort(measured); !slices.Equal(measured, []string{"gws", "gws+deflate", "gws+deflate-takeover"}) {
		t.Errorf("measured are %v", measured)
	}
	if out := c.stdout.String(); !strings.Contains(out, "Compression: what it adds to an uncompressed connection") {
		t.Errorf("no table of what compression adds in\n%s", out)
	}
}

// A server that compresses the wrong message is found, and so is one that does not agree to what
// it was asked for.
func TestCompressionGoesWrong(t *testing.T) {
	t.Parallel()
	c := hostileTest(t, compressing(`"deflate", "deflate-takeover"`), "corrupts,sound", "--rounds", "1")
	if status := c.exit(t); status != 1 {
		t.Errorf("exit status %d\n%s", status, c.stderr.String())
	}
	run := c.run(t)
	for name, invalid := range map[string]string{"sound+deflate": "", "corrupts+deflate": "were not what had been sent"} {
		trial := run.Trials[trialOf(run, name)-1]
		if text := strings.Join(trial.Invalid, "; "); trial.Valid != (invalid == "") || !strings.Contains(text, invalid) || trial.Stop.Reason != cause.Target.Reason {
			t.Errorf("%s: %s, invalid %q, want %q", name, trial.Stop.Reason, text, invalid)
		}
	}
	if trial := run.Trials[trialOf(run, "sound+deflate-takeover")-1]; trial.Stop.Reason != cause.CompressionRefused.Reason || trial.Connections.Reached > 0 {
		t.Errorf("without takeover: %d connections, %s", trial.Connections.Reached, trial.Stop.Reason)
	}
}

// What cannot be measured so is said before anything is built.
func TestCompressionThatDoesNotFit(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ plan, variants, want string }{
		"nobody can":       {compressing(`"deflate-takeover"`), "goroutine", "none of these variants supports what the plan asks for (compression)"},
		"no such way":      {compressing(`"gzip"`), "goroutine", `compression has "gzip"`},
		"another protocol": {strings.Replace(compressing(`"deflate"`), "connections", "protocol = [\"tcp\"]\nconnections", 1), "floor", "compression needs WebSocket"},
	} {
		t.Run(name, func(t *testing.T) {
			refuses(t, test.plan, test.variants, test.want)
		})
	}
}
