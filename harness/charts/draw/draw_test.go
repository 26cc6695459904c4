package draw_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"image/png"
	"io"
	"strings"
	"testing"

	"connbench/harness/charts"
	"connbench/harness/charts/draw"
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

// drawn are the charts of a small run with enough of everything for one of each kind,
// by name.
func drawn(t *testing.T, change func(*record.Trial)) map[string]draw.Chart {
	t.Helper()
	o := recordtest.Default
	o.Rounds, o.Change = 3, change
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

func TestNothingIsDrawnOutside(t *testing.T) {
	for name, chart := range drawn(t, nil) {
		for _, problem := range draw.Outside(chart) {
			t.Errorf("%s: %s", name, problem)
		}
	}
}

func TestSVGIsXMLAndNothingInItRuns(t *testing.T) {
	const hostile = `</text><script>alert(1)</script>"'&`
	all := drawn(t, func(trial *record.Trial) { trial.KernelCaches[hostile] = 9000 })
	for name, chart := range all {
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
	if text := string(all["cost"].SVG()); !strings.Contains(text, "&lt;script&gt;") {
		t.Error("the hostile name is not shown")
	}
}

func TestPNG(t *testing.T) {
	all := drawn(t, nil)
	for _, name := range []string{"rss", "cost"} {
		text, err := all[name].PNG()
		must(t, err)
		picture, err := png.Decode(bytes.NewReader(text))
		must(t, err)
		if width := picture.Bounds().Dx(); width != 2*draw.SceneWidth {
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

func TestAVariantLooksTheSameInEveryRun(t *testing.T) {
	few := draw.Styles([]string{"gnet/tuned", "nbio/tuned"})
	many := draw.Styles([]string{"echo-rust/tuned", "floor/tuned", "gnet/default", "gnet/tuned", "nbio/tuned", "other/tuned"})
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
