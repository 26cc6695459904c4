// Package toytest adds a toy figure, table and chart, each by one entry, and finds them
// in everything that is made of a run.
package toytest

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connbench/harness/charts"
	"connbench/harness/charts/draw"
	"connbench/harness/compare"
	"connbench/harness/environment"
	"connbench/harness/explorer"
	"connbench/harness/figure"
	"connbench/harness/overview"
	"connbench/harness/record"
	"connbench/harness/record/folder"
	"connbench/harness/record/recordtest"
	"connbench/harness/report"
)

// toy is how often a letter occurs in the variant's name, and a little of the round: a
// figure that is not believed of gnet, and of nbio's first round.
var toy = figure.Add(figure.PlaceMemory+1, figure.Figure{
	Name: "toy.letters_us", Title: "toy letters", Unit: figure.UnitMicroseconds, Kind: figure.CPU, Better: figure.Lower,
	Means: "A toy.", Phase: "toy",
	Of: func(t *record.Trial) *float64 {
		return new(float64(len(t.Variant)) + float64(t.Round)/1000)
	},
	Believe: func(t *record.Trial) string {
		switch {
		case t.Variant == "gnet":
			return "gnet has no letters"
		case t.Variant == "nbio" && t.Round == 1:
			return "the first letter is lost"
		}
		return ""
	},
	Depends: []environment.Fact{environment.Link}, Tolerance: 0.1,
	Tables: []figure.Table{
		figure.TableCost, figure.TableTrials, figure.TableRepeatability, figure.TableComparison, "toys",
	},
	Says: &figure.Sentence{Before: "The names have ", After: " letters"},
})

var _ = overview.Add(1000, overview.Table{Name: "toys", Title: "Toys: how many letters", Columns: overview.Labels})

var _ = overview.AddNote(toy, func(*record.Run) []string { return []string{"Letters are counted by hand."} })

var _ = charts.Add(1000, charts.Entry{
	Name: "toys", Title: "Letters by round", About: "A toy.",
	Draw: func(d *charts.Drawing, c *draw.Chart) {
		for _, v := range d.Variants {
			s := d.Series(v)
			for i, value := range v.Values(toy) {
				s.Points = append(s.Points, draw.Point{X: float64(i), Y: value, Text: s.Label + " letters"})
			}
			if len(s.Points) > 0 {
				c.Series = append(c.Series, s)
			}
		}
		c.X, c.Y = draw.LinearAxis("round", []float64{5}), draw.LinearAxis("letters", []float64{20})
	},
})

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestToyIsInEveryFormOfAReport(t *testing.T) {
	dir := recordtest.Write(t, recordtest.Default)
	run, err := folder.Open(dir)
	must(t, err)
	must(t, report.Write(run))
	for file, texts := range map[string][]string{
		report.TablesFile: {
			"## Toys: how many letters", "toy letters, µs", "Letters are counted by hand.", "![Letters by round](plots/toys.svg)",
			"The names have 4.00 (nbio) to 12.0 (gobwas-epoll) letters; the floor is 5.00; gnet is left out (gnet has no letters).",
			"toy letters ±", "–¹", "¹ gnet has no letters", "4.00²", "² 1 of 6 rounds left out: the first letter is lost",
		},
		report.TablesCSVFile: {"gnet,tuned,event loops,gnet,toy.letters_us,µs,lower,0,,,,,,,,,gnet has no letters\n"},
		report.BenchFile:     {"Unit toy-letters-ns better=lower\n", " toy-letters-ns"},
		report.PageFile: {
			"Toys: how many letters", "toy letters <span class=\"unit\">µs</span>", "–¹", "<code>toy.letters_us</code></dt><dd>A toy.",
			"title=\"gnet has no letters\">–<", "Letters by round",
		},
		filepath.Join(report.PlotsFolder, "toys.svg"): {"Letters by round", `data-variant="goroutine/tuned"`},
	} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		must(t, err)
		for _, want := range texts {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s does not hold %q", file, want)
				if file == report.TablesFile {
					t.Logf("%s", text)
				}
			}
		}
	}
	if png, err := os.Stat(filepath.Join(dir, report.PlotsFolder, "toys.png")); err != nil || png.Size() == 0 {
		t.Errorf("no picture: %v", err)
	}
	var printed bytes.Buffer
	must(t, report.Print(&printed, run, math.MaxInt))
	if !strings.Contains(printed.String(), "Toys: how many letters") || !strings.Contains(printed.String(), "–¹") {
		t.Errorf("the terminal gets\n%s", printed.String())
	}
}

func TestToyIsDocumented(t *testing.T) {
	if text := overview.Reference(); !strings.Contains(text, "- `toy.letters_us` is *toy letters* (µs, lower is better). A toy. Depends on link.") {
		t.Errorf("the reference is\n%s", text)
	}
}

func TestToyIsInTheExplorer(t *testing.T) {
	text, err := explorer.Page([]*record.Run{recordtest.Read(recordtest.Default)})
	must(t, err)
	for _, want := range []string{`"title":"toy letters"`, "gnet has no letters"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the page lacks %s", want)
		}
	}
}

// What is not believed is a dash with a reason, and is neither ranked nor judged.
func TestWhatIsNotBelievedIsNotRanked(t *testing.T) {
	run := recordtest.Read(recordtest.Default)
	for _, s := range report.Summaries(run) {
		if s.Figure != toy.Name {
			continue
		}
		rounds := map[string]int{"gnet": 0, "nbio": 5}
		if want, is := rounds[s.Variant]; is && (s.Rounds != want || s.Doubt == "") || !is && (s.Rounds != 6 || s.Doubt != "") {
			t.Errorf("%+v", s)
		}
		if s.Variant == "gnet" && (s.Median != nil || s.Low != nil) {
			t.Errorf("%+v", s)
		}
	}
}

func TestToyIsCompared(t *testing.T) {
	o := recordtest.Default
	worse := recordtest.Read(o)
	for i := range worse.Trials {
		worse.Trials[i].Round += 3000 // three letters more
	}
	c, err := compare.Compare(recordtest.Read(o), worse, compare.Tolerances())
	must(t, err)
	verdicts := map[string]compare.Verdict{}
	for _, row := range c.Rows {
		if row.Figure == toy.Name {
			verdicts[row.Variant] = row.Verdict
			if row.Variant == "gnet/tuned" && (row.Delta != nil || row.New.Median != nil || row.Doubt != "gnet has no letters") {
				t.Errorf("%+v", row)
			}
		}
	}
	for variant, want := range map[string]compare.Verdict{
		"gnet/tuned": compare.Doubted, "floor/tuned": compare.Worse, "goroutine/tuned": compare.Worse, "nbio/tuned": compare.Worse,
	} {
		if verdicts[variant] != want {
			t.Errorf("%s is %q, want %q", variant, verdicts[variant], want)
		}
	}
	if failed := strings.Join(c.Failed, "\n"); strings.Contains(failed, "gnet") || !strings.Contains(failed, "toy.letters_us>10%: floor/tuned") {
		t.Errorf("failed: %s", failed)
	}
	if unjudged := strings.Join(c.Unjudged, "\n"); !strings.Contains(unjudged, "toy.letters_us>10% for gnet/tuned: the figure is unreliable (gnet has no letters)") {
		t.Errorf("unjudged: %s", unjudged)
	}
	var text bytes.Buffer
	must(t, c.WriteText(&text, math.MaxInt))
	for _, want := range []string{"toy letters, µs", " gnet has no letters", "not believed"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the comparison lacks %q:\n%s", want, text.String())
		}
	}
	o.ChangeManifest = func(m *record.Manifest) { m.Hosts[0].Link = "eth1" }
	c, err = compare.Compare(recordtest.Read(recordtest.Default), recordtest.Read(o), nil)
	must(t, err)
	for _, row := range c.Rows {
		if row.Figure == toy.Name && row.Variant == "floor/tuned" && row.Obstacle != "link" {
			t.Errorf("over another link: %+v", row)
		}
	}
}
