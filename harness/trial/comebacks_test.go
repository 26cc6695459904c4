package trial_test

import (
	"math"
	"strings"
	"testing"

	"connbench/clients/control"
	"connbench/harness/agent"
	"connbench/harness/cause"
	"connbench/harness/figure"
	"connbench/harness/phase/comebacks"
	"connbench/harness/plan"
	"connbench/harness/session"
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
		r.Failures = []control.Failure{{Phase: control.PhaseConnect, Error: "ECONNREFUSED", Count: 7}, {Phase: control.PhaseHandshake, Error: control.Timeout, Count: 5},
			{Phase: control.PhaseSend, Error: "EPIPE", Count: 9}} // of a message: no connect
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

// withRestart restarts a server of 2,000 connections twice, and drops a quarter of them before.
func withRestart(p *plan.Plan) {
	comebacks.RestartPlan.Set(p, comebacks.RestartTable{Seconds: 60, BackoffSeconds: 1})
	comebacks.StayersPlan.Set(p, comebacks.StayersTable{Seconds: 30, BeforeSeconds: 2, Share: 0.25, RatePerSecond: 300, PayloadBytes: 16})
}

// All come back to a server that was killed, and what that costs is the new process's alone.
func TestRestart(t *testing.T) {
	s := sessiontest.New()
	got := run(t, s, withRestart)
	if !got.Valid || got.Noisy {
		t.Fatalf("invalid: %q, warnings %q", got.Invalid, got.Warnings)
	}
	for name, found := range map[string]*comebacks.StormRecord{"restart": comebacks.Restart.Of(&got), "restart_backoff": comebacks.Backoff.Of(&got)} {
		if found == nil || found.Dropped != target || found.Back != target || found.Reason != "" || math.Abs(*found.DownSeconds-0.5) > 1e-6 || math.Abs(*found.AllSeconds-1e-4) > 1e-6 {
			t.Errorf("%s: %+v", name, found)
		}
		// An idle server's CPU time is in it, from the restart on: 0.2 s.
		if cpu := figure.Must("cpu." + name + "_us").Of(&got); cpu == nil || math.Abs(*cpu-20-0.01*0.2/target*1e6) > 0.1 {
			t.Errorf("%s: a comeback takes %v µs, want the 20 of an accept and 1", name, cpu)
		}
		if rss := figure.Must(name + ".rss_peak_bytes").Of(&got); rss == nil || *rss != 4096 {
			t.Errorf("%s: %v bytes per connection, want 4096", name, rss)
		}
	}
	if did := s.Did(); string(did[len(did)-2].Options) != "{}" || string(did[len(did)-1].Options) != `{"backoff_seconds":1}` {
		t.Errorf("the last commands: %+v", did[len(did)-2:])
	}
}

// A server that does not start again, one that takes nobody back, and one whose process has ended
// before, end in a reason. The rest of the trial stays valid.
func TestRestartsThatFail(t *testing.T) {
	for name, test := range map[string]struct {
		alter   func(s *sessiontest.Script)
		warning string
		reason  string // "" where there is no result
	}{
		"it does not start": {
			func(s *sessiontest.Script) {
				s.OnRestart = &session.ContractError{What: "was not ready within 5 s"}
			},
			"restart did not end: the server was killed and did not start again: was not ready within 5 s", "",
		},
		"nobody is back": {
			func(s *sessiontest.Script) {
				s.OnDo = during("restart", 1, func(r *control.Result) {
					r.Delivered, r.Unanswered, r.Opened, r.Open = 0, target, 0, 0
					r.Failures = []control.Failure{
						{Phase: control.PhaseConnect, Error: control.Timeout, Count: 3 * target},
						{Phase: control.PhaseConnect, Error: "ECONNREFUSED", Count: 7}, // while there was no server
						{Phase: control.PhaseOpen, Error: control.Closed, Count: target},
					}
					s.Count(false, "ListenOverflows", 3*target)
				})
			},
			"restart: why connections did not come back: " + cause.AcceptQueue.Reason, cause.AcceptQueue.Reason,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := sessiontest.New()
			test.alter(s)
			got := run(t, s, withRestart)
			if !got.Valid {
				t.Errorf("invalid: %q", got.Invalid)
			}
			if text := strings.Join(got.Warnings, "\n"); !strings.Contains(text, test.warning) {
				t.Errorf("it is not said:\n%s", text)
			}
			found := comebacks.Restart.Of(&got)
			if (found == nil) != (test.reason == "") || found != nil && (found.Reason != test.reason || found.Missing != target || found.MostSeconds != nil) {
				t.Errorf("%+v", found)
			}
			if failures := figure.Must("restart.failures").Of(&got); found != nil && *failures != 3*target+7 {
				t.Errorf("%v connects failed", *failures)
			}
			if comebacks.Backoff.Of(&got) != nil {
				t.Error("it was restarted a second time")
			}
		})
	}
}

// Those that stay are measured before the others are dropped and while they come back.
func TestStayers(t *testing.T) {
	s := sessiontest.New()
	s.OnDo = func(c control.Command, r *control.Result) error {
		if c.Op == "stayers" && r.Opened > 0 {
			r.Latency = sessiontest.Latency(r.Delivered, 700)
		}
		return nil
	}
	got := run(t, s, withRestart)
	found := comebacks.Stayers.Of(&got)
	if !got.Valid || found == nil || found.Stayed != target*3/4 || found.Dropped != target/4 || found.Back != found.Dropped || found.Before.Delivered != 600 {
		t.Fatalf("invalid %q: %+v", got.Invalid, found)
	}
	for name, want := range map[string]float64{"stayers.before_p99_us": 100, "stayers.p99_us": 700, "stayers.before_p50_us": 100, "stayers.p50_us": 700, "stayers.missing_share": 0} {
		if value, doubt := figure.Must(name).Value(&got); value == nil || math.Abs(*value-want) > 0.01*want {
			t.Errorf("%s is %v (%s), want %g", name, value, doubt, want)
		}
	}

	s = sessiontest.New()
	s.OnDo = during("stayers", 2, func(r *control.Result) {
		r.Counts[control.CountBack] -= 50
		r.Open -= 50
		r.Failures = []control.Failure{{Phase: control.PhaseConnect, Error: "ECONNREFUSED", Count: 70}, {Phase: control.PhaseEcho, Error: control.Timeout, Count: 80}}
		s.Lose(50)
	})
	got = run(t, s, withRestart)
	found = comebacks.Stayers.Of(&got)
	if share := figure.Must("stayers.missing_share").Of(&got); share == nil || *share != 0.1 || found.Missing != 50 || found.Reason == "" || len(found.Evidence) == 0 || len(found.Failures) != 1 || strings.Contains(strings.Join(found.Evidence, " "), "echo") {
		t.Errorf("share %v of %+v", share, found)
	}
	if text := strings.Join(got.Warnings, "\n"); !strings.Contains(text, "stayers: 50 of 500 connections did not come back") {
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
