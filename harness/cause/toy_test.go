package cause_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"connbench/clients/control"
	"connbench/harness/cause"
	"connbench/harness/limits"
	"connbench/harness/record"
	"connbench/harness/record/folder"
	"connbench/harness/record/recordtest"
	"connbench/harness/reference"
)

// toy is a cause as a new one would be: one entry.
var toy = &cause.Cause{
	Reason:   "full moon",
	Meaning:  "the moon is full",
	Failures: []control.FailureKind{{Phase: control.PhaseConnect, Error: "EPROTO"}},
	Counters: []string{"Moons"},
	Says: func(c *cause.Cause, f *cause.Facts) string {
		if f.Counter("Moons") == 0 || f.Failures(c.Failures) == 0 {
			return ""
		}
		return "the moon was full"
	},
	Advice: "wait for two weeks",
}

// toyLimit is a limit by which it is predicted.
var toyLimit = limits.Row{
	Name: "moons", Where: "the sky", Kind: limits.KindOpen, Cause: toy, Scopes: (*limits.Setup).Host,
	Is: func(*limits.Setup, limits.Scope) *int64 { return new(int64(3)) },
	Find: func(_ *limits.Setup, p limits.Scope, is int64, l *limits.Limit) {
		l.Allow(p, 100*is, "a hundred each")
	},
}

// A new cause is found wherever causes are, and nothing but its entry, and the limit
// that refers to it, says so.
func TestOneEntryIsEverything(t *testing.T) {
	before, rows := cause.All, limits.Rows
	t.Cleanup(func() { cause.All, limits.Rows = before, rows })
	limits.Rows = append(slices.Clone(rows), toyLimit)
	after := slices.Insert(slices.Clone(before), 0, toy)
	cause.All = after

	facts := cause.Facts{
		Ramp:           &cause.Ramp{Open: 1, Target: 2, Failures: []control.Failure{{Phase: "connect", Error: "EPROTO", Count: 3}}},
		ClientCounters: map[string]int64{"Moons": 1},
	}
	if got, evidence := cause.Attribute(facts); got != toy || evidence[0] != "the moon was full" {
		t.Errorf("attributed to %q by %q", got.Reason, evidence)
	}
	facts.ClientCounters = nil
	if got, _ := cause.Attribute(facts); got != cause.Unreachable {
		t.Errorf("attributed to %q without a moon", got.Reason)
	}

	o := recordtest.Default
	o.Rounds, o.Change = 1, func(trial *record.Trial) { trial.Stop.Reason = toy.Reason }
	dir := recordtest.Write(t, o)
	if _, err := folder.Open(dir); err != nil {
		t.Errorf("a record with its reason is not read: %v", err)
	}
	cause.All = before
	if run, err := folder.Open(dir); err == nil && len(run.Warnings) == 0 {
		t.Error("a record with a reason that is none is read")
	}
	cause.All = after

	binding, _ := limits.Compute(limits.Facts{Name: "host"}, nil, limits.Topology{}).Binding()
	if binding.Reason != toy.Reason || *binding.Connections != 300 || binding.Raise != toy.Advice {
		t.Errorf("predicted is %+v", binding)
	}

	if text, err := reference.Schema(reflect.TypeFor[record.Trial](), "a trial"); err != nil || !strings.Contains(text, `"full moon"`) {
		t.Errorf("the schema of a trial does not have it, %v", err)
	}

	const row = "| `full moon` | the moon is full | connect: EPROTO; `Moons` | moons | wait for two weeks |\n"
	if !strings.Contains(documentation(), row) {
		t.Error("the documentation has no row of it")
	}
}
