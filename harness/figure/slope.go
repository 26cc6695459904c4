package figure

import (
	"math"

	"connbench/harness/environment"
	"connbench/harness/record"
	"connbench/harness/stats"
)

// Slope is a figure that is the slope of a line through the points of a ramp.
type Slope struct {
	// Settled ramps are those in which the server collects its garbage before each
	// point.
	Settled bool
	// Of is the value at a point, nil where it was not taken.
	Of func(record.Step) *int64
	// In is where the record keeps the slope. Key names its fit.
	In  func(*record.PerConnection) **float64
	Key string
	// Reported is true if the server itself reports the value.
	Reported bool
	// Rare is true where hosts commonly lack it: that is no warning.
	Rare bool
	// Chart, if not nil, shows the points.
	Chart *Points
}

// Points is a chart of memory against connections.
type Points struct {
	// Name is the file's, without its ending.
	Name, Title string
	// Above takes off what was there with the empty server.
	Above bool
}

// Fit fits the line of a trial; false with fewer than three points.
func (s Slope) Fit(t *record.Trial) (record.Fit, bool) {
	if s.Settled {
		return FitSteps(t.SettledSteps, s.Of)
	}
	return FitSteps(t.Steps, s.Of)
}

// FitSteps fits a line to the points of a ramp; false with fewer than three. It leaves out
// the empty server, so that one-off costs of the first connections do not count.
func FitSteps(steps []record.Step, of func(record.Step) *int64) (record.Fit, bool) {
	var points []stats.Point
	for _, s := range steps {
		if y := of(s); y != nil && s.Connections > 0 {
			points = append(points, stats.Point{X: float64(s.Connections), Y: float64(*y)})
		}
	}
	line, ok := stats.Line(points)
	return record.Fit(line), ok
}

// slope gives a figure what all slopes have in common.
func slope(f Figure) Figure {
	f.Kind, f.Better = Memory, Lower
	f.Depends = With(f.Depends, environment.Plan("ramp.payload_bytes"))
	in := f.Slope.In
	f.Of = func(t *record.Trial) *float64 { return *in(&t.PerConnection) }
	return f
}

// exactly is the width of an interval, in bytes per connection, up to which a slope of 0
// is believed: nothing grew.
const exactly = 0.2

// noSlope says why a slope with such an interval is not believed, "" where it is. What a
// few pages round to, such as one jump in the middle of a ramp, has a wide interval.
func noSlope(slope, low, high float64) string {
	switch {
	case high-low <= exactly && math.Abs(slope) <= exactly:
		return ""
	case low <= 0 && high >= 0:
		return "not significantly different from 0"
	case high-low > math.Abs(slope):
		return "its interval is wider than the value"
	case slope < 0:
		return "memory fell while connections were opened"
	}
	return ""
}

// doubt says why the slope of a trial is not believed by itself, "" where it is.
func (s Slope) doubt(t *record.Trial) string {
	fit, fitted := t.Fits[s.Key]
	if !fitted {
		return ""
	}
	return noSlope(fit.Slope, fit.Low, fit.High)
}

// NoSlope says why the median of several rounds' slopes is not believed, "" where it is.
func NoSlope(s stats.Summary) string {
	if s.N() == 0 {
		return ""
	}
	return noSlope(s.Median, s.Low, s.High)
}

// contradicts says why the slopes of several trials are not believed together: most of
// them, or their median, are not believable. It returns "" if they are believed. No single trial is
// left out for its slope: those that are left would be a choice.
func (s Slope) contradicts(trials []*record.Trial, together stats.Summary) string {
	flawed := map[string]int{}
	most, sum := "", 0
	for _, t := range trials {
		if doubt := s.doubt(t); doubt != "" {
			sum++
			if flawed[doubt]++; flawed[doubt] > flawed[most] {
				most = doubt
			}
		}
	}
	if 2*sum > len(trials) {
		return most
	}
	return NoSlope(together)
}
