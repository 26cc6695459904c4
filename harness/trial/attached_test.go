package trial_test

import (
	"slices"
	"strings"
	"testing"

	"connbench/clients/control"
	"connbench/harness/agent"
	"connbench/harness/cause"
	"connbench/harness/phase/connections"
	"connbench/harness/phase/loads"
	"connbench/harness/plan"
	"connbench/harness/record"
	"connbench/harness/session"
	"connbench/harness/session/sessiontest"
	"connbench/servers/contract"
)

// attached is a script whose server does not speak the contract. It may open most
// descriptors.
func attached(most int64) *sessiontest.Script {
	s := sessiontest.New()
	s.OnAsk = func(string, *contract.Stats) error { return session.ErrNoAnswers }
	s.OnMeasure = func(detail bool, m *agent.Measurement) error {
		m.GroupKernelBytes = nil
		if detail {
			m.Processes[0].MostDescriptors = &most
		}
		return nil
	}
	return s
}

// runAttached measures it as attach does.
func runAttached(t *testing.T, s *sessiontest.Script) record.Trial {
	return runClass(t, s, record.ClassAttached, func(p *plan.Plan) {
		connections.RampPlan.Change(p, func(r *connections.RampTable) { r.Settled, r.Patience = false, 10 })
		connections.CensusPlan.Set(p, connections.CensusTable{By: connections.ByPing})
		loads.EchoPlan.Set(p, loads.EchoTable{})
		loads.SaturatePlan.Set(p, loads.SaturateTable{})
		loads.ListenPlan.Set(p, loads.ListenTable{Seconds: 2})
	})
}

// A server that answers no questions is measured by what the kernel has of it.
func TestAttachedServer(t *testing.T) {
	s := attached(20_000)
	s.OnDo = func(c control.Command, r *control.Result) error {
		if c.Op == "listen" {
			r.Counts = map[string]int64{control.CountPushed: 4000, control.CountPushedBytes: 40_000}
		}
		return nil
	}
	got := runAttached(t, s)
	if !got.Valid || got.Connections.Reached != target || got.Stop.Reason != cause.Target.Reason {
		t.Fatalf("valid %v, %d connections, stopped by %q: %q", got.Valid, got.Connections.Reached, got.Stop.Reason, got.Invalid)
	}
	if c := got.Connections.Census; c.Server != nil || c.Kernel == nil || *c.Kernel != target {
		t.Errorf("the census is %+v: only the swarm and the kernel can count", c)
	}
	if rss := got.PerConnection.RSSBytes; rss == nil || *rss != float64(s.Costs.RSS) {
		t.Errorf("RSS per connection is %v, want %d", rss, s.Costs.RSS)
	}
	if kernel := got.PerConnection.KernelBytes; kernel == nil || *kernel < float64(s.Costs.Kernel) {
		t.Errorf("kernel bytes per connection are %v", kernel)
	}
	if p := got.PerConnection; p.HeapInUseBytes != nil || p.StackBytes != nil || p.Goroutines != nil {
		t.Errorf("figures that only the server has: %+v", p)
	}
	for _, warning := range got.Warnings {
		if strings.Contains(warning, "fewer than three points") {
			t.Errorf("warns %q of what nobody can know", warning)
		}
	}
	if l := loads.Listen.Of(&got); l == nil || l.Messages != 4000 || l.Bytes != 40_000 || l.Connections != target {
		t.Errorf("listened: %+v", l)
	}
	for _, c := range s.Did() {
		if c.Op == "census" && string(c.Options) != `{"ping":true}` || c.Op == "ramp" && string(c.Options) != `{"patience":10}` {
			t.Errorf("%s was asked with options %s", c.Op, c.Options)
		}
	}
}

// Others may use the server too: then the kernel's count is no proof of a fault.
func TestAttachedServerThatOthersUse(t *testing.T) {
	s := attached(20_000)
	s.OnCount = func(n *int64) error { *n += 7; return nil }
	got := runAttached(t, s)
	said := slices.ContainsFunc(got.Warnings, func(w string) bool { return strings.Contains(w, "by the kernel's count the server has 2007") })
	if !got.Valid || !said {
		t.Errorf("valid %v, warnings %q", got.Valid, got.Warnings)
	}
}

// The limit that counts is that of the process with the fewest descriptors left, and what
// the server says when it refuses is evidence.
func TestAttachedServerRunsOutOfDescriptors(t *testing.T) {
	for name, test := range map[string]struct {
		most int64
		want *cause.Cause
	}{"used up": {1000, cause.ServerDescriptors}, "enough": {20_000, cause.Rejected}} {
		s := attached(test.most)
		s.OnDo = refuse(s)
		got := runAttached(t, s)
		if got.Stop.Reason != test.want.Reason || !slices.Contains(got.Stop.Evidence, "the server answered HTTP status 503, 100 times") {
			t.Errorf("%s: stopped by %q, %q; want %q", name, got.Stop.Reason, got.Stop.Evidence, test.want.Reason)
		}
	}
}

// refuse has a server take 990 connections and no more.
func refuse(s *sessiontest.Script) func(control.Command, *control.Result) error {
	return func(c control.Command, r *control.Result) error {
		if c.Op != "ramp" || c.Connections <= 990 {
			return nil
		}
		s.Lose(r.Open - 990)
		r.Open, r.Opened, r.StoppedBy = 990, 990-750, control.StoppedByServer
		r.Failures = []control.Failure{{Phase: control.PhaseHandshake, Error: control.Rejected, Count: 100}}
		r.Counts = map[string]int64{control.CountStatus + "503": 100}
		return nil
	}
}

// So it is for a server of ours that has started other processes: one may be full while
// others have room.
func TestServerOfSeveralProcessesRunsOutOfDescriptors(t *testing.T) {
	for most, want := range map[int64]*cause.Cause{1000: cause.ServerDescriptors, 1500: cause.Rejected} {
		s := sessiontest.New()
		s.OnDo = refuse(s)
		s.OnMeasure = func(_ bool, m *agent.Measurement) error {
			child := m.Processes[0]
			child.PID, child.MostDescriptors = 2000, &most
			m.Processes = append(m.Processes, child)
			return nil
		}
		if got := run(t, s, nil); got.Stop.Reason != want.Reason {
			t.Errorf("a process may have %d descriptors: stopped by %q, %q; want %q", most, got.Stop.Reason, got.Stop.Evidence, want.Reason)
		}
	}
}

// A server that ends connections gets no further load.
func TestAttachedServerIsLeftAlone(t *testing.T) {
	for lost, want := range map[int]bool{50: true, 150: false} {
		s := attached(20_000)
		s.OnDo = during("hold", 1, func(*control.Result) { s.Lose(lost) })
		got := runClass(t, s, record.ClassAttached, func(p *plan.Plan) {
			connections.RampPlan.Change(p, func(r *connections.RampTable) { r.Settled = false })
			loads.SaturatePlan.Set(p, loads.SaturateTable{})
		})
		if carried := loads.Echo.Of(&got) != nil; carried != want {
			t.Errorf("after %d of %d connections were lost, the load is carried: %v; %q", lost, target, carried, got.Warnings)
		}
	}
}
