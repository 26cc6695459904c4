// Package charts decides what is drawn of a run. Every chart is an [Entry], which puts
// figures and samples into a [draw.Chart].
package charts

import (
	"cmp"
	"fmt"
	"slices"

	"connbench/harness/charts/draw"
	"connbench/harness/figure"
	"connbench/harness/overview"
	"connbench/harness/record"
)

// Entry is one chart of the list.
type Entry struct {
	// Name is its file name without ending.
	Name string
	// Title says what is shown, About how to read it.
	Title, About string
	// Draw fills in the rest. A chart without series and bars is left out.
	Draw func(*Drawing, *draw.Chart)

	place int
}

var entries []Entry

// The places of the charts that are drawn of every run. Phases put theirs between them.
const (
	placePoints = 100
	placeCost   = 200
	placeRamp   = 300
	PlaceLoads  = 400
	placeCurves = 600
	placePhases = 700
)

// Add enters a chart into the list of all, which is in the order of place. Call it from
// a package's variables or init. It panics if the entry is incomplete or its name is
// taken.
func Add(place int, e Entry) bool {
	if e.Name == "" || e.Title == "" || e.About == "" || e.Draw == nil {
		panic(fmt.Sprintf("chart %q: Name, Title, About and Draw must be given", e.Name))
	}
	if slices.ContainsFunc(entries, func(other Entry) bool { return other.Name == e.Name }) {
		panic(fmt.Sprintf("chart %q is in the list already", e.Name))
	}
	e.place = place
	entries = append(entries, e)
	return true
}

// Drawing is what a chart is drawn from: a run's variants with valid trials, and the
// samples of one trial of each.
type Drawing struct {
	overview.Run
	Timelines []Timeline

	styles map[string]draw.Style
}

// Series begins the series of a variant.
func (d *Drawing) Series(v figure.Variant) draw.Series {
	return draw.Series{Variant: v.String(), Label: d.Label(v), Style: d.styles[v.String()]}
}

// Of draws the charts that a run has the data for: those of the list, and those that
// figures and families of figures ask for. The error is of its samples' file.
func Of(run *record.Run) ([]draw.Chart, error) {
	d := Drawing{Run: overview.Gather(run)}
	d.Variants = slices.DeleteFunc(d.Variants, func(v figure.Variant) bool { return len(v.Valid) == 0 })
	d.Label = figure.Labels(d.Variants)
	var names []string
	for _, v := range d.Variants {
		names = append(names, v.String())
	}
	d.styles = draw.Styles(names)
	var err error
	if d.Timelines, err = timelines(run, d.Variants); err != nil {
		return nil, err
	}
	var charts []draw.Chart
	for _, e := range all() {
		c := draw.Chart{Name: e.Name, Title: e.Title, About: e.About}
		e.Draw(&d, &c)
		if len(c.Series) > 0 || len(c.Bars) > 0 {
			charts = append(charts, c)
		}
	}
	return charts, nil
}

func all() []Entry {
	list := slices.Clone(entries)
	for _, f := range figure.All() {
		if f.Slope != nil && f.Slope.Chart != nil {
			list = append(list, pointsOf(f))
		}
	}
	for _, family := range figure.Families() {
		if family.Curve != nil {
			list = append(list, curveOf(family))
		}
	}
	slices.SortStableFunc(list, func(a, b Entry) int { return cmp.Compare(a.place, b.place) })
	return list
}
