package charts

import (
	"math"
	"slices"
	"strings"

	"connbench/harness/charts/draw"
	"connbench/harness/figure"
	"connbench/harness/plain"
	"connbench/harness/stats"
)

var _ = Add(placeCost, Entry{
	Name: "cost", Title: "Where the bytes of a connection lie",
	About: "Medians over the rounds, one bar a variant: the server's own memory in blues, the kernel's in browns.",
	Draw: func(d *Drawing, c *draw.Chart) {
		var parts []part
		figures := figure.Of(d.Run.Run)
		roots := 0
		for _, f := range figures {
			if f.Remainder == "" || f.PartOf != "" {
				continue
			}
			of := d.partsOf(f, figures)
			colors := draw.PartColors[roots%len(draw.PartColors)]
			for i, p := range of {
				c.Parts = append(c.Parts, draw.Part{Title: plain.Line(p.title), Color: colors[i%len(colors)]})
			}
			parts, roots = append(parts, of...), roots+1
		}
		var tops []float64
		for i, v := range d.Variants {
			var values []float64
			top := 0.0
			for _, p := range parts {
				values = append(values, p.values[i])
				top += p.values[i]
			}
			if top > 0 {
				tops = append(tops, top)
				c.Bars = append(c.Bars, draw.Bar{Variant: v.String(), Label: d.Label(v), Values: values})
			}
		}
		c.Y = draw.LinearAxis("bytes per connection", tops)
	},
})

// part is one part of all bars, with its value for each variant.
type part struct {
	title  string
	values []float64
}

// partsOf divides a figure into its parts, and those again, and what is left.
func (d *Drawing) partsOf(f figure.Figure, figures []figure.Figure) []part {
	values := d.medians(f)
	var parts []part
	for _, other := range figures {
		if other.PartOf == f.Name {
			parts = append(parts, d.partsOf(other, figures)...)
		}
	}
	if f.Name == figure.Kernel.Name {
		parts = append(parts, d.kernelParts()...)
	}
	if len(parts) == 0 {
		return []part{{f.Title, values}}
	}
	rest := part{title: f.Remainder, values: values}
	for _, p := range parts {
		for i := range rest.values {
			rest.values[i] -= p.values[i]
		}
	}
	for i := range rest.values {
		rest.values[i] = math.Max(0, rest.values[i])
	}
	return append(parts, rest)
}

// medians are a figure's medians by variant, 0 where it was not taken or is below 0.
func (d *Drawing) medians(f figure.Figure) []float64 {
	values := make([]float64, len(d.Variants))
	for i, v := range d.Variants {
		if s := v.Summary(f); s.N() > 0 {
			values[i] = math.Max(0, s.Median)
		}
	}
	return values
}

// kernelKinds is the largest number of kinds of kernel memory that are shown by name.
const kernelKinds = 5

// kernelParts are the largest kinds of kernel memory.
func (d *Drawing) kernelParts() []part {
	byKind := map[string]part{}
	for i, v := range d.Variants {
		slopes := map[string][]float64{}
		for _, trial := range v.Valid {
			for kind, slope := range trial.KernelCaches {
				slopes[kind] = append(slopes[kind], slope)
			}
		}
		for kind, values := range slopes {
			if _, known := byKind[kind]; !known {
				byKind[kind] = part{kind, make([]float64, len(d.Variants))}
			}
			byKind[kind].values[i] = math.Max(0, stats.Summarize(values).Median)
		}
	}
	var parts []part
	for _, p := range byKind {
		parts = append(parts, p)
	}
	slices.SortFunc(parts, func(a, b part) int {
		if largest := slices.Max(b.values) - slices.Max(a.values); largest != 0 {
			return int(math.Copysign(1, largest))
		}
		return strings.Compare(a.title, b.title)
	})
	return parts[:min(kernelKinds, len(parts))]
}
