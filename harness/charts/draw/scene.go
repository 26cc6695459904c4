package draw

import (
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"connbench/harness/figure"
	"connbench/harness/table"
)

// scene is a chart laid out: shapes at positions, in pixels from the upper left corner.
// It leaves no decisions to the code that draws it.
type scene struct {
	width, height float64
	title, about  string
	groups        []group
}

// group are the shapes of one variant, or, without a variant, of all.
type group struct {
	variant string
	shapes  []shape
}

// shape is a line, an area, a mark or a text.
type shape struct {
	points []at
	// area fills what the points enclose; otherwise they are joined by a line.
	area bool
	// mark is drawn at the first point where marked is true.
	marked bool
	mark   Mark
	hollow bool
	// text is at the first point: anchor "start", "middle" or "end".
	text, anchor string
	size         float64
	upright      bool // false turns it a quarter to the left
	bold         bool

	color   string // "#RRGGBB", or the name of a colour of the theme
	width   float64
	dashed  bool
	opacity float64
	// hover says what the shape is.
	hover string
}

type at struct{ x, y float64 }

// Colours of the theme.
const (
	ink   = "ink"   // texts
	quiet = "quiet" // axes and their labels
	faint = "faint" // grid
	paper = "paper" // background
)

const (
	sceneWidth = 720
	plotHeight = 300
	left       = 72
	right      = 28
	textSize   = 12
	lineHeight = 18
	markSize   = 3.2
	dodge      = 4
	barHeight  = 22
	barRoom    = 34
)

// textWidth is an estimate, on the safe side for sans-serif fonts.
func textWidth(text string, size float64) float64 {
	return float64(utf8.RuneCountInString(text)) * size * 0.55
}

// layOut places everything of a chart.
func (c Chart) layOut() scene {
	s := scene{width: sceneWidth, title: c.Title, about: c.About}
	frame := group{}
	frame.add(shape{points: []at{{left, 22}}, text: c.Title, anchor: "start", size: 15, upright: true, bold: true, color: ink})
	y := c.legend(&frame, 44)
	if len(c.Bars) > 0 {
		s.groups = c.bars(&frame, y, &s.height)
	} else {
		s.groups = c.plot(&frame, y, &s.height)
	}
	s.groups = append([]group{frame}, s.groups...)
	return s
}

func (g *group) add(shapes ...shape) { g.shapes = append(g.shapes, shapes...) }

// legend names variants or parts, in as many lines as it takes, and returns where
// the plot may begin.
func (c Chart) legend(frame *group, y float64) float64 {
	x := float64(left)
	place := func(label string, sample func(x, y float64) []shape) {
		const sampleWidth, gap = 26, 16
		if width := sampleWidth + textWidth(label, textSize) + gap; x+width > sceneWidth && x > left {
			x, y = left, y+lineHeight
		}
		frame.add(sample(x, y-4)...)
		frame.add(shape{points: []at{{x + sampleWidth, y}}, text: label, anchor: "start", size: textSize, upright: true, color: ink})
		x += sampleWidth + textWidth(label, textSize) + gap
	}
	for _, series := range c.Series {
		place(series.Label, func(x, y float64) []shape {
			return []shape{
				series.Style.line([]at{{x, y}, {x + 20, y}}),
				series.Style.mark(at{x + 10, y}, ""),
			}
		})
	}
	for _, part := range c.Parts {
		place(part.Title, func(x, y float64) []shape {
			return []shape{{points: rectangle(x+6, y-6, 14, 12), area: true, color: part.Color, opacity: 1}}
		})
	}
	return y + lineHeight
}

func (s Style) line(points []at) shape {
	return shape{points: points, color: s.Color, width: 1.8, dashed: s.Hollow, opacity: 1}
}

func (s Style) mark(p at, hover string) shape {
	return shape{points: []at{p}, marked: true, mark: s.Mark, hollow: s.Hollow, color: s.Color, opacity: 1, hover: hover}
}

func rectangle(x, y, width, height float64) []at {
	return []at{{x, y}, {x + width, y}, {x + width, y + height}, {x, y + height}}
}

// plot lays out axes and series.
func (c Chart) plot(frame *group, top float64, height *float64) []group {
	bottom := top + plotHeight
	*height = bottom + 48
	x := func(v float64) float64 { return left + c.X.position(v)*(sceneWidth-left-right) }
	y := func(v float64) float64 { return bottom - c.Y.position(v)*plotHeight }
	for _, tick := range c.Y.Ticks {
		frame.add(gridLine(at{left, y(tick.Value)}, at{sceneWidth - right, y(tick.Value)}),
			tickText(at{left - 14, y(tick.Value) + 4}, tick.Label, "end"))
	}
	for _, tick := range c.X.Ticks {
		if !tick.Quiet {
			frame.add(gridLine(at{x(tick.Value), top}, at{x(tick.Value), bottom}))
		}
		frame.add(tickText(at{x(tick.Value), bottom + 16}, tick.Label, "middle"))
	}
	frame.add(shape{points: []at{{left, bottom}, {sceneWidth - right, bottom}}, color: quiet, width: 1, opacity: 1})
	frame.add(axisLabel(at{(left + sceneWidth - right) / 2, bottom + 36}, c.X.Label, true),
		axisLabel(at{16, (top + bottom) / 2}, c.Y.Label, false))

	var groups []group
	for i, series := range c.Series {
		g := group{variant: series.Variant}
		aside := 0.0
		if c.Dodge {
			aside = (float64(i) - float64(len(c.Series)-1)/2) * dodge
		}
		if len(series.Band) > 1 {
			band := shape{area: true, color: series.Style.Color, opacity: 0.18}
			for _, b := range series.Band {
				band.points = append(band.points, at{x(b.X), y(b.High)})
			}
			for _, b := range slices.Backward(series.Band) {
				band.points = append(band.points, at{x(b.X), y(b.Low)})
			}
			g.add(band)
		}
		rise := 0.0 // of the line, for marks to stay on it when they are set aside
		if len(series.Line) > 1 {
			var points []at
			for _, p := range series.Line {
				points = append(points, at{x(p.X), y(p.Y)})
			}
			g.add(series.Style.line(points))
			if first, last := points[0], points[len(points)-1]; last.x > first.x {
				rise = (last.y - first.y) / (last.x - first.x)
			}
		}
		for _, p := range series.Points {
			g.add(series.Style.mark(at{x(p.X) + aside, y(p.Y) + aside*rise}, p.Text))
		}
		groups = append(groups, g)
	}
	return groups
}

// bars lays out stacked bars, which lie on their sides so that names have room.
func (c Chart) bars(frame *group, top float64, height *float64) []group {
	room := 0.0
	for _, bar := range c.Bars {
		room = math.Max(room, textWidth(bar.Label, textSize))
	}
	begin := math.Min(math.Max(left, room+16), sceneWidth/2)
	bottom := top + barRoom*float64(len(c.Bars))
	*height = bottom + 48
	const sumRoom = 60 // for the sum, right of the longest bar
	x := func(v float64) float64 { return begin + c.Y.position(v)*(sceneWidth-right-sumRoom-begin) }
	for _, tick := range c.Y.Ticks {
		frame.add(gridLine(at{x(tick.Value), top}, at{x(tick.Value), bottom}), tickText(at{x(tick.Value), bottom + 16}, tick.Label, "middle"))
	}
	frame.add(axisLabel(at{(begin + sceneWidth - right) / 2, bottom + 36}, c.Y.Label, true))
	var groups []group
	for i, bar := range c.Bars {
		g := group{variant: bar.Variant}
		y := top + barRoom*float64(i) + (barRoom-barHeight)/2
		g.add(shape{points: []at{{begin - 8, y + barHeight/2 + 4}}, text: bar.Label, anchor: "end", size: textSize, upright: true, color: ink})
		sum := 0.0
		for part, value := range bar.Values {
			if value <= 0 {
				continue
			}
			g.add(shape{points: rectangle(x(sum), y, x(sum+value)-x(sum), barHeight), area: true, color: c.Parts[part].Color, opacity: 1,
				hover: bar.Label + ": " + c.Parts[part].Title + " " + bytesText(value)})
			sum += value
		}
		g.add(tickText(at{x(sum) + 6, y + barHeight/2 + 4}, bytesText(sum), "start"))
		groups = append(groups, g)
	}
	return groups
}

func bytesText(x float64) string { return table.Value(figure.UnitBytes)(x) + " B" }

func gridLine(from, to at) shape {
	return shape{points: []at{from, to}, color: faint, width: 1, opacity: 1}
}

func tickText(p at, text, anchor string) shape {
	return shape{points: []at{p}, text: text, anchor: anchor, size: textSize - 1, upright: true, color: quiet}
}

func axisLabel(p at, text string, upright bool) shape {
	return shape{points: []at{p}, text: text, anchor: "middle", size: textSize, upright: upright, color: quiet}
}

// outline is the shape of a mark around a point, nil for a circle.
func (m Mark) outline(p at, size float64) []at {
	switch m {
	case Square:
		return rectangle(p.x-size*0.9, p.y-size*0.9, size*1.8, size*1.8)
	case Triangle:
		return []at{{p.x, p.y - size*1.2}, {p.x + size*1.1, p.y + size*0.8}, {p.x - size*1.1, p.y + size*0.8}}
	case Diamond:
		return []at{{p.x, p.y - size*1.3}, {p.x + size*1.3, p.y}, {p.x, p.y + size*1.3}, {p.x - size*1.3, p.y}}
	case Cross:
		a, b := size*0.35, size*1.1
		return []at{{p.x - a, p.y - b}, {p.x + a, p.y - b}, {p.x + a, p.y - a}, {p.x + b, p.y - a}, {p.x + b, p.y + a}, {p.x + a, p.y + a},
			{p.x + a, p.y + b}, {p.x - a, p.y + b}, {p.x - a, p.y + a}, {p.x - b, p.y + a}, {p.x - b, p.y - a}, {p.x - a, p.y - a}}
	}
	return nil
}

// alt describes a chart for readers who do not see it.
func (c Chart) alt() string {
	var names []string
	for _, series := range c.Series {
		names = append(names, series.Label)
	}
	for _, bar := range c.Bars {
		names = append(names, bar.Label)
	}
	return c.Title + ", of " + strings.Join(names, ", ") + ". " + c.About + " The figures stand in the tables."
}
