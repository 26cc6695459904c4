package figure_test

import (
	"strings"
	"testing"

	"connbench/harness/figure"
	"connbench/harness/record"
	"connbench/harness/stats"
)

// fitted are trials of one variant whose RSS per connection has these slopes, each with
// half the width of its interval.
func fitted(slopes ...[2]float64) figure.Variant {
	v := figure.Variant{Name: "toy"}
	for _, s := range slopes {
		trial := &record.Trial{Fits: map[string]record.Fit{"rss_bytes": {Slope: s[0], Low: s[0] - s[1], High: s[0] + s[1]}}}
		trial.PerConnection.RSSBytes = &s[0]
		v.Valid = append(v.Valid, trial)
	}
	return v
}

// A slope that its own interval forbids, or that its rounds contradict, is not printed.
func TestSlopesThatAreNone(t *testing.T) {
	const zero, wide, falling = "not significantly different from 0", "wider than the value", "fell while"
	for name, test := range map[string]struct {
		slopes [][2]float64
		doubt  string // "": it is believed
	}{
		"a slope":               {[][2]float64{{9000, 700}, {8800, 500}, {9100, 600}}, ""},
		"small and sharp":       {[][2]float64{{48, 0.1}, {48, 0.1}, {48, 0.1}}, ""},
		"nothing grew":          {[][2]float64{{0, 0}, {-0.01, 0.02}, {0, 0}}, ""},
		"next to nothing":       {[][2]float64{{0.3, 0.5}}, zero},
		"negative":              {[][2]float64{{-20_000, 300}}, falling},
		"rounds around 0":       {[][2]float64{{28_579, 900}, {-144_831, 900}, {142_805, 900}}, zero},
		"rounds far apart":      {[][2]float64{{100, 5}, {900, 5}, {300, 5}}, wide},
		"most are none":         {[][2]float64{{5, 2.8}, {5, 2.8}, {4, 1}}, wide},
		"one of three is none":  {[][2]float64{{150, 160}, {151, 4}, {149, 4}}, ""},
		"capacity of -90 GiB":   {[][2]float64{{-96_000, 200_000}}, zero},
		"one round, far from 0": {[][2]float64{{231, 25}}, ""},
	} {
		v := fitted(test.slopes...)
		doubt, n := v.Doubt(figure.RSS), v.Summary(figure.RSS).N()
		if (doubt == "") != (test.doubt == "") || !strings.Contains(doubt, test.doubt) {
			t.Errorf("%s: doubt %q, want %q", name, doubt, test.doubt)
		}
		if want := len(test.slopes); n != 0 && test.doubt != "" || n != want && test.doubt == "" {
			t.Errorf("%s: %d of %d rounds are used", name, n, want)
		}
		if all := v.Taken(figure.RSS).N(); all != len(test.slopes) {
			t.Errorf("%s: %d rounds were taken", name, all)
		}
	}
}

// One huge page that comes in the middle of a ramp of 2,000 connections makes a slope of
// 1,573 bytes, where each takes 74.
func TestAPageIsNoSlope(t *testing.T) {
	var points []stats.Point
	for i := range 8 {
		n := float64(i+1) * 250
		y := 74 * n
		if i >= 4 {
			y += 2 << 20
		}
		points = append(points, stats.Point{X: n, Y: y})
	}
	fit, ok := stats.Line(points)
	if !ok || fit.Slope < 1500 || fit.Low <= 0 {
		t.Fatalf("the fit is %+v: the test needs one that looks significant", fit)
	}
	v := fitted([2]float64{fit.Slope, (fit.High - fit.Low) / 2})
	if doubt := v.Doubt(figure.RSS); !strings.Contains(doubt, "wider than the value") {
		t.Errorf("%g bytes per connection are believed: %q", fit.Slope, doubt)
	}
	if value, doubt := figure.RSS.Value(v.Valid[0]); value != nil || doubt == "" {
		t.Errorf("the trial alone: %v, %q", value, doubt)
	}
}
