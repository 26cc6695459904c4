package charts

import (
	"fmt"
	"math"

	"connbench/harness/charts/draw"
	"connbench/harness/figure"
	"connbench/harness/record"
	"connbench/harness/stats"
	"connbench/harness/table"
)

const mib = 1 << 20

// pointsOf is the chart of a slope's memory against connections: all points of all
// rounds, the median line, and the interval of its slope.
func pointsOf(f figure.Figure) Entry {
	return Entry{
		Name: f.Slope.Chart.Name, Title: f.Slope.Chart.Title, place: placePoints,
		About: "Each mark is a pause of the ramp in one round; the line is the median fit, its band the interval of the median slope. Marks of variants stand side by side.",
		Draw: func(d *Drawing, c *draw.Chart) {
			c.Dodge = true
			var xs, ys []float64
			for _, v := range d.Variants {
				s := d.points(f, v)
				if len(s.Points) == 0 {
					continue
				}
				for _, p := range s.Points {
					xs, ys = append(xs, p.X), append(ys, p.Y)
				}
				c.Series = append(c.Series, s)
			}
			c.X, c.Y = draw.LinearAxis("connections", xs), draw.LinearAxis("MiB", ys)
		},
	}
}

// points are a variant's points and its line.
func (d *Drawing) points(f figure.Figure, v figure.Variant) draw.Series {
	s := d.Series(v)
	var intercepts []float64
	widest := 0.0
	for _, trial := range v.Valid {
		steps := trial.Steps
		if f.Slope.Settled {
			steps = trial.SettledSteps
		}
		base := base(f, steps)
		for _, step := range steps {
			bytes := f.Slope.Of(step)
			if bytes == nil || f.Slope.Chart.Above && step.Connections == 0 {
				continue
			}
			x, y := float64(step.Connections), (float64(*bytes)-base)/mib
			s.Points = append(s.Points, draw.Point{X: x, Y: y, Text: fmt.Sprintf("%s: %s MiB at %s connections (round %d)",
				s.Label, table.Number(y), table.Count(step.Connections), trial.Round)})
			widest = math.Max(widest, x)
		}
		if fit, ok := trial.Fits[f.Slope.Key]; ok {
			intercepts = append(intercepts, (fit.Intercept-base)/mib)
		}
	}
	if slope := v.Summary(f); slope.N() > 0 && len(intercepts) > 0 {
		at0 := stats.Summarize(intercepts).Median
		s.Line = []draw.Point{{X: 0, Y: at0}, {X: widest, Y: at0 + slope.Median*widest/mib}}
		s.Band = []draw.Interval{
			{X: 0, Low: at0, High: at0},
			{X: widest, Low: at0 + slope.Low*widest/mib, High: at0 + slope.High*widest/mib},
		}
	}
	s.Points = thin(s.Points)
	return s
}

// base is what is taken off a chart's points: what was there with the empty server, in
// bytes, or 0.
func base(f figure.Figure, steps []record.Step) float64 {
	if !f.Slope.Chart.Above || len(steps) == 0 || f.Slope.Of(steps[0]) == nil {
		return 0
	}
	return float64(*f.Slope.Of(steps[0]))
}

// most is the largest number of points that a series is drawn with.
const most = 1000

func thin(points []draw.Point) []draw.Point {
	stride := (len(points) + most - 1) / most
	if stride < 2 {
		return points
	}
	var some []draw.Point
	for i := 0; i < len(points); i += stride {
		some = append(some, points[i])
	}
	return some
}
