package trial_test

import (
	"strings"
	"testing"

	"connbench/clients/control"
	"connbench/harness/agent"
	"connbench/harness/figure"
	"connbench/harness/phase/loads"
	"connbench/harness/plan"
	"connbench/harness/record"
	"connbench/harness/session/sessiontest"
)

// withBroadcast has 50 messages sent to all.
func withBroadcast(p *plan.Plan) { heardBy("")(p) }

// heardBy has connections of HTTP hear 50 messages in one of two ways.
func heardBy(way string) func(*plan.Plan) {
	return func(p *plan.Plan) {
		loads.BroadcastPlan.Set(p, loads.BroadcastTable{Load: loads.Load{Seconds: 10, PayloadBytes: 64, WarmupSeconds: 1}, RatePerSecond: 5, HTTP: way})
	}
}

// broadcast runs a trial in which a script changes what the swarm says of the broadcast.
func broadcast(t *testing.T, change func(r *control.Result)) record.Trial {
	t.Helper()
	s := sessiontest.New()
	s.OnDo = func(c control.Command, r *control.Result) error {
		if c.Op == "broadcast" && c.Seconds == 10 {
			r.Processes = 2 // as many as the server has CPUs
			if change != nil {
				change(r)
			}
		}
		return nil
	}
	got := run(t, s, withBroadcast)
	if opened := s.Opened(); !opened[len(opened)-1].Broadcast || opened[len(opened)-1].Hear != control.HearEvents || opened[0].Broadcast {
		t.Errorf("sessions were opened with %+v", opened)
	}
	return got
}

// Connections of HTTP hear in the way that the plan says.
func TestBroadcastIsHeardAsThePlanSays(t *testing.T) {
	for way, want := range map[string]string{"": control.HearEvents, control.HearEvents: control.HearEvents, control.HearPolls: control.HearPolls} {
		s := sessiontest.New()
		run(t, s, heardBy(way))
		if opened := s.Opened(); opened[len(opened)-1].Hear != want {
			t.Errorf("%q: connections hear by %q, want %q", way, opened[len(opened)-1].Hear, want)
		}
	}
}

// figures fails unless a figure of a trial has a value, or is not believed for a reason with
// some words in it.
func figures(t *testing.T, trial record.Trial, want map[string]any) {
	t.Helper()
	for name, want := range want {
		value, doubt := figure.Must(name).Value(&trial)
		switch want := want.(type) {
		case float64:
			if value == nil || *value < want*0.999 || *value > want*1.001 {
				t.Errorf("%s is %v (%s), want %v", name, value, doubt, want)
			}
		case string:
			if value != nil || !strings.Contains(doubt, want) {
				t.Errorf("%s is %v (%q), want a doubt with %q", name, value, doubt, want)
			}
		}
	}
}

func said(t *testing.T, trial record.Trial, want string) {
	t.Helper()
	if text := strings.Join(trial.Warnings, "\n"); !strings.Contains(text, want) {
		t.Errorf("%q is not said:\n%s", want, text)
	}
}

func TestBroadcast(t *testing.T) {
	got := broadcast(t, nil)
	if !got.Valid {
		t.Fatalf("invalid: %q", got.Invalid)
	}
	figures(t, got, map[string]any{
		"broadcast.reach": 1.0, "broadcast.last_p50_us": 200.0, "broadcast.last_p99_us": 200.0, "broadcast.delivered_per_second": 5.0 * target,
		"broadcast.repeated": 0.0, "broadcast.lost": 0.0,
	})
	if b := loads.Broadcast.Of(&got); b.Complete != 50 || b.Connections != target || b.Deliveries.P99US < 99 || b.Deliveries.P99US > 101 || b.ClientBound != "" {
		t.Errorf("%+v", b)
	}
	if cpu := figure.Must("cpu.delivery_us").Of(&got); cpu == nil || *cpu < 5 || *cpu > 6 {
		t.Errorf("a delivery takes %v µs, want the 5 of a message and little more", cpu)
	}
}

// Nine in ten connections get a message: no time says when all had it.
func TestBroadcastThatDoesNotReachAll(t *testing.T) {
	got := broadcast(t, func(r *control.Result) {
		for k := range r.Spread {
			r.Spread[k].Received = target * 9 / 10
		}
		r.Delivered, r.Unanswered = r.Offered*9/10, r.Offered/10
	})
	figures(t, got, map[string]any{"broadcast.reach": 0.9, "broadcast.last_p50_us": "50 of 50 messages did not reach all", "broadcast.last_p99_us": "did not reach all"})
	said(t, got, "broadcast: 10000 of 100000 deliveries are missing")
}

// A server that stops publishing is distinguished from one that loses messages.
func TestBroadcastThatStops(t *testing.T) {
	got := broadcast(t, func(r *control.Result) {
		for k := 30; k < 50; k++ {
			r.Spread[k] = control.Spread{}
		}
		r.Delivered, r.Unanswered = r.Offered*3/5, r.Offered*2/5
	})
	figures(t, got, map[string]any{"broadcast.reach": 0.6, "broadcast.last_p99_us": "the server stopped publishing: nobody got messages 31 to 50"})
	said(t, got, "broadcast: the server stopped publishing: nobody got messages 31 to 50 of 50")
}

func TestBroadcastIsJudged(t *testing.T) {
	repeats := broadcast(t, func(r *control.Result) { r.Counts = map[string]int64{control.CountRepeated: 77} })
	figures(t, repeats, map[string]any{"broadcast.reach": 1.0, "broadcast.repeated": 77.0})
	said(t, repeats, "77 deliveries came twice")

	mute := broadcast(t, func(r *control.Result) { r.Sent, r.Counts = 49, map[string]int64{control.CountMute: 1} })
	said(t, mute, "no connection that can publish was open any more")
	said(t, mute, "the server did not take 1 of 50 messages")
	early := broadcast(t, func(r *control.Result) { r.Counts = map[string]int64{control.CountEarly: 3} })
	figures(t, early, map[string]any{"broadcast.reach": "before the swarm was ready", "broadcast.last_p50_us": "before the swarm was ready"})

	if corrupt := broadcast(t, func(r *control.Result) { r.Corrupt = 1 }); corrupt.Valid {
		t.Error("a trial with a corrupt delivery is valid")
	}
	bound := broadcast(t, func(r *control.Result) { r.Usage.Busy = 1 })
	if doubt := figure.Must("broadcast.last_p99_us").ClientBound(&bound); doubt != "the swarm was never idle" {
		t.Errorf("it is the swarm's, since %q", doubt)
	}
	slow := broadcast(t, func(r *control.Result) { r.Usage.UserSeconds *= 10 })
	said(t, slow, "the swarm takes longer to read a message")
	late := broadcast(t, func(r *control.Result) { r.Usage.LagP99Seconds = 21e-6 })
	said(t, late, "broadcast: the swarm was late")
}

// With several client hosts no time is taken, and with several server processes nothing is.
func TestBroadcastBetweenHosts(t *testing.T) {
	b := loads.BroadcastRecord{Connections: 1, Published: 1, Complete: 1, ClientHosts: 2}
	var trial record.Trial
	loads.Broadcast.Set(&trial, &b)
	figures(t, trial, map[string]any{"broadcast.last_p50_us": "the clocks of 2 client hosts cannot be compared"})

	s := sessiontest.New()
	s.Processes = 2
	got := run(t, s, withBroadcast)
	if loads.Broadcast.Of(&got) != nil {
		t.Error("there is a broadcast over two server processes")
	}
	said(t, got, "no broadcast: the server has 2 processes")
}

// What a server grows by in the warm-up is part of what a broadcast adds.
func TestMemoryOfABroadcast(t *testing.T) {
	s := sessiontest.New()
	s.OnMeasure = func(_ bool, m *agent.Measurement) error {
		if did := s.Did(); len(did) > 0 && did[len(did)-1].Op == "broadcast" {
			*m.Processes[0].RSSBytes += target * 4096
		}
		return nil
	}
	figures(t, run(t, s, withBroadcast), map[string]any{"broadcast.rss_peak_bytes": 4096.0})
}
