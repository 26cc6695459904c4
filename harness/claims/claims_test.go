package claims

import (
	"bytes"
	"strings"
	"testing"

	"connbench/harness/cause"
	"connbench/harness/limits"
	"connbench/harness/phase/loads"
	"connbench/harness/record"
	"connbench/harness/suite"
)

// outcome is a trial in which reached connections were open, stopped by reason.
func outcome(variant string, predicted, reached int, reason string) suite.Outcome {
	return suite.Outcome{
		Prediction: limits.Prediction{Ceiling: new(int64(predicted))},
		Trial: record.Trial{
			Valid:         true,
			Variant:       variant,
			Connections:   record.Connections{Reached: reached, Peak: reached},
			Stop:          record.Stop{Reason: reason, Evidence: []string{"because"}},
			PerConnection: record.PerConnection{RSSBytes: new(1000.0), KernelBytes: new(8000.0)},
		},
	}
}

// asExpected are outcomes in which every claim shows what it is said to.
func asExpected() Outcomes {
	o := Outcomes{
		ports:       outcome("floor", 2000, 2000, cause.ClientPorts.Reason),
		twoSources:  outcome("floor", 4000, 4000, cause.ClientPorts.Reason),
		twoPorts:    outcome("floor", 4000, 4000, cause.ClientPorts.Reason),
		twoServers:  outcome("floor", 4000, 4000, cause.ClientPorts.Reason),
		fewFiles:    outcome("floor", 1006, 1014, cause.ServerDescriptors.Reason),
		oneProcess:  outcome("floor", 19982, 19990, cause.ServerDescriptors.Reason),
		oneCPU:      outcome("floor", 2000000, 80000, cause.Target.Reason),
		firewall:    outcome("floor", 262144, 262144, cause.Conntrack.Reason),
		leanMemory:  outcome("floor", 2000000, 10000, cause.Target.Reason),
		plainMemory: outcome("goroutine", 2000000, 10000, cause.Target.Reason),
		smallHost:   outcome("goroutine", 30000, 30500, cause.MemoryReserve.Reason),
	}
	table := o[firewall]
	table.Prediction.Limits = []limits.Limit{{Where: "fs.file-max", Value: "2466170", How: "does not hold for root"}}
	o[firewall] = table
	active := o[oneCPU]
	active.Trial.CPU = map[string]*float64{"idle_cores": new(0.001), "echo_us": new(45.0)}
	loads.Echo.Set(&active.Trial, &record.Load{DeliveredPerSecond: 10000})
	loads.Saturate.Set(&active.Trial, &record.Load{DeliveredPerSecond: 50000})
	o[oneCPU] = active
	return o
}

func TestEveryClaimIsShown(t *testing.T) {
	for _, c := range Judge(asExpected()) {
		if c.Verdict == notShown || c.Predicted == "" || c.Measured == "" || c.Source == "" || c.Truth == "" {
			t.Errorf("%+v", c)
		}
	}
}

// A claim is judged by what was measured, and not by what was expected.
func TestOtherOutcomesShowNothing(t *testing.T) {
	verdicts := map[string]string{}
	for _, c := range Judge(asExpected()) {
		verdicts[c.Claim] = c.Verdict
	}
	for name, test := range map[string]struct {
		change func(Outcomes)
		claim  string // a part of the one that is shown no more
	}{
		"ports are not doubled": {func(o Outcomes) { o[twoPorts] = outcome("floor", 4000, 2000, cause.ClientPorts.Reason) }, "65,536"},
		"other limit":           {func(o Outcomes) { o[fewFiles] = outcome("floor", 1006, 900, cause.Timeout.Reason) }, "descriptors"},
		"no table was full":     {func(o Outcomes) { o[firewall] = outcome("floor", 262144, 900, cause.Timeout.Reason) }, "stateful"},
		"no echo":               {func(o Outcomes) { o[oneCPU] = outcome("floor", 2000000, 80000, cause.Target.Reason) }, "A million"},
		"fewer than said":       {func(o Outcomes) { o[oneCPU] = outcome("floor", 2000000, 70000, cause.Timeout.Reason) }, "80K"},
		"the server died":       {func(o Outcomes) { o[smallHost] = outcome("goroutine", 30000, 3, cause.ServerDied.Reason) }, "70K"},
		"not as predicted":      {func(o Outcomes) { o[smallHost] = outcome("goroutine", 30000, 26000, cause.MemoryReserve.Reason) }, "70K"},
		"an invalid trial": {func(o Outcomes) {
			invalid := o[oneCPU]
			invalid.Trial.Valid = false
			o[oneCPU] = invalid
		}, "80K"},
		"no trial": {func(o Outcomes) { delete(o, plainMemory) }, "Each connection"},
	} {
		o := asExpected()
		test.change(o)
		found := false
		for _, c := range Judge(o) {
			if strings.Contains(c.Claim, test.claim) {
				found = true
				if c.Verdict != notShown {
					t.Errorf("%s: %+v", name, c)
				}
			}
		}
		if !found {
			t.Errorf("%s: no claim has %q", name, test.claim)
		}
	}
}

func TestTrialsAreThoseThatClaimsName(t *testing.T) {
	made := map[string]bool{}
	for _, trial := range Trials() {
		made[trial.Name] = true
		if problem := trial.Plan.Problems(); len(problem) > 0 {
			t.Errorf("%s: %s", trial.Name, problem)
		}
	}
	used := map[string]bool{}
	for _, c := range Judge(asExpected()) {
		for _, name := range c.Trials {
			used[name] = true
		}
	}
	for name := range used {
		if !made[name] {
			t.Errorf("%s is not made", name)
		}
	}
	for name := range made {
		if !used[name] {
			t.Errorf("%s is not used", name)
		}
	}
}

func TestMarkdownHoldsAll(t *testing.T) {
	o := asExpected()
	run := Run{Command: "bin/connbench claims", Claims: Judge(o), Trials: []Evidence{
		{Name: ports, Lab: "netns", Variant: "floor", Shows: "ports", Outcome: new(o[ports])},
		{Name: firewall, Lab: "netns-firewall", Variant: "floor", Shows: "a firewall", Missing: "no | nf_tables"},
	}}
	var text bytes.Buffer
	if err := run.WriteMarkdown(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| “65,536 connections per server” | false", "## “80K", "| ports | ports | netns | floor | 2,000 | 2,000 | client ports | because |", `no \| nf\_tables`} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in:\n%s", want, text.String())
		}
	}
}
