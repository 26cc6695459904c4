package charts_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"connbench/harness/charts"
	"connbench/harness/phase"
	"connbench/harness/record"
	"connbench/harness/record/recordtest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func drawn(t *testing.T, o recordtest.Options) map[string]charts.Chart {
	t.Helper()
	run, err := record.Open(recordtest.Write(t, o))
	must(t, err)
	list, err := charts.Of(run)
	must(t, err)
	byName := map[string]charts.Chart{}
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
	o.Change = func(trial *record.Trial) { *phase.Echo.Of(trial).OfferedPerSecond = float64(1000 * trial.Round) }
	if chart := drawn(t, o)["offered"]; len(chart.Series) != 5 || len(chart.Series[0].Points) != 3 {
		t.Errorf("%+v", chart)
	}
}

func TestLatencyAgainstLoadIsTheMedianOfTheRounds(t *testing.T) {
	o := small() // three rounds
	o.Change = func(trial *record.Trial) {
		phase.Echo.Set(trial, nil)
		sweep := &phase.SweepRecord{P99LimitUS: 1e5}
		phase.Sweep.Set(trial, sweep)
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

// No work stands at the left end of the curve; its axes are logarithmic.
func TestComplexityDeclines(t *testing.T) {
	o := small()
	o.Change = recordtest.Complexity
	chart := drawn(t, o)["complexity"]
	if len(chart.Series) != 5 || len(chart.X.Ticks) != 3 || chart.X.Ticks[0].Label != "0" || charts.Position(chart.X, chart.X.Ticks[0].Value) != 0 {
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
	w, err := record.Create(dir, manifest)
	must(t, err)
	for _, trial := range trials {
		for i := range 400 {
			must(t, w.AppendSample(record.Sample{Trial: trial.Trial, Phase: "ramp", Seconds: float64(i) / 2, Open: i / 2 * 1000}))
		}
		_, err := w.AppendTrial(trial)
		must(t, err)
	}
	must(t, w.Close())
	run, err := record.Open(dir)
	must(t, err)
	list, err := charts.Of(run)
	must(t, err)
	at := slices.IndexFunc(list, func(c charts.Chart) bool { return c.Name == "connect-rate" })
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

func TestNothingIsDrawnOutside(t *testing.T) {
	for name, chart := range drawn(t, small()) {
		for _, problem := range charts.Outside(chart) {
			t.Errorf("%s: %s", name, problem)
		}
	}
}

func TestSVGIsXMLAndNothingInItRuns(t *testing.T) {
	const hostile = `</text><script>alert(1)</script>"'&`
	o := small()
	o.Change = func(trial *record.Trial) {
		trial.KernelCaches[hostile] = 9000
	}
	for name, chart := range drawn(t, o) {
		for kind, text := range map[string][]byte{"file": chart.SVG(), "inline": chart.Inline()} {
			decoder := xml.NewDecoder(bytes.NewReader(text))
			for {
				token, err := decoder.Token()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatalf("%s %s: %v", name, kind, err)
				}
				if start, ok := token.(xml.StartElement); ok && start.Name.Local == "script" {
					t.Errorf("%s %s has a script", name, kind)
				}
			}
			if bytes.Contains(text, []byte("http")) && !bytes.Contains(text, []byte(`xmlns="http://www.w3.org/2000/svg"`)) {
				t.Errorf("%s %s names something in a network", name, kind)
			}
		}
	}
	if text := string(drawn(t, o)["cost"].SVG()); !strings.Contains(text, "&lt;script&gt;") {
		t.Error("the hostile name is not shown")
	}
}

func TestPNG(t *testing.T) {
	all := drawn(t, small())
	for _, name := range []string{"rss", "cost"} {
		text, err := all[name].PNG()
		must(t, err)
		picture, err := png.Decode(bytes.NewReader(text))
		must(t, err)
		if width := picture.Bounds().Dx(); width != 2*charts.SceneWidth {
			t.Errorf("%s is %d pixels wide", name, width)
		}
		colors := map[[3]uint32]bool{}
		for y := range picture.Bounds().Dy() {
			for x := range picture.Bounds().Dx() {
				r, g, b, _ := picture.At(x, y).RGBA()
				colors[[3]uint32{r >> 8, g >> 8, b >> 8}] = true
			}
		}
		if black := [3]uint32{0x1b, 0x1f, 0x24}; !colors[black] {
			t.Errorf("%s has no text", name)
		}
		if orange := [3]uint32{0xD5, 0x5E, 0x00}; name == "rss" && !colors[orange] {
			t.Errorf("%s does not have the goroutine's colour", name)
		}
	}
}

func TestBrokenHistogramsAreLeftOut(t *testing.T) {
	for _, broken := range []string{"", "nonsense", "HISTFAAAAA==", strings.Repeat("A", 400)} {
		o := small()
		o.Rounds = 1
		o.Change = func(trial *record.Trial) { phase.Echo.Of(trial).Histogram = broken }
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
	run, err := record.Open(dir)
	must(t, err)
	if _, err := charts.Of(run); err == nil || !strings.Contains(err.Error(), record.SamplesFile) {
		t.Errorf("error is %v", err)
	}
}

func TestAVariantLooksTheSameInEveryRun(t *testing.T) {
	few := charts.Styles([]string{"gnet/tuned", "nbio/tuned"})
	many := charts.Styles([]string{"echo-rust/tuned", "floor/tuned", "gnet/default", "gnet/tuned", "nbio/tuned", "other/tuned"})
	for _, variant := range []string{"gnet/tuned", "nbio/tuned"} {
		if few[variant] != many[variant] {
			t.Errorf("%s is %+v here and %+v there", variant, few[variant], many[variant])
		}
	}
	if many["gnet/default"].Color != many["gnet/tuned"].Color || !many["gnet/default"].Hollow || many["gnet/tuned"].Hollow {
		t.Errorf("classes: %+v and %+v", many["gnet/default"], many["gnet/tuned"])
	}
	if many["echo-rust/tuned"] == many["other/tuned"] {
		t.Error("two unknown variants look the same")
	}
}
