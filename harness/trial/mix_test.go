package trial_test

import (
	"math"
	"strings"
	"testing"

	"connbench/clients/control"
	"connbench/harness/figure"
	"connbench/harness/phase/loads"
	"connbench/harness/plan"
	"connbench/harness/session/sessiontest"
)

// withMix has 1 %, a tenth and all of the connections send two messages a second.
func withMix(p *plan.Plan) {
	loads.MixPlan.Set(p, loads.MixTable{Seconds: 4, WarmupSeconds: 1, Shares: []float64{0.01, 0.1, 1}, MessagesPerSecond: 2, PayloadBytes: []int{16, 1024}})
}

// Active and idle connections take what was planted, each for itself, whatever share is active.
func TestMix(t *testing.T) {
	s := sessiontest.New()
	s.Costs.Active = 10_000
	got := run(t, s, withMix)
	if !got.Valid || len(got.Warnings) > 0 {
		t.Fatalf("invalid: %q, warnings %q", got.Invalid, got.Warnings)
	}
	m := loads.Mix.Of(&got)
	if m == nil || len(m.Levels) != 3 {
		t.Fatalf("the mix: %+v", m)
	}
	for i, want := range []int{20, 200, 2000} {
		l := m.Levels[i]
		if l.Active != want || *l.OfferedPerSecond != float64(2*want) || l.Delivered != int64(8*want) || l.PayloadBytes != 520 {
			t.Errorf("level %d: %+v", i, l)
		}
	}
	c := s.Costs
	garbage := float64(c.Heap - c.LiveHeap)
	for name, want := range map[string]float64{
		"mix.idle_cpu_us":         c.IdleCores / target * 1e6,
		"mix.active_cpu.1pct_us":  2 * c.EchoUS,
		"mix.active_cpu.10pct_us": 2 * c.EchoUS, "mix.active_cpu.100pct_us": 2 * c.EchoUS,
		"mix.idle_rss_bytes":   float64(c.RSS) - garbage,
		"mix.active_rss_bytes": float64(c.Active) + garbage,
		"mix.kept_bytes":       0,
		"mix.p99.1pct_us":      c.LatencyUS, "mix.p99.100pct_us": c.LatencyUS,
	} {
		if value, doubt := figure.Must(name).Value(&got); value == nil || math.Abs(*value-want) > max(0.01*want, 1e-6) {
			t.Errorf("%s is %v (%s), want %g", name, value, doubt, want)
		}
	}
}

// What a server keeps of each message shows in what it keeps of a connection: 100 bytes of each
// message. The last share sends 10 of each connection, the warm-up among them; those before
// send a hundredth and a tenth of that.
func TestMixFindsALeak(t *testing.T) {
	s := sessiontest.New()
	s.Costs.MessageLeak = 100
	got := run(t, s, withMix)
	if value := figure.Must("mix.kept_bytes").Of(&got); value == nil || math.Abs(*value-100*10*1.11) > 0.5 {
		t.Errorf("%v bytes are kept, want 1110", value)
	}
}

// Sizes that come back wrong make a trial invalid, and latencies are not believed where
// messages never come back.
func TestMixesThatFail(t *testing.T) {
	s := sessiontest.New()
	s.OnDo = during("mix", 2, func(r *control.Result) { r.Delivered, r.Corrupt = r.Delivered-3, 3 })
	if got := run(t, s, withMix); got.Valid || !strings.Contains(strings.Join(got.Invalid, "\n"), "mix: 3 echoes were not what had been sent") {
		t.Errorf("valid %v: %q", got.Valid, got.Invalid)
	}
	s = sessiontest.New()
	s.OnDo = during("mix", 4, func(r *control.Result) { r.Delivered, r.Unanswered, r.Lost = r.Delivered-100, 100, 4 })
	got := run(t, s, withMix)
	if text := strings.Join(got.Warnings, "\n"); !strings.Contains(text, "mix: 100 of 1600 messages had no answer") || !strings.Contains(text, "mix: 4 connections were lost") {
		t.Errorf("it is not said: %q", got.Warnings)
	}
	for name, believed := range map[string]bool{"mix.p99.1pct_us": true, "mix.p99.10pct_us": false, "mix.p99.100pct_us": true} {
		if value, doubt := figure.Must(name).Value(&got); (value != nil) != believed || (doubt == "") != believed {
			t.Errorf("%s is %v (%s)", name, value, doubt)
		}
	}
}

// A share has no figure if the server took no more CPU than while idle.
func TestMixWithoutCPU(t *testing.T) {
	s := sessiontest.New()
	s.Costs.EchoUS = 0
	figures(t, run(t, s, withMix), map[string]any{"mix.active_cpu.10pct_us": "the server took no more CPU than while idle", "mix.p99.10pct_us": s.Costs.LatencyUS})
}
