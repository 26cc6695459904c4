package main

import (
	"strings"
	"testing"

	"connbench/harness/figure"
	"connbench/harness/phase/loads"
	"connbench/scripts/needs"
)

// ofSlowPeers are the faults that show next to slow peers alone.
var ofSlowPeers = []string{"hoards-echoes", "drops-deaf"}

// slowPeers is a plan in which 2 of 100 connections read nothing, and 2 dribble.
const slowPeers = `
title = "A test"
variants = ["sound"]
connections = 100
keep_noisy = true
[ramp]
steps = 4
pause_seconds = 0.01
timeout_seconds = 10
settled = false
[hold]
seconds = 0
[slow]
seconds = 1.5
rate_per_second = 100
payload_bytes = 16384
unread_share = 0.02
flood_bytes = 67108864
dribble_share = 0.02
dribble_seconds = 0.02
`

// What a server keeps for those that read nothing is found: nothing if it stops reading, all if it
// hoards, and for nobody if it drops them.
func TestSlowPeersAreMeasured(t *testing.T) {
	t.Parallel()
	needs.Server(t)
	c := hostileTest(t, slowPeers, "sound,"+strings.Join(ofSlowPeers, ","))
	if status := c.exit(t); status != 0 {
		t.Fatalf("exit status %d\n%s", status, c.stderr.String())
	}
	for _, trial := range c.run(t).Trials {
		s := loads.Slow.Of(&trial)
		if !trial.Valid || s == nil || s.Unread != 2 || s.Dribbling != 2 || s.TakenBytes == nil || s.Without == nil || s.With == nil {
			t.Errorf("%s: %+v, invalid: %s", trial.Variant, s, strings.Join(trial.Invalid, "; "))
			continue
		}
		if s.With.Delivered+*s.With.Late != *s.With.Offered || s.With.Lost != 0 {
			t.Errorf("%s: of the others: %+v", trial.Variant, s.With)
		}
		rss, _ := figure.Must("slow.rss_added_bytes").Value(&trial)
		taken, dropped := *s.TakenBytes, int64(0)
		switch trial.Variant {
		case "sound": // the kernel's buffers may take all
		case "hoards-echoes":
			if taken <= 0 || taken > 64<<20 || rss == nil || *rss < taken/2-8<<20 {
				t.Errorf("of %v bytes taken, %v are kept", taken, rss)
			}
		case "drops-deaf":
			if dropped = 2; taken < 20*16384 || taken > 32<<20 {
				t.Errorf("they are dropped after %v bytes", taken)
			}
		}
		if s.Dropped != dropped || s.DribblingDropped != 0 {
			t.Errorf("%s: %d and %d are dropped", trial.Variant, s.Dropped, s.DribblingDropped)
		}
	}
	for _, text := range []string{"Slow peers: what they do to the others and to the server", "Peers that read nothing: 2, each sending up to 64.0 MiB. Peers that send one byte at a time: 2."} {
		if out := c.stdout.String(); !strings.Contains(out, text) {
			t.Errorf("no %q in\n%s", text, out)
		}
	}
}

// A plan whose slow peers make no sense is refused.
func TestSlowPeersThatDoNotFit(t *testing.T) {
	t.Parallel()
	for want, lines := range map[string][2]string{
		"slow.unread_share is 0.5":         {"unread_share = 0.02", "unread_share = 0.5"},
		"slow.dribble_seconds is 0":        {"dribble_seconds = 0.02", "dribble_seconds = 0"},
		"slow.flood_bytes":                 {"flood_bytes = 67108864", "flood_bytes = -1"},
		"connections with TLS cannot":      {"connections", "security = [\"tls\"]\nconnections"},
		"only the engine socket can leave": {"[hold]", "[client]\nengine = \"packet\"\n[hold]"},
	} {
		refuses(t, strings.Replace(slowPeers, lines[0], lines[1], 1), "goroutine", want)
	}
}
