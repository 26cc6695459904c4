package compare

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"connbench/harness/environment"
	"connbench/harness/figure"
	"connbench/harness/phase/connections"
	"connbench/harness/phase/loads"
	"connbench/harness/phase/searches"
	"connbench/harness/plain"
	"connbench/harness/plan"
	"connbench/harness/record"
	"connbench/harness/record/folder"
	"connbench/harness/record/recordtest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func conditions(t *testing.T, texts ...string) (list []Condition) {
	t.Helper()
	for _, text := range texts {
		c, err := ParseCondition(text)
		must(t, err)
		list = append(list, c)
	}
	return list
}

func text(t *testing.T, c Comparison) string {
	t.Helper()
	var out bytes.Buffer
	must(t, c.WriteText(&out, 140))
	return out.String()
}

// A server that keeps fewer connections once messages take work is found, and at
// which amount of work.
func TestADeclineUnderWorkIsFound(t *testing.T) {
	o := recordtest.Default
	o.Change = recordtest.Complexity
	slower := again()
	slower.Change = func(trial *record.Trial) {
		recordtest.Complexity(trial)
		if trial.Variant == "gnet" {
			kept := searches.Complexity.Of(trial).Kept
			kept["10us"] = kept["10us"] * 8 / 10
		}
	}
	c, err := Compare(recordtest.Read(o), recordtest.Read(slower), conditions(t, "kept.0us<-5%", "complexity.kept.10us<-5%", "kept.1000us<-5%"))
	must(t, err)
	if len(c.Failed) != 1 || !strings.Contains(c.Failed[0], "complexity.kept.10us<-5%: gnet/tuned") || len(c.Unjudged) > 0 {
		t.Errorf("failed %q, unjudged %q", c.Failed, c.Unjudged)
	}
	if !strings.Contains(text(t, c), "kept at 10 µs") {
		t.Errorf("the table does not show it:\n%s", text(t, c))
	}
}

// again is a run of the same things on the same machine.
func again() recordtest.Options {
	o := recordtest.Default
	o.Seed = 2
	return o
}

func TestTwoRunsOfTheSame(t *testing.T) {
	c, err := Compare(recordtest.Read(recordtest.Default), recordtest.Read(again()), conditions(t, "rss_bytes>5%", "connections.reached<-1%"))
	must(t, err)
	if len(c.Environment) > 0 || len(c.Failed) > 0 || len(c.Unjudged) > 0 || len(c.Notes) > 0 {
		t.Errorf("environment %v, failed %q, unjudged %q, notes %q", c.Environment, c.Failed, c.Unjudged, c.Notes)
	}
	differ := 0
	for _, row := range c.Rows {
		if row.Verdict != Same {
			differ++
		}
	}
	if differ > len(c.Rows)/8 { // 1 in 20 is chance, and figures are not independent
		t.Errorf("%d of %d rows differ:\n%s", differ, len(c.Rows), text(t, c))
	}
	if !strings.Contains(text(t, c), "The environments are the same.") {
		t.Error(text(t, c))
	}
}

// The case for which there is a comparison at all: a server that takes 4 KiB more
// for each connection.
func TestFourKiBMoreIsFound(t *testing.T) {
	o := again()
	o.Change = func(trial *record.Trial) {
		if trial.Variant == "nbio" {
			*trial.PerConnection.RSSBytes += 4096
		}
	}
	for _, rounds := range [][2]int{{6, 6}, {6, 3}, {3, 3}} {
		before := recordtest.Default
		before.Rounds, o.Rounds = rounds[0], rounds[1]
		c, err := Compare(recordtest.Read(before), recordtest.Read(o), conditions(t, "rss_bytes>5%"))
		must(t, err)
		if len(c.Failed) != 1 || !strings.HasPrefix(c.Failed[0], "rss_bytes>5%: nbio/tuned went from 1,3") {
			t.Errorf("%v rounds: failed %q, unjudged %q", rounds, c.Failed, c.Unjudged)
		}
		for _, row := range c.Rows {
			if row.Variant == "nbio/tuned" && row.Figure == "per_connection.rss_bytes" && (row.Verdict != Worse || row.Delta == nil || *row.Delta < 3 || *row.Delta > 3.3) {
				t.Errorf("%v rounds: %+v", rounds, row)
			}
		}
	}
}

func TestOneRoundDecidesNothing(t *testing.T) {
	before, after := recordtest.Default, again()
	before.Rounds, after.Rounds = 1, 1
	after.Change = func(trial *record.Trial) { *trial.PerConnection.RSSBytes *= 3 }
	c, err := Compare(recordtest.Read(before), recordtest.Read(after), conditions(t, "rss_bytes>5%"))
	must(t, err)
	if len(c.Failed) > 0 || len(c.Unjudged) != 1 || !strings.Contains(c.Unjudged[0], "too few rounds, 1 and 1") {
		t.Errorf("failed %q, unjudged %q", c.Failed, c.Unjudged)
	}
	shown := strings.Join(strings.Fields(text(t, c)), " ")
	for _, want := range []string{
		"70 comparisons had too few rounds to be judged",
		"The Mann-Whitney U test warns of 60 comparisons: need >= 4 samples to detect a difference at alpha level 0.05.",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %q in %s", want, shown)
		}
	}
}

func TestAnotherMachineIsComparedInBytesOnly(t *testing.T) {
	o := again()
	o.ChangeManifest = func(m *record.Manifest) {
		m.Hosts[0].CPUModel, m.Hosts[0].Kernel, m.Hosts[0].MemoryBytes = "Another CPU", "6.12.1", 64<<30
		m.Hosts[0].Sysctls["net.core.somaxconn"] = "65535"
		m.Modules["github.com/gobwas/ws"] = "v1.5.0"
		m.Variants[0].SHA256 = "1"
	}
	o.Change = func(trial *record.Trial) {
		*trial.CPU["echo_us"] *= 4
		*trial.PerConnection.RSSBytes *= 2
	}
	c, err := Compare(recordtest.Read(recordtest.Default), recordtest.Read(o), conditions(t, "cpu.echo_us>5%", "rss_bytes>5%"))
	must(t, err)
	spoils := map[string]string{}
	for _, d := range c.Environment {
		spoils[d.Name] = d.Spoils
	}
	want := map[string]string{
		"kernel": "", "CPU model": "rates, CPU and latency", "memory": "connections reached", "sysctl net.core.somaxconn": "",
		"module github.com/gobwas/ws": "", "program of floor/tuned": "",
	}
	if fmt.Sprint(spoils) != fmt.Sprint(want) {
		t.Errorf("environment is %v, want %v", spoils, want)
	}
	for _, row := range c.Rows {
		comparable := strings.HasPrefix(row.Figure, "per_connection.") || row.Figure == "echo.unanswered_share" || row.Figure == "echo.lost"
		if (row.Verdict == Incomparable) == comparable {
			t.Errorf("%s %s is %s because of %q", row.Figure, row.Variant, row.Verdict, row.Obstacle)
		}
	}
	if len(c.Failed) != 5 || len(c.Unjudged) != 1 || !strings.Contains(c.Unjudged[0], "differ in CPU model") {
		t.Errorf("failed %q, unjudged %q", c.Failed, c.Unjudged)
	}
}

func TestAnotherLoadSpoilsTheLoadOnly(t *testing.T) {
	withPlan := func(rate, rounds int) func(*record.Manifest) {
		return func(m *record.Manifest) {
			m.Plan = map[string]any{"rounds": rounds, "echo": map[string]any{"rate_per_second": rate}}
		}
	}
	before, after := recordtest.Default, again()
	before.ChangeManifest, after.ChangeManifest = withPlan(5000, 6), withPlan(9000, 3)
	c, err := Compare(recordtest.Read(before), recordtest.Read(after), nil)
	must(t, err)
	for _, row := range c.Rows {
		load := strings.HasPrefix(row.Figure, "echo.") || strings.HasPrefix(row.Figure, "cpu.echo")
		if (row.Obstacle == "plan.echo.rate_per_second") != load {
			t.Errorf("%s: obstacle %q", row.Figure, row.Obstacle)
		}
	}
}

// What a run alone has is compared with the like only.
func TestWhatSpoils(t *testing.T) {
	for _, test := range []struct {
		item     string
		manifest func(*record.Manifest)
		trial    func(*record.Trial)
		spoiled  []string
		left     []string
	}{
		{item: "plan.budget_bytes",
			manifest: func(m *record.Manifest) { m.Plan = map[string]any{"budget_bytes": 2 << 30} },
			spoiled:  []string{"budget.connections"}, left: []string{"ping.p99_us", "connections.reached"}},
		{item: "engine", trial: func(t *record.Trial) { t.Engine = record.EnginePacket },
			spoiled: []string{"budget.connections"}, left: []string{"connections.reached"}},
		{item: "plan.ping.interval_seconds",
			manifest: func(m *record.Manifest) { m.Plan = map[string]any{"ping": map[string]any{"interval_seconds": 60}} },
			spoiled:  []string{"ping.p99_us", "cpu.ping_us"}, left: []string{"budget.connections", "echo.p99_us"}},
		{item: "plan.sweep.p99_us",
			manifest: func(m *record.Manifest) { m.Plan = map[string]any{"sweep": map[string]any{"p99_us": 1000}} },
			spoiled:  []string{"sweep.knee_per_second"}, left: []string{"echo.p99_us", "ping.p99_us"}},
		{item: "plan.connections", manifest: func(m *record.Manifest) { m.Plan = map[string]any{"connections": 20_000} },
			spoiled: []string{"connections.reached", "per_connection.rss_bytes", "after.close_seconds"}, left: []string{"per_connection.rss_settled_bytes", "echo.p99_us"}},
		{item: "plan.client.processes", manifest: func(m *record.Manifest) { m.Plan = map[string]any{"client": map[string]any{"processes": 1}} },
			spoiled: []string{"echo.p99_us"}, left: []string{"per_connection.rss_bytes"}},
		{item: "CPUs emulated", manifest: func(m *record.Manifest) { m.Hosts[0].Emulated = true },
			spoiled: []string{"ping.p99_us", "cpu.accept_us"}, left: []string{"budget.connections", "per_connection.kernel_bytes"}},
		{item: "CPU quota", manifest: func(m *record.Manifest) { m.Hosts[0].Limits["cgroup_cpus"] = "1.5" },
			spoiled: []string{"ping.p99_us", "cpu.accept_us"}, left: []string{"budget.connections", "per_connection.rss_bytes"}},
		{item: "memory limit", manifest: func(m *record.Manifest) { m.Hosts[0].Limits["cgroup_memory_bytes"] = "1073741824" },
			spoiled: []string{"connections.reached"}, left: []string{"ping.p99_us", "per_connection.rss_bytes"}},
		{item: "link", manifest: func(m *record.Manifest) { m.Hosts[0].Link = "eth0, MTU 9000" },
			spoiled: []string{"ping.p99_us"}, left: []string{"cpu.accept_user_us", "per_connection.kernel_bytes"}},
	} {
		measured := func(t *record.Trial) {
			connections.Budget.Set(t, &connections.BudgetRecord{Bytes: 1 << 30, Connections: new(100_000.0)})
			t.CPU["ping_us"] = new(20.0)
			loads.Ping.Set(t, loads.Echo.Of(t))
			searches.Sweep.Set(t, &searches.SweepRecord{P99LimitUS: 1e5, KneePerSecond: new(40_000.0)})
		}
		before, after := recordtest.Default, recordtest.Default
		before.Rounds, after.Rounds = 3, 3
		before.Change = measured
		before.ChangeManifest = func(m *record.Manifest) {
			m.Plan = map[string]any{
				"connections": 10_000, "budget_bytes": 1 << 30,
				"ping": map[string]any{"interval_seconds": 30}, "sweep": map[string]any{"p99_us": 100_000},
			}
		}
		after.Change = func(t *record.Trial) {
			measured(t)
			if test.trial != nil {
				test.trial(t)
			}
		}
		after.ChangeManifest = func(m *record.Manifest) {
			before.ChangeManifest(m)
			if test.manifest != nil {
				test.manifest(m)
			}
		}
		c, err := Compare(recordtest.Read(before), recordtest.Read(after), nil)
		must(t, err)
		obstacles := map[string]string{}
		for _, row := range c.Rows {
			obstacles[row.Figure] = row.Obstacle
		}
		for _, figure := range test.spoiled {
			if obstacles[figure] != test.item {
				t.Errorf("%s: %s has the obstacle %q", test.item, figure, obstacles[figure])
			}
		}
		for _, figure := range test.left {
			if obstacle, is := obstacles[figure]; !is || obstacle == test.item {
				t.Errorf("%s: %s has the obstacle %q (is there: %v)", test.item, figure, obstacle, is)
			}
		}
	}
}

// Every key of a plan spoils some figure or is said to be harmless, so that nobody adds
// a key and forgets to think about it.
func TestEveryKeyOfAPlanIsDeclared(t *testing.T) {
	o := recordtest.Default
	o.Change = recordtest.Complexity
	figures := figure.Of(recordtest.Read(o))
	for _, key := range plan.Keys() {
		fact := environment.Plan(key.Path)
		spoiled := slices.ContainsFunc(figures, func(f figure.Figure) bool { return SpoilsFigure(fact, f) })
		if spoiled == key.Harmless {
			t.Errorf("%s: spoils a figure: %v, is declared harmless: %v", key.Path, spoiled, key.Harmless)
		}
		for _, name := range key.Figures {
			if _, err := figure.Find(name); err != nil {
				t.Errorf("%s: %v", key.Path, err)
			}
		}
	}
}

// A figure that depended on a fact that no environment has would always be compared.
func TestFiguresDependOnKnownFacts(t *testing.T) {
	known := map[environment.Fact]bool{}
	for _, item := range environment.Of(recordtest.Read(recordtest.Default)) {
		known[item.Fact] = true
	}
	for _, key := range plan.Keys() {
		known[environment.Plan(key.Path)] = true
	}
	for _, f := range figure.All() {
		for _, fact := range f.Depends {
			if !known[fact] {
				t.Errorf("%s depends on %q", f.Name, fact)
			}
		}
	}
}

func TestWhatIsSpoiledIsSaidBriefly(t *testing.T) {
	figures := figure.All()
	for fact, want := range map[environment.Fact]string{
		environment.Architecture: "everything", environment.CPUModel: "rates, CPU and latency", environment.Link: "rates and latency",
		environment.Memory: "connections reached", "kernel": "",
		environment.Plan("echo.rate_per_second"): "the phase echo",
		environment.Plan("saturate.in_flight"):   "saturated",
		environment.Plan("connections"):          "connections reached, RSS per connection and CPU while idle",
		environment.Plan("ping.payload_bytes"):   "the phase ping",
		environment.Engine:                       "rates, latency, connections in budget, kernel per connection, CPU per accept, CPU per message and CPU per delivery",
	} {
		if got := spoiled(fact, figures); got != want {
			t.Errorf("%s spoils %q, want %q", fact, got, want)
		}
	}
}

func TestChangeFromNothingHasNoShare(t *testing.T) {
	o := again()
	o.Change = func(trial *record.Trial) {
		*trial.PerConnection.StackBytes += 4096
		fit := trial.Fits["stack_bytes"]
		fit.Slope, fit.Low, fit.High = fit.Slope+4096, fit.Low+4096, fit.High+4096
		trial.Fits["stack_bytes"] = fit
	}
	c, err := Compare(recordtest.Read(recordtest.Default), recordtest.Read(o), conditions(t, "stack_bytes>5%"))
	must(t, err)
	if len(c.Failed) != 1 || !strings.Contains(c.Failed[0], "goroutine/tuned") {
		t.Errorf("failed %q", c.Failed)
	}
	if len(c.Unjudged) == 0 || !strings.Contains(c.Unjudged[0], "the old value is close to 0") {
		t.Errorf("unjudged %q", c.Unjudged)
	}
	if !strings.Contains(text(t, c), "+4,1") {
		t.Error(text(t, c))
	}
}

func TestTrialsFileFromAnywhere(t *testing.T) {
	run := recordtest.Read(recordtest.Default)
	alone, err := folder.Open(filepath.Join(recordtest.Write(t, again()), record.TrialsFile))
	must(t, err)
	c, err := Compare(run, alone, nil)
	must(t, err)
	if len(c.Notes) != 1 || !strings.Contains(c.Notes[0], "is only a trials file") || len(c.Environment) > 0 {
		t.Errorf("notes %q, environment %v", c.Notes, c.Environment)
	}
}

func TestVariantsOfOneRunOnlyAreNamed(t *testing.T) {
	o := again()
	o.Change = func(trial *record.Trial) {
		if trial.Variant == "gnet" {
			trial.Valid, trial.Invalid = false, []string{"for the test"}
		}
		if trial.Variant == "nbio" {
			trial.Variant = "nbio-next"
		}
	}
	c, err := Compare(recordtest.Read(recordtest.Default), recordtest.Read(o), nil)
	must(t, err)
	notes := strings.Join(c.Notes, "\n")
	for _, want := range []string{"gnet/tuned has no valid trial in " + c.New, "nbio/tuned has no valid trial in " + c.New, "nbio-next/tuned is only in " + c.New} {
		if !strings.Contains(notes, want) {
			t.Errorf("%q is missing in %q", want, notes)
		}
	}
	o.Change = func(trial *record.Trial) { trial.Class = "default" }
	if _, err := Compare(recordtest.Read(recordtest.Default), recordtest.Read(o), nil); err == nil || !strings.Contains(err.Error(), "no variant in common") {
		t.Errorf("nothing in common: %v", err)
	}
}

func TestJSONHasEveryFigure(t *testing.T) {
	c, err := Compare(recordtest.Read(recordtest.Default), recordtest.Read(again()), nil)
	must(t, err)
	var out bytes.Buffer
	must(t, plain.JSON(&out, c))
	var back struct {
		Environment []any
		Failed      []any
		Rows        []struct {
			Figure, Variant, Verdict string
			Delta                    *float64
			P                        float64
			Old                      struct {
				Median float64
				Rounds int
			}
		}
	}
	must(t, json.Unmarshal(out.Bytes(), &back))
	if len(back.Rows) != len(c.Rows) || back.Environment == nil || back.Failed == nil || back.Rows[5].Old.Rounds != 6 || back.Rows[5].Delta == nil {
		t.Errorf("JSON is %.600s", out.String())
	}
}

func TestMarkdownMeansItself(t *testing.T) {
	run := recordtest.Read(recordtest.Default)
	o := again()
	o.ChangeManifest = func(m *record.Manifest) { m.Hosts[0].Kernel = "<img src=x>|[a](b)" }
	other := recordtest.Read(o)
	other.Dir = "results/<b>x"
	c, err := Compare(run, other, nil)
	must(t, err)
	var out bytes.Buffer
	must(t, c.WriteMarkdown(&out))
	for _, bad := range []string{"<img", "<b>", "[a]("} {
		if strings.Contains(out.String(), bad) {
			t.Errorf("Markdown has %s:\n%s", bad, out.String())
		}
	}
	if !strings.Contains(out.String(), "| kernel") {
		t.Error(out.String())
	}
}

func TestConditions(t *testing.T) {
	for text, want := range map[string]string{
		"rss_bytes":      "not of the form",
		"rss_bytes>":     "not of the form",
		"rss>5%":         `unknown figure "rss"`,
		"p99_us>5%":      "ambiguous: it may be ramp.handshake.p99_us or echo.p99_us",
		"rss_bytes > x%": "not of the form",
		"":               "not of the form",
	} {
		if _, err := ParseCondition(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	for text, cases := range map[string]map[float64]bool{
		"rss_bytes>5%":                         {0.051: true, 0.049: false, -0.5: false},
		" echo.delivered_per_second < -2.5 % ": {-0.03: true, -0.02: false, 0.5: false},
		"rss_bytes>64":                         {65: true, 64: false, 0.5: false},
	} {
		c, err := ParseCondition(text)
		must(t, err)
		for delta, want := range cases {
			if c.exceeded(delta) != want {
				t.Errorf("%s at %v: %v", c, delta, !want)
			}
		}
	}
}

// Runs with different engines of the clients are compared by what the server alone
// decides: its memory, and its user CPU in place of the whole.
func TestEnginesAreComparedByTheServersOwn(t *testing.T) {
	o := recordtest.Default
	o.Rounds = 3
	socket := recordtest.Read(o)
	o.Change = func(trial *record.Trial) { trial.Engine = record.EnginePacket }
	packet := recordtest.Read(o)
	c, err := Compare(socket, packet, nil)
	if err != nil {
		t.Fatal(err)
	}
	comparable := map[string]bool{}
	for _, row := range c.Rows {
		if row.headline && row.Verdict != Incomparable {
			comparable[row.Figure] = true
		}
	}
	for figure, want := range map[string]bool{
		"per_connection.rss_bytes": true, "per_connection.live_heap_bytes": true, "connections.reached": true,
		"cpu.accept_user_us": true, "cpu.echo_user_us": true, "cpu.idle_cores": true,
		"cpu.accept_us": false, "cpu.echo_us": false, "per_connection.kernel_bytes": false,
		"echo.p99_us": false, "ramp.connects_per_second": false,
	} {
		if comparable[figure] != want {
			t.Errorf("%s can be compared: %v", figure, comparable[figure])
		}
	}
	c, err = Compare(socket, socket, nil)
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(c.Rows, func(r Row) bool { return r.headline && r.Figure == "cpu.accept_user_us" }) {
		t.Error("user CPU is in the table beside the whole")
	}
}

// The tolerances are conditions as people would write them.
func TestTolerancesAreConditions(t *testing.T) {
	list := Tolerances()
	if len(list) < 5 {
		t.Fatalf("%d tolerances", len(list))
	}
	for _, c := range list {
		read, err := ParseCondition(c.String())
		must(t, err)
		if read.Figure.Name != c.Figure.Name || read.Above != c.Above || read.Limit != c.Limit || read.Relative != c.Relative || c.exceeded(0) {
			t.Errorf("%s is read as %+v, not %+v", c, read, c)
		}
	}
}

// noisyRounds marks rounds of all variants as noisy, in which CPU time is doubled.
func noisyRounds(last int) func(*record.Trial) {
	return func(trial *record.Trial) {
		if trial.Round <= last {
			trial.Noisy, trial.Quality.ForeignShare = true, new(0.85)
			*trial.CPU["echo_us"] *= 2
		}
	}
}

// Neighbours that took most of the CPUs in one of the runs are no regression.
func TestNoiseIsNotJudged(t *testing.T) {
	for name, test := range map[string]struct {
		old, new int // noisy rounds of six
		want     Verdict
	}{
		"quiet":             {0, 0, Same},
		"a round":           {0, 1, Same},
		"half":              {0, 3, Same},
		"most":              {0, 4, Noisy},
		"all":               {0, 6, Noisy},
		"all of the old":    {6, 0, Noisy},
		"all of both":       {6, 6, Noisy},
		"half of the other": {3, 0, Same},
	} {
		before, after := recordtest.Default, again()
		before.Change, after.Change = noisyRounds(test.old), noisyRounds(test.new)
		c, err := Compare(recordtest.Read(before), recordtest.Read(after), conditions(t, "cpu.echo_us>30%", "rss_bytes>15%"))
		must(t, err)
		for _, row := range c.Rows {
			if row.Figure == "cpu.echo_us" && row.Verdict != test.want {
				t.Errorf("%s: %s is %s (%s)", name, row.Variant, row.Verdict, row.Noise)
			}
			if row.Figure == "per_connection.rss_bytes" && row.Verdict == Noisy {
				t.Errorf("%s: memory is not judged", name)
			}
		}
		if len(c.Failed) > 0 || (len(c.Unjudged) > 0) != (test.want == Noisy) {
			t.Errorf("%s: failed %q, unjudged %q", name, c.Failed, c.Unjudged)
		}
		if test.want == Noisy && (!strings.Contains(c.Unjudged[0], "rounds are noisy (other programs took up to 85% of the CPUs)") || !strings.Contains(text(t, c), "cannot be judged because too few rounds were quiet")) {
			t.Errorf("%s: %q\n%s", name, c.Unjudged, text(t, c))
		}
	}
}

// Latency that is the swarm's own is not judged; what the load says of memory and CPU is.
func TestClientBoundIsNotJudged(t *testing.T) {
	for name, test := range map[string]struct {
		old, new int // rounds of six in which the swarm sent late
		want     Verdict
	}{
		"neither": {0, 0, Worse}, "two rounds": {0, 2, Worse}, "half": {0, 3, ClientBound}, "all of the old": {6, 0, ClientBound},
	} {
		late := func(rounds int, factor float64) func(*record.Trial) {
			return func(trial *record.Trial) {
				echo := loads.Echo.Of(trial)
				echo.ClientBound = trial.Round <= rounds
				echo.P50US *= factor
			}
		}
		before, after := recordtest.Default, again()
		before.Change, after.Change = late(test.old, 1), late(test.new, 4)
		c, err := Compare(recordtest.Read(before), recordtest.Read(after), conditions(t, "echo.p50_us>30%"))
		must(t, err)
		for _, row := range c.Rows {
			if row.Figure == "echo.p50_us" && row.Verdict != test.want || row.Figure == "cpu.echo_us" && row.Verdict == ClientBound {
				t.Errorf("%s: %s of %s is %s", name, row.Figure, row.Variant, row.Verdict)
			}
		}
		bound := test.want == ClientBound
		if (len(c.Failed) > 0) == bound || (len(c.Unjudged) > 0) != bound {
			t.Errorf("%s: failed %q, unjudged %q", name, c.Failed, c.Unjudged)
		}
		if bound && !strings.Contains(c.Unjudged[0], "the swarm sent late in ") {
			t.Errorf("%s: %q", name, c.Unjudged)
		}
	}
}

// What the hosts' noise may have changed is not called a difference, however often the
// rounds repeat it; what goes beyond it is.
func TestNoiseHasAMargin(t *testing.T) {
	slower := func(factor, foreign float64, spin ...float64) func(*record.Trial) {
		return func(trial *record.Trial) {
			*trial.CPU["echo_us"] *= factor
			trial.Quality = record.Quality{ForeignShare: &foreign, SpinRatio: new(1.0), SpinSeconds: spin}
		}
	}
	for name, test := range map[string]struct {
		old, new func(*record.Trial)
		want     Verdict
	}{
		"quiet":           {slower(1, 0), slower(1.1, 0), Worse},
		"neighbours":      {slower(1, 0), slower(1.1, 0.14), Same},
		"before":          {slower(1, 0.14), slower(1.1, 0), Same},
		"beyond":          {slower(1, 0), slower(1.3, 0.14), Worse},
		"a slower CPU":    {slower(1, 0, 0.010), slower(1.1, 0, 0.012), Same},
		"the same CPU":    {slower(1, 0, 0.010), slower(1.1, 0, 0.010), Worse},
		"better, quiet":   {slower(1, 0), slower(0.9, 0), Better},
		"better, by less": {slower(1, 0), slower(0.9, 0.14), Same},
	} {
		before, after := recordtest.Default, again()
		before.Change, after.Change = test.old, test.new
		c, err := Compare(recordtest.Read(before), recordtest.Read(after), nil)
		must(t, err)
		for _, row := range c.Rows {
			if row.Figure == "cpu.echo_us" && row.Verdict != test.want {
				t.Errorf("%s: %s is %s, margin %v, delta %v", name, row.Variant, row.Verdict, row.Margin, *row.Delta)
			}
		}
	}
}

// A server that is mute on every fifth connection, or loses some, is found, also beside
// neighbours that forbid to judge times.
func TestWhatIsNotAnsweredIsFound(t *testing.T) {
	mute := func(trial *record.Trial) {
		load := loads.Echo.Of(trial)
		load.Delivered = load.Sent * 4 / 5
		load.DeliveredPerSecond *= 0.8
	}
	for name, test := range map[string]struct {
		change func(*record.Trial)
		want   []string
	}{
		"mute":       {mute, []string{"echo.delivered_per_second<-1%", "echo.unanswered_share>0.001"}},
		"mute, loud": {func(t *record.Trial) { mute(t); t.Noisy = true }, []string{"echo.unanswered_share>0.001"}},
		"lost":       {func(t *record.Trial) { loads.Echo.Of(t).Lost = 2 }, []string{"echo.lost>0.5"}},
		"lost once": {func(t *record.Trial) {
			if t.Round == 3 {
				loads.Echo.Of(t).Lost = 1
			}
		}, nil},
	} {
		before, after := recordtest.Default, again()
		before.Rounds, after.Rounds = 4, 4
		after.Change = func(trial *record.Trial) {
			if trial.Variant == "gnet" {
				test.change(trial)
			}
		}
		c, err := Compare(recordtest.Read(before), recordtest.Read(after), Tolerances())
		must(t, err)
		var found []string
		for _, text := range c.Failed {
			condition, rest, _ := strings.Cut(text, ":")
			found = append(found, condition)
			if !strings.Contains(rest, "gnet/tuned") {
				t.Errorf("%s: %s", name, text)
			}
		}
		if !slices.Equal(found, test.want) {
			t.Errorf("%s: %q", name, c.Failed)
		}
	}
}

// A comment says the verdict first, and folds away what did not change, except memory per
// connection.
func TestComment(t *testing.T) {
	worse := again()
	worse.Change = func(trial *record.Trial) {
		if trial.Variant == "goroutine" {
			*trial.CPU["accept_us"] *= 2
		}
	}
	for want, o := range map[string]recordtest.Options{
		"### connbench: no significant regression\n": again(),
		"### connbench: 1 regression\n":              worse,
	} {
		c, err := Compare(recordtest.Read(recordtest.Default), recordtest.Read(o), Tolerances())
		must(t, err)
		var out bytes.Buffer
		must(t, c.WriteComment(&out))
		first, all, folded := strings.Cut(out.String(), "<details>")
		if !strings.HasPrefix(first, want) || !folded || !strings.Contains(first, "| RSS per connection, B/conn ") ||
			strings.Contains(first, "| CPU per accept, µs ") != (len(c.Failed) > 0) || !strings.Contains(all, "| CPU per accept, µs ") {
			t.Errorf("want %s, got\n%s", want, out.String())
		}
	}
}
