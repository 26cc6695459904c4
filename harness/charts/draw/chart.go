// Package draw puts a [Chart], which says what is to be seen, onto axes and draws it: as SVG
// for files and for the page, and as PNG. It looks alike in all forms.
package draw

import (
	"math"
	"strconv"

	"connbench/harness/table"
)

// Chart is one drawing: series over two axes, or stacked bars.
type Chart struct {
	// Name is its file name without ending.
	Name string
	// Title says what is shown, About how to read it.
	Title, About string
	X, Y         Axis
	Series       []Series
	// Dodge sets the marks of several variants at the same X side by side.
	Dodge bool
	// Bars, one for each variant, replace X where there are any.
	Bars []Bar
	// Parts are the kinds of stacked parts, by which bars are coloured.
	Parts []Part
}

// Scale is how values become positions on an axis.
type Scale int

// The scales.
const (
	Linear Scale = iota
	Log
	// Percentile spreads the tail as HdrHistogram plots do: each nine takes the
	// same room. Values are shares from 0 up to, not including, 1.
	Percentile
)

// Axis is one axis.
type Axis struct {
	Label    string
	Scale    Scale
	Min, Max float64
	Ticks    []Tick
}

// Tick is a labelled position on an axis.
type Tick struct {
	Value float64
	Label string
	// Quiet ticks have a label and no line.
	Quiet bool
}

// Series is one variant's share of a chart.
type Series struct {
	// Variant is its name/class, Label how the chart calls it.
	Variant, Label string
	Style          Style
	// Points are marked; each says in words what it is.
	Points []Point
	// Line is drawn through its points.
	Line []Point
	// Band is the interval of the line.
	Band []Interval
}

// Point is a point in values of the axes.
type Point struct {
	X, Y float64
	Text string
}

// Interval is a range of Y at X.
type Interval struct{ X, Low, High float64 }

// Bar is one stack, in the order of the chart's parts.
type Bar struct {
	Variant, Label string
	Values         []float64
}

// Part is one kind of part of all bars.
type Part struct {
	Title string
	Color string
}

// position maps a value to 0 (the axis' beginning) to 1 (its end).
func (a Axis) position(value float64) float64 {
	low, high := a.warp(a.Min), a.warp(a.Max)
	if high == low {
		return 0
	}
	return math.Min(1, math.Max(0, (a.warp(value)-low)/(high-low)))
}

func (a Axis) warp(value float64) float64 {
	switch a.Scale {
	case Log:
		return math.Log10(math.Max(value, math.SmallestNonzeroFloat64))
	case Percentile:
		return -math.Log10(1 - math.Min(value, 1-1e-12))
	}
	return value
}

// LinearAxis makes an axis from 0 (or below, where values are) to a round number.
func LinearAxis(label string, values []float64) Axis {
	a := Axis{Label: label}
	for _, v := range values {
		a.Min, a.Max = math.Min(a.Min, v), math.Max(a.Max, v)
	}
	if a.Max == a.Min {
		a.Max = a.Min + 1
	}
	step := roundStep((a.Max - a.Min) / 5)
	a.Max = math.Ceil(a.Max/step-1e-9) * step
	a.Min = math.Floor(a.Min/step+1e-9) * step
	for i := 0; ; i++ {
		value := a.Min + float64(i)*step
		if value > a.Max+step/2 {
			return a
		}
		a.Ticks = append(a.Ticks, Tick{Value: value, Label: tickLabel(value, step)})
	}
}

// roundStep is the next larger of 1, 2 and 5 times a power of ten.
func roundStep(x float64) float64 {
	power := math.Pow10(int(math.Floor(math.Log10(x))))
	for _, factor := range []float64{1, 2, 5} {
		if factor*power >= x*0.999 {
			return factor * power
		}
	}
	return 10 * power
}

// tickLabel writes a tick's value with as many digits as its step needs.
func tickLabel(value, step float64) string {
	if step >= 1 && math.Abs(value) < 1e15 {
		return table.Count(int(math.Round(value)))
	}
	digits := max(0, -int(math.Floor(math.Log10(step))))
	return strconv.FormatFloat(value, 'f', min(digits, 9), 64)
}

// positives returns the smallest and the largest positive value, or low and high if none
// is positive.
func positives(values []float64, low, high float64) (least, most float64) {
	least, most = math.Inf(1), 0
	for _, v := range values {
		if v > 0 {
			least, most = math.Min(least, v), math.Max(most, v)
		}
	}
	if most == 0 {
		return low, high
	}
	return least, most
}

// LogAxis makes an axis over whole decades of the positive values.
func LogAxis(label string, values []float64) Axis {
	least, most := positives(values, 1, 10)
	low, high := math.Floor(math.Log10(least)), math.Ceil(math.Log10(most))
	if low == high {
		high++
	}
	a := Axis{Label: label, Scale: Log, Min: math.Pow10(int(low)), Max: math.Pow10(int(high))}
	// The first and the last decade are cut to 2 and 5 where that holds all.
	for _, f := range []float64{2, 5} {
		if a.Min*f <= least {
			a.Min *= f
			break
		}
	}
	for _, f := range []float64{5, 2} {
		if top := math.Pow10(int(high)) / 10 * f; top >= most {
			a.Max = top
		}
	}
	for decade := low; decade <= high; decade++ {
		for _, f := range []float64{1, 2, 5} {
			value := math.Pow10(int(decade)) * f
			if value < a.Min*0.999 || value > a.Max*1.001 || f != 1 && high-low > 4 {
				continue
			}
			a.Ticks = append(a.Ticks, Tick{Value: value, Label: tickLabel(value, math.Min(value, 1))})
		}
	}
	return a
}

// LogAxisFrom0 makes a logarithmic axis with a tick for each of the values. It puts 0 a
// decade below the smallest of the others. at maps a value to its place on the axis.
func LogAxisFrom0(label string, values []float64) (a Axis, at func(float64) float64) {
	least, most := positives(values, 10, 10)
	at = func(v float64) float64 { return math.Max(v, least/10) }
	a = Axis{Label: label, Scale: Log, Min: least, Max: most}
	for _, v := range values {
		a.Min = math.Min(a.Min, at(v))
		a.Ticks = append(a.Ticks, Tick{Value: at(v), Label: tickLabel(v, math.Max(1, math.Min(v, 1)))})
	}
	return a, at
}

// PercentileAxis makes an axis of shares from the lowest up to highest.
func PercentileAxis(label string, highest float64) Axis {
	a := Axis{Label: label, Scale: Percentile, Max: highest}
	for _, tick := range []Tick{{0, "0%", false}, {0.5, "50%", false}, {0.9, "90%", false}, {0.99, "99%", false}, {0.999, "99.9%", false}, {0.9999, "99.99%", false}, {0.99999, "99.999%", false}} {
		if tick.Value <= highest {
			a.Ticks = append(a.Ticks, tick)
		}
	}
	return a
}
