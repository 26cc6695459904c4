package charts

import (
	"fmt"

	"connbench/harness/charts/draw"
	"connbench/harness/figure"
	"connbench/harness/table"
)

// curveOf is the chart of a family's figures against their parameter.
func curveOf(family figure.Family) Entry {
	curve := family.Curve
	return Entry{Name: curve.Name, Title: curve.Title, About: curve.About, place: placeCurves, Draw: func(d *Drawing, c *draw.Chart) {
		figures := family.Members(d.Run.Run)
		var xs, ys []float64
		for _, f := range figures {
			xs = append(xs, f.Parameter)
		}
		var at func(parameter float64) float64
		c.X, at = draw.LogAxisFrom0(curve.X, xs)
		for _, v := range d.Variants {
			s := d.Series(v)
			for _, f := range figures {
				summary := v.Summary(f)
				if summary.N() == 0 || summary.Low <= 0 {
					continue
				}
				x := at(f.Parameter)
				s.Points = append(s.Points, draw.Point{X: x, Y: summary.Median, Text: fmt.Sprintf("%s: %s %s (%s to %s)", s.Label,
					table.Number(summary.Median), fmt.Sprintf(curve.Point, f.Parameter), table.Number(summary.Low), table.Number(summary.High))})
				s.Band = append(s.Band, draw.Interval{X: x, Low: summary.Low, High: summary.High})
				ys = append(ys, summary.Low, summary.High)
			}
			s.Line = s.Points
			if len(s.Points) > 0 {
				c.Series = append(c.Series, s)
			}
		}
		c.Y = draw.LogAxis(curve.Y, ys)
	}}
}
