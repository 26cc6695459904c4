// Package toytest adds a toy phase, as a new one would be, and finds it in everything
// that is made of a plan or a run.
package toytest

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connbench/clients/control"
	"connbench/harness/charts"
	"connbench/harness/charts/draw"
	"connbench/harness/compare"
	"connbench/harness/figure"
	"connbench/harness/phase"
	"connbench/harness/plan"
	"connbench/harness/progress/terminal"
	"connbench/harness/record"
	"connbench/harness/record/folder"
	"connbench/harness/record/recordtest"
	"connbench/harness/reference"
	"connbench/harness/report"
	"connbench/harness/session/sessiontest"
	"connbench/harness/trial"
)

// toyTable is a plan's [toy].
type toyTable struct {
	// Waves is how often every connection waves; 0 leaves the phase out.
	Waves int `toml:"waves" json:"waves" spoils:"phase"`
	// Seconds is how long they wave.
	Seconds float64 `toml:"seconds" json:"seconds" spoils:"-"`
}

// toyRecord is what became of the waving.
type toyRecord struct {
	// Hands is the number of hands that were seen.
	Hands int64 `json:"hands"`
	// Seconds is how long the connections waved.
	Seconds float64 `json:"seconds"`
}

var (
	toyPlan = plan.NewPart("toy", toyTable{Seconds: 3}, func(t toyTable, _ plan.Plan) []string {
		var list plan.Problems
		list.If(t.Waves < 0, "toy.waves is %d: it must not be negative", t.Waves)
		list.Duration("toy.seconds", t.Seconds)
		return list
	})
	toyFound = record.NewSection[toyRecord]("waving")
)

var _ = phase.Add(phase.Phase{
	Name:  "toy",
	Order: 55,
	About: "Has every connection wave.",
	Table: toyPlan,
	Finds: []record.Object{toyFound},
	Planned: func(p plan.Plan, _ int) (bool, float64) {
		table := toyPlan.Of(p)
		return table.Waves > 0, table.Seconds
	},
	Run: func(ctx context.Context, t *phase.Trial) error {
		table := toyPlan.Of(t.Plan)
		result, piece, err := t.Session.Metered(ctx, "toy", control.Command{Op: "wave", Seconds: table.Seconds}, func(r control.Result) int64 { return r.Delivered })
		if err != nil {
			return err
		}
		t.CPU("wave", piece)
		toyFound.Set(t.Record, &toyRecord{Hands: result.Delivered * int64(table.Waves), Seconds: result.Seconds})
		return nil
	},
})

var toyRate = figure.Add(figure.PlaceLoads+50, figure.Figure{
	Name: "waving.hands_per_second", Title: "hands", Unit: figure.PerSecond("hand"), Kind: figure.Rate, Better: figure.Higher, Phase: "toy",
	Means: "Hands seen per second while the connections wave.",
	Of: func(t *record.Trial) *float64 {
		return figure.From(toyFound.Of(t), func(r *toyRecord) float64 { return float64(r.Hands) / r.Seconds })
	},
	Tables: []figure.Table{figure.TableLoad, figure.TableTrials, figure.TableComparison, figure.TableProgress},
})

var _ = charts.Add(charts.PlaceLoads+50, charts.Entry{
	Name: "hands", Title: "Hands by round", About: "A toy.",
	Draw: func(d *charts.Drawing, c *draw.Chart) {
		for _, v := range d.Variants {
			s := d.Series(v)
			for i, value := range v.Values(toyRate) {
				s.Points = append(s.Points, draw.Point{X: float64(i), Y: value, Text: s.Label + " hands"})
			}
			if len(s.Points) > 0 {
				c.Series = append(c.Series, s)
			}
		}
		c.X, c.Y = draw.LinearAxis("round", []float64{5}), draw.LinearAxis("hands", []float64{2000})
	},
})

// thePlan asks for the toy.
const thePlan = `
title = "Waving"
variants = ["floor"]
rounds = 3
connections = 500

[toy]
waves = 2
`

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wants fails unless a text has all the others in it.
func wants(t *testing.T, what, text string, wanted ...string) {
	t.Helper()
	for _, want := range wanted {
		if !strings.Contains(text, want) {
			t.Errorf("%s lacks %q:\n%s", what, want, text)
		}
	}
}

// measure runs a plan against a scripted server and swarm, which has 100 hands a
// second, and returns the trials and what people saw meanwhile.
func measure(t *testing.T, p plan.Plan) (trials []record.Trial, seen string) {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "progress"))
	must(t, err)
	defer out.Close()
	shown := terminal.New(out)
	shown.Begin(p.Rounds, time.Minute)
	s := sessiontest.New()
	s.OnDo = func(c control.Command, r *control.Result) error {
		if c.Op == "wave" {
			r.Delivered = int64(100 * c.Seconds)
		}
		return nil
	}
	for round := 1; round <= p.Rounds; round++ {
		synctest.Test(t, func(t *testing.T) {
			in := trial.Input{
				Record: record.Trial{Trial: round, Round: round, Variant: "floor", Class: "tuned", Plan: p.Name, Lab: "local", Engine: "socket", ServerProcesses: 1},
				Plan:   p, Target: int(p.Connections), SharedKernel: true,
				Topology: phase.Topology{ServerProcesses: 1, ServerCPUs: 2, KernelEnds: 2},
				Hosts:    s, Open: s.Open, Progress: shown, Sample: func(record.Sample) {},
			}
			trials = append(trials, trial.Run(t.Context(), in))
		})
		shown.Done(trials[len(trials)-1], false)
	}
	shown.Close()
	text, err := os.ReadFile(out.Name())
	must(t, err)
	return trials, string(text)
}

// write files trials as a run of a plan, and reads it back.
func write(t *testing.T, p plan.Plan, trials []record.Trial) *record.Run {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	manifest, _ := recordtest.Run(recordtest.Default)
	manifest.Plan, manifest.Planned = p, len(trials)
	w, err := folder.Create(dir, manifest)
	must(t, err)
	for _, trial := range trials {
		_, err := w.AppendTrial(trial)
		must(t, err)
	}
	must(t, w.Close())
	run, err := folder.Open(dir)
	must(t, err)
	return run
}

func TestToyPhase(t *testing.T) {
	p, err := plan.Parse("waving.toml", []byte(thePlan))
	must(t, err)
	if got := toyPlan.Of(p); got != (toyTable{Waves: 2, Seconds: 3}) {
		t.Fatalf("the plan's part is %+v", got)
	}
	if _, err := plan.Parse("waving.toml", []byte(strings.Replace(thePlan, "= 2", "= -1", 1))); err == nil || !strings.Contains(err.Error(), "toy.waves is -1") {
		t.Errorf("a wrong key of the phase: %v", err)
	}

	trials, seen := measure(t, p)
	wants(t, "the progress", seen, "  toy, 3 s, 500 connections\n", "hands 200 hand/s")
	run := write(t, p, trials)
	for _, trial := range run.Trials {
		if found := toyFound.Of(&trial); !trial.Valid || found == nil || *found != (toyRecord{Hands: 600, Seconds: 3}) {
			t.Fatalf("valid %v, and the waving is %+v; invalid for %q", trial.Valid, found, trial.Invalid)
		}
		if !slices.ContainsFunc(trial.Phases, func(p record.Phase) bool { return p.Name == "toy" && p.Events == 300 }) {
			t.Errorf("its cost is not among %+v", trial.Phases)
		}
	}

	must(t, report.Write(run))
	for file, wanted := range map[string][]string{
		report.TablesFile:    {"hands, hand/s", "![Hands by round](plots/hands.svg)"},
		report.TablesCSVFile: {",waving.hands_per_second,hand/s,higher,3,200,"},
		report.TrialsCSVFile: {"waving.hands", "waving.seconds"},
		report.BenchFile:     {"waving-hands/s", " 200 waving-hands/s"},
		report.PageFile:      {"hands <span class=\"unit\">hand/s</span>", "<code>waving.hands_per_second</code></dt><dd>Hands seen per second", "Hands by round"},
		filepath.Join(report.PlotsFolder, "hands.svg"): {"Hands by round", `data-variant="floor/tuned"`},
	} {
		text, err := os.ReadFile(filepath.Join(run.Dir, file))
		must(t, err)
		wants(t, file, string(text), wanted...)
	}
}

// Runs that waved differently are not compared by their hands; how long they waved does
// not matter.
func TestToyKeysSpoil(t *testing.T) {
	p, err := plan.Parse("waving.toml", []byte(thePlan))
	must(t, err)
	p.Rounds = 6
	trials, _ := measure(t, p)
	old := write(t, p, trials)
	for name, test := range map[string]struct {
		change   func(*toyTable)
		obstacle string
	}{
		"more waves": {func(t *toyTable) { t.Waves = 3 }, "plan.toy.waves"},
		"longer":     {func(t *toyTable) { t.Seconds = 4 }, ""},
	} {
		changed := p
		toyPlan.Change(&changed, test.change)
		c, err := compare.Compare(old, write(t, changed, trials), nil)
		must(t, err)
		found := false
		for _, row := range c.Rows {
			if row.Figure == toyRate.Name {
				found = true
				if row.Obstacle != test.obstacle || (row.Verdict == compare.Incomparable) != (test.obstacle != "") {
					t.Errorf("%s: %+v", name, row)
				}
			} else if row.Obstacle != "" {
				t.Errorf("%s: %s cannot be compared because of %s", name, row.Figure, row.Obstacle)
			}
		}
		if !found {
			t.Errorf("%s: the hands are not compared", name)
		}
	}
}

func TestToyIsDocumented(t *testing.T) {
	pages, err := reference.Pages()
	must(t, err)
	for file, wanted := range map[string][]string{
		"results/RECORD.md": {
			"| `waving` | [object](#waving), optional | Found by the phase [toy](../harness/phase/README.md#toy). |",
			"### `waving`\n\nWhat became of the waving.\n", "| `hands` | integer | The number of hands that were seen. |",
		},
		"harness/plan/README.md": {
			"### `[toy]`\n\nHas every connection wave.\n",
			"| `waves` | integer | `0` | How often every connection waves; 0 leaves the phase out. | the phase toy |",
			"| `seconds` | number (s) | `3` | How long they wave. | nothing |",
		},
		"harness/phase/README.md": {
			"## `toy`\n\nHas every connection wave. Its part of a plan is [`[toy]`](../plan/README.md#toy). Its part of a record is [`waving`](../../results/RECORD.md#waving).",
			"| `waving.hands_per_second` | hand/s | higher | Hands seen per second while the connections wave. |",
		},
		"results/trial.schema.json": {`"description": "The number of hands that were seen."`},
	} {
		wants(t, file, pages[file], wanted...)
	}
}
