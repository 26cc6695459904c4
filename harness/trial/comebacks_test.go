package trial_test

import (
	"math"
	"strings"
	"testing"

	"connbench/clients/control"
	"connbench/harness/agent"
	"connbench/harness/figure"
	"connbench/harness/phase/comebacks"
	"connbench/harness/plan"
	"connbench/harness/session/sessiontest"
)

func withComebacks(p *plan.Plan) {
	comebacks.StormPlan.Set(p, comebacks.StormTable{Seconds: 60})
	comebacks.ChurnPlan.Set(p, comebacks.ChurnTable{Seconds: 8, SharePerSecond: 0.1})
}

// A perfect server takes all back, and keeps nothing of those that were replaced.
func TestComebacks(t *testing.T) {
	got := run(t, sessiontest.New(), withComebacks)
	if !got.Valid {
		t.Fatalf("invalid: %q", got.Invalid)
	}
	s := comebacks.Storm.Of(&got)
	if s == nil || s.Dropped != target || s.Back != target || s.Missing != 0 || *s.BackPerSecond != 10_000 {
		t.Fatalf("the storm: %+v", s)
	}
	for name, seconds := range map[string]*float64{"half": s.HalfSeconds, "most": s.MostSeconds, "all": s.AllSeconds} {
		if seconds == nil || math.Abs(*seconds-1e-4) > 1e-6 {
			t.Errorf("%s are back after %v seconds, want 0.0001", name, seconds)
		}
	}
	c := comebacks.Churn.Of(&got)
	if c == nil || c.Dropped != 8*target/10 || c.Back != c.Dropped || c.Growth == nil || c.Growth.Slope != 0 || c.TimeWait == nil {
		t.Fatalf("the churn: %+v", c)
	}
	if cpu := figure.Must("cpu.comeback_us").Of(&got); cpu == nil || *cpu < 20 || *cpu > 22 {
		t.Errorf("a comeback takes %v µs, want the 20 of an accept and little more", cpu)
	}
}

// What a server leaks for each connection is found to the byte.
func TestLeakIsFound(t *testing.T) {
	s := sessiontest.New()
	s.Costs.Leak = 100
	got := run(t, s, withComebacks)
	growth := figure.Must("churn.growth_bytes")
	value, doubt := growth.Value(&got)
	if value == nil || math.Abs(*value-100) > 0.5 || doubt != "" {
		t.Errorf("growth is %v (%s), want 100", value, doubt)
	}
	s.Costs.Leak = 0
	s.OnMeasure = func(_ bool, m *agent.Measurement) error {
		// Memory that comes and goes is no leak.
		noise := int64(len(s.Did())%2) * 4096
		*m.Processes[0].RSSBytes += noise
		return nil
	}
	got = run(t, s, withComebacks)
	if value, doubt := growth.Value(&got); value != nil || doubt == "" {
		t.Errorf("noise is taken for a growth of %v (%s)", value, doubt)
	}
}

// Connections that never come back are counted and said, and times that were not reached are
// not made up.
func TestStormThatIsNotOver(t *testing.T) {
	s := sessiontest.New()
	s.OnDo = during("storm", 1, func(r *control.Result) {
		r.Delivered, r.Unanswered = target-100, 100
		r.Failures = []control.Failure{{Phase: control.PhaseConnect, Error: "ECONNREFUSED", Count: 7}, {Phase: control.PhaseHandshake, Error: control.Timeout, Count: 5}}
		r.Open -= 100
		s.Lose(100)
	})
	got := run(t, s, withComebacks)
	storm := comebacks.Storm.Of(&got)
	if storm == nil || storm.Missing != 100 || storm.HalfSeconds == nil || storm.MostSeconds != nil || storm.AllSeconds != nil {
		t.Fatalf("%+v", storm)
	}
	if failures := figure.Must("storm.failures").Of(&got); failures == nil || *failures != 12 {
		t.Errorf("%v failed connects, want 12", failures)
	}
	if text := strings.Join(got.Warnings, "\n"); !strings.Contains(text, "storm: 100 of 2000 connections did not come back") {
		t.Errorf("it is not said:\n%s", text)
	}
}

// Peak memory is what the samples of the storm saw.
func TestPeakOfAStorm(t *testing.T) {
	s := sessiontest.New()
	s.Costs.ConnectsPerSecond = 1000 // two seconds
	s.OnMeasure = func(_ bool, m *agent.Measurement) error {
		if did := s.Did(); len(did) > 0 && did[len(did)-1].Op == "storm" {
			*m.Processes[0].RSSBytes += 1 << 20
		}
		return nil
	}
	got := run(t, s, withComebacks)
	added := figure.Must("storm.rss_peak_bytes").Of(&got)
	if added == nil || *added < float64(1<<20)/target-1 {
		t.Errorf("%v bytes are added per connection, want %d and more", added, (1<<20)/target)
	}
}
