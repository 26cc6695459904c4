package pacing

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"connbench/clients/control"
)

// At and Count are inverse to each other.
func TestConstant(t *testing.T) {
	for _, rate := range []float64{0.1, 1, 99.5, 5000, 1e6, 3e9} {
		p := NewConstant(rate)
		for _, n := range []float64{0, 0.25, 1, 17.5, 1e6} {
			at := p.At(n)
			if want := n / rate * 1e9; math.Abs(at-want) > want*1e-12 {
				t.Errorf("%g/s: event %g is due at %g, want %g", rate, n, at, want)
			}
			if got := p.Count(at); math.Abs(got-n) > n*1e-12 {
				t.Errorf("%g/s: %g events are due in %g ns, want %g", rate, got, at, n)
			}
		}
	}
	all := NewConstant(0)
	if all.At(1e9) != 0 || !math.IsInf(all.Count(0), 1) {
		t.Errorf("without a rate, event 1e9 is due at %g, and %g at once", all.At(1e9), all.Count(0))
	}
}

func TestOf(t *testing.T) {
	for _, c := range []struct {
		pacing *control.Pacing
		want   string // of the error
	}{
		{nil, ""},
		{&control.Pacing{Name: "constant"}, ""},
		{&control.Pacing{Name: "constant", Options: json.RawMessage("{}")}, ""},
		{&control.Pacing{Name: "constant", Options: json.RawMessage(`{"period":1}`)}, `options {"period":1}: json: unknown field "period"`},
		{&control.Pacing{Name: "random"}, `unknown pacing "random"; there are: constant`},
	} {
		p, err := Of(control.Command{RatePerSecond: 10, Pacing: c.pacing})
		switch {
		case c.want == "" && (err != nil || p.At(1) != 1e8):
			t.Errorf("%+v: %v, %v", c.pacing, p, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%+v: %v, want %s", c.pacing, err, c.want)
		}
	}
}
