package main

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"connbench/clients/control"
	"connbench/harness/figure"
	"connbench/harness/phase/loads"
	"connbench/harness/variant"
	"connbench/scripts/needs"
)

// fanOut is a plan in which 20 messages go to 200 connections each.
const fanOut = `
title = "A test"
variants = ["sound"]
connections = 200
[ramp]
steps = 4
pause_seconds = 0.01
timeout_seconds = 3
settled = false
[hold]
seconds = 0
[broadcast]
seconds = 1
rate_per_second = 20
payload_bytes = 32
`

// ofBroadcasts are the faults that show there alone.
var ofBroadcasts = []string{"misses-tenth", "goes-silent", "repeats-fifth"}

// What servers do wrong with broadcasts is found to the message, and a reason stands where there
// is no figure.
func TestBroadcastsAreMeasured(t *testing.T) {
	t.Parallel()
	broadcastsAreMeasured(t, fanOut, "", 200, 20, " connections.")
}

// Over HTTP the connection that publishes hears nothing.
func TestBroadcastsOverHTTPAreMeasured(t *testing.T) {
	t.Parallel()
	broadcastsAreMeasured(t, overHTTP(fanOut), control.HearEvents, 199, 19, " connections over HTTP, as server-sent events in base64.")
}

// overHTTP is a plan over HTTP.
func overHTTP(plan string) string {
	return strings.Replace(plan, "connections", "protocol = [\"http\"]\nconnections", 1)
}

// broadcastsAreMeasured measures servers over HTTP in some way, or over WebSocket. Each message is
// for so many connections; missing is how many do not get it if the server leaves out every tenth.
func broadcastsAreMeasured(t *testing.T, plan, http string, members, missing int, note string) {
	t.Helper()
	needs.Server(t)
	c := hostileTest(t, plan, "sound,"+strings.Join(ofBroadcasts, ","))
	if status := c.exit(t); status != 0 {
		t.Fatalf("exit status %d\n%s", status, c.stderr.String())
	}
	for _, trial := range c.run(t).Trials {
		b := loads.Broadcast.Of(&trial)
		if !trial.Valid || b == nil {
			t.Errorf("%s: %v, invalid: %s", trial.Variant, b, strings.Join(trial.Invalid, "; "))
			continue
		}
		want, known := map[string]struct {
			reach    float64
			repeated int64
			doubt    string
		}{
			"sound":         {1, 0, ""},
			"misses-tenth":  {1 - float64(missing)/float64(members), 0, "20 of 20 messages did not reach all connections"},
			"goes-silent":   {0.75, 0, "the server stopped publishing: nobody got messages 16 to 20"},
			"repeats-fifth": {1, 4 * int64(members), ""},
		}[variant.Plain(trial.Variant, trial.Protocol)]
		if !known || b.HTTP != http || b.Mute || b.Connections != members || b.Published != 20 || b.Sent != 20 || b.Corrupt != 0 || b.Lost != 0 || b.Repeated != want.repeated {
			t.Errorf("%s: %+v", trial.Variant, b)
		}
		if reach, doubt := figure.Must("broadcast.reach").Value(&trial); reach == nil || math.Abs(*reach-want.reach) > 1e-9 {
			t.Errorf("%s: reach is %v (%s), want %v", trial.Variant, reach, doubt, want.reach)
		}
		if last, doubt := figure.Must("broadcast.last_p99_us").Value(&trial); doubt != want.doubt || (last == nil) != (want.doubt != "") {
			t.Errorf("%s: the last has it after %v (%q), want a doubt of %q", trial.Variant, last, doubt, want.doubt)
		}
	}
	for _, text := range []string{"Broadcasts: one message to all connections", fmt.Sprintf("One connection publishes 20.0 messages of 32 bytes a second, and each is to reach %d%s", members, note), "the server stopped publishing"} {
		if out := c.stdout.String(); !strings.Contains(out, text) {
			t.Errorf("no %q in\n%s", text, out)
		}
	}
}

// Variants that cannot broadcast are left out of a plan that asks for it, before anything is built.
func TestWhoCannotBroadcastIsLeftOut(t *testing.T) {
	t.Parallel()
	c := benchOf(t, "../../servers", overHTTP(fanOut), "--variants", "fasthttp")
	status := c.exit(t)
	for _, text := range []string{"left out, because they cannot broadcast over http: fasthttp", "none of these variants can broadcast", "hint: take some whose variant.toml has the plan's protocol in broadcast"} {
		if status != 1 || !strings.Contains(c.stderr.String(), text) {
			t.Errorf("exit status %d, want it to say %q:\n%s", status, text, c.stderr.String())
		}
	}
}

// A plan whose broadcast makes no sense is refused.
func TestBroadcastsThatDoNotFit(t *testing.T) {
	t.Parallel()
	for want, lines := range map[string][2]string{
		"broadcast.rate_per_second is 0": {"rate_per_second = 20", "rate_per_second = 0"},
		"known by its first 8 bytes":     {"payload_bytes = 32", "payload_bytes = 7"},
		"makes more than 10000 messages": {"rate_per_second = 20", "rate_per_second = 10001"},
	} {
		refuses(t, strings.Replace(fanOut, lines[0], lines[1], 1), "floor", want)
	}
}
