package draw

import (
	"math"
	"strings"
	"testing"
)

func TestAxes(t *testing.T) {
	labels := func(a Axis) string {
		var list []string
		for _, tick := range a.Ticks {
			list = append(list, tick.Label)
		}
		return strings.Join(list, " ")
	}
	for _, test := range []struct{ got, want string }{
		{labels(LinearAxis("", []float64{3, 9_800})), "0 2,000 4,000 6,000 8,000 10,000"},
		{labels(LinearAxis("", []float64{0.014})), "0.000 0.005 0.010 0.015"},
		{labels(LinearAxis("", nil)), "0.0 0.2 0.4 0.6 0.8 1.0"},
		{labels(LinearAxis("", []float64{-3, 10})), "-5 0 5 10"},
		{labels(LogAxis("", []float64{40, 1_900})), "20 50 100 200 500 1,000 2,000"},
		{labels(LogAxis("", []float64{0.3, 0})), "0.2 0.5"},
		{labels(PercentileAxis("", 0.9993)), "0% 50% 90% 99% 99.9%"},
	} {
		if test.got != test.want {
			t.Errorf("ticks %s, want %s", test.got, test.want)
		}
	}
	p := PercentileAxis("", 0.999)
	if a, b := p.position(0.9), p.position(0.99); math.Abs(a-1.0/3) > 1e-9 || math.Abs(b-2.0/3) > 1e-9 {
		t.Errorf("nines are at %v and %v", a, b)
	}
}
