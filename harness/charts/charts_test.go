package charts_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"connbench/harness/charts"
	"connbench/harness/charts/draw"
	"connbench/harness/phase/loads"
	"connbench/harness/phase/searches"
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

func drawn(t *testing.T, o recordtest.Options) map[string]draw.Chart {
	t.Helper()
	run, err := folder.Open(recordtest.Write(t, o))
	must(t, err)
	list, err := charts.Of(run)
	must(t, err)
	byName := map[string]draw.Chart{}
	for _, chart := range list {
		byName[chart.Name] = chart
	}
	return byName
}

// small has enough of everything for a chart of each kind.
func small() recordtest.Options {
	o := recordtest.Default
	o.Rounds = 3
	return o
}

func TestEveryKindOfChart(t *testing.T) {
	all := drawn(t, small())
	for _, name := range []string{"rss", "kernel", "cost", "latency", "cpu"} {
		chart, drawn := all[name]
		if !drawn {
			t.Errorf("no chart %s", name)
			continue
		}
		if n := len(chart.Series) + len(chart.Bars); n != 5 {
			t.Errorf("%s: %d variants, want 5", name, n)
		}
	}
	if _, drawn := all["offered"]; drawn {
		t.Error("latency against load was drawn from a run with a single load")
	}
	if n := len(all["rss"].Series[0].Points); n != 3*9 {
		t.Errorf("floor's RSS has %d points, want those of 9 steps in 3 rounds", n)
	}
}

func TestLatencyAgainstLoadTakesSeveralLoads(t *testing.T) {
	o := small()
	o.Change = func(trial *record.Trial) { *loads.Echo.Of(trial).OfferedPerSecond = float64(1000 * trial.Round) }
	if chart := drawn(t, o)["offered"]; len(chart.Series) != 5 || len(chart.Series[0].Points) != 3 {
		t.Errorf("%+v", chart)
	}
}

func TestLatencyAgainstLoadIsTheMedianOfTheRounds(t *testing.T) {
	o := small() // three rounds
	o.Change = func(trial *record.Trial) {
		loads.Echo.Set(trial, nil)
		sweep := &searches.SweepRecord{P99LimitUS: 1e5}
		searches.Sweep.Set(trial, sweep)
		for i, rate := range []float64{1000, 20_000} {
			load := record.Load{OfferedPerSecond: new(rate + float64(trial.Round))}
			load.P99US = float64((i + 1) * 100 * trial.Round)
			sweep.Loads = append(sweep.Loads, load)
		}
	}
	chart := drawn(t, o)["offered"]
	if len(chart.Series) != 5 {
		t.Fatalf("%+v", chart)
	}
	for _, s := range chart.Series {
		if len(s.Line) != 2 || s.Points[0].X != 1000 || s.Points[0].Y != 200 || s.Points[1].X != 20_000 || s.Points[1].Y != 400 {
			t.Errorf("%s: %+v", s.Label, s.Points)
		}
	}
}

// No work is at the left end of the curve; its axes are logarithmic.
func TestComplexityDeclines(t *testing.T) {
	o := small()
	o.Change = recordtest.Complexity
	chart := drawn(t, o)["complexity"]
	if len(chart.Series) != 5 || len(chart.X.Ticks) != 3 || chart.X.Ticks[0].Label != "0" || chart.X.Ticks[0].Value != chart.X.Min {
		t.Fatalf("%d series, ticks %+v", len(chart.Series), chart.X.Ticks)
	}
	for _, s := range chart.Series {
		if len(s.Points) != 3 || len(s.Band) != 3 || !(s.Points[0].Y > s.Points[1].Y && s.Points[1].Y > s.Points[2].Y) {
			t.Errorf("%s: %+v", s.Label, s.Points)
		}
	}
}

func TestConnectRateOfALongRamp(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	manifest, trials := recordtest.Run(small())
	w, err := folder.Create(dir, manifest)
	must(t, err)
	for _, trial := range trials {
		for i := range 400 {
			must(t, w.AppendSample(record.Sample{Trial: trial.Trial, Phase: "ramp", Seconds: float64(i) / 2, Open: i / 2 * 1000}))
		}
		_, err := w.AppendTrial(trial)
		must(t, err)
	}
	must(t, w.Close())
	run, err := folder.Open(dir)
	must(t, err)
	list, err := charts.Of(run)
	must(t, err)
	at := slices.IndexFunc(list, func(c draw.Chart) bool { return c.Name == "connect-rate" })
	if at < 0 {
		t.Fatal("not drawn")
	}
	points := list[at].Series[0].Points
	if len(points) < charts.RampPoints/2 || len(points) > charts.RampPoints {
		t.Errorf("%d points over a ramp, want at most %d", len(points), charts.RampPoints)
	}
	for _, p := range points {
		if p.Y != 2000 { // 1,000 in half a second, pauses left out
			t.Errorf("%+v", p)
		}
	}
}

func TestBrokenHistogramsAreLeftOut(t *testing.T) {
	for _, broken := range []string{"", "nonsense", "HISTFAAAAA==", strings.Repeat("A", 400)} {
		o := small()
		o.Rounds = 1
		o.Change = func(trial *record.Trial) { loads.Echo.Of(trial).Histogram = broken }
		if chart, drawn := drawn(t, o)["latency"]; drawn {
			t.Errorf("%.20q: drawn %+v", broken, chart)
		}
	}
}

func TestRunOfWhichNothingCanBeDrawn(t *testing.T) {
	o := small()
	o.Rounds = 1
	o.Change = func(trial *record.Trial) { trial.Valid, trial.Invalid = false, []string{"for the test"} }
	if all := drawn(t, o); len(all) > 0 {
		t.Errorf("%d charts", len(all))
	}
}

func TestSamplesThatCannotBeReadAreAnError(t *testing.T) {
	dir := recordtest.Write(t, small())
	must(t, os.WriteFile(filepath.Join(dir, record.SamplesFile), []byte("this is not a gzip file"), 0o644))
	run, err := folder.Open(dir)
	must(t, err)
	if _, err := charts.Of(run); err == nil || !strings.Contains(err.Error(), record.SamplesFile) {
		t.Errorf("error is %v", err)
	}
}
