package trial_test

import (
	"testing"

	"connbench/clients/control"
	"connbench/harness/agent"
	"connbench/harness/phase/loads"
	"connbench/harness/plan"
	"connbench/harness/record"
	"connbench/harness/session/sessiontest"
	"connbench/servers/contract"
)

func withSlow(p *plan.Plan) {
	loads.SlowPlan.Set(p, loads.SlowTable{
		Load: loads.Load{Seconds: 8, PayloadBytes: 1024, WarmupSeconds: 1}, RatePerSecond: 1000,
		UnreadShare: 0.01, FloodBytes: 16 << 20, DribbleShare: 0.01, DribbleSeconds: 0.05,
	})
}

// slow runs a trial with 20 peers of each kind, each of which has sent so many bytes.
func slow(t *testing.T, s *sessiontest.Script, taken int64, change func(r *control.Result)) (record.Trial, *loads.SlowRecord) {
	t.Helper()
	s.OnDo = func(c control.Command, r *control.Result) error {
		if c.Op == "slow" {
			r.Counts = map[string]int64{control.CountUnread: 20, control.CountDribbling: 20, control.CountUnreadBytes: 20 * taken}
			if change != nil {
				change(r)
			}
		}
		return nil
	}
	got := run(t, s, withSlow)
	found := loads.Slow.Of(&got)
	if !got.Valid || found == nil || found.Unread != 20 || found.Dribbling != 20 {
		t.Fatalf("%+v, invalid: %q", found, got.Invalid)
	}
	return got, found
}

func TestSlowPeers(t *testing.T) {
	got, _ := slow(t, sessiontest.New(), 3<<20, nil)
	figures(t, got, map[string]any{
		"slow.without_p99_us": 100.0, "slow.with_p99_us": 100.0, "slow.p99_share": 1.0,
		"slow.taken_bytes": float64(3 << 20), "slow.rss_added_bytes": 0.0, "slow.dropped_share": 0.0,
	})

	// The others pay for the slow ones.
	got, _ = slow(t, sessiontest.New(), 3<<20, func(r *control.Result) { r.Latency = sessiontest.Latency(r.Offered, 700) })
	figures(t, got, map[string]any{"slow.without_p99_us": 100.0, "slow.with_p99_us": 700.0, "slow.p99_share": 7.0})

	// Latencies are not believed if many messages had no answer.
	got, _ = slow(t, sessiontest.New(), 3<<20, func(r *control.Result) { r.Delivered, r.Unanswered = r.Offered-80, 80 })
	figures(t, got, map[string]any{"slow.without_p99_us": 100.0, "slow.with_p99_us": "80 of 8000 messages had no answer", "slow.p99_share": "had no answer"})
}

// A server that keeps all for those that do not read is found to the byte.
func TestSlowPeersAreHoardedFor(t *testing.T) {
	s := sessiontest.New()
	s.OnMeasure = func(_ bool, m *agent.Measurement) error {
		if did := s.Did(); len(did) > 0 && did[len(did)-1].Op == "slow" {
			*m.Processes[0].RSSBytes += 20 * (12 << 20)
		}
		return nil
	}
	got, _ := slow(t, s, 16<<20, nil)
	figures(t, got, map[string]any{"slow.taken_bytes": float64(16 << 20), "slow.rss_added_bytes": float64(12 << 20), "slow.dropped_share": 0.0})
}

// Peers that were dropped are counted, whether they know it or only the server does.
func TestSlowPeersAreDropped(t *testing.T) {
	got, _ := slow(t, sessiontest.New(), 2<<20, func(r *control.Result) { r.Counts[control.CountUnreadLost] = 20 })
	figures(t, got, map[string]any{"slow.taken_bytes": float64(2 << 20), "slow.dropped_share": 0.5})
	said(t, got, "slow: the server dropped 20 of 20 peers that read nothing")

	// Those that dribble are counted apart, and not a second time by the server.
	s := sessiontest.New()
	missing := 15
	s.OnAsk = func(_ string, stats *contract.Stats) error {
		if did := s.Did(); len(did) > 0 && did[len(did)-1].Op == "slow" {
			stats.Connections -= int64(missing)
		}
		return nil
	}
	got, found := slow(t, s, 2<<20, func(r *control.Result) { r.Counts[control.CountDribblingLost] = 15 })
	figures(t, got, map[string]any{"slow.dropped_share": 0.375})
	said(t, got, "slow: the server dropped 15 of 20 peers that send one byte at a time")
	if found.Dropped != 0 || found.DribblingDropped != 15 {
		t.Errorf("%+v", found)
	}

	for of, share := range map[int]float64{10: 0.25, 30: 0.5} { // no more than there are
		missing = of
		got, _ = slow(t, s, 2<<20, nil)
		figures(t, got, map[string]any{"slow.dropped_share": share})
	}
}
