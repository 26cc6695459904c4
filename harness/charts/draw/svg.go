package draw

import (
	"bytes"
	"fmt"
	"html"
	"strconv"
	"strings"
)

// Style sheets of the drawings: SVGStyle for a page, which sets the colours, and these
// colours for light and dark surroundings.
const (
	SVGStyle = `.chart text{font-family:system-ui,-apple-system,"Segoe UI","Liberation Sans",Arial,sans-serif}` +
		`.chart .ink{fill:var(--ink)}.chart .quiet{fill:var(--quiet)}.chart .bold{font-weight:600}`
	LightColors = `--ink:#1b1f24;--quiet:#57606a;--faint:#dfe3e8;--paper:#ffffff`
	DarkColors  = `--ink:#e6e9ed;--quiet:#a3acb7;--faint:#333a43;--paper:#14171b`
)

// SVG writes the chart as a file of its own, for light and dark surroundings. Where files are
// shown as images nobody can point at anything, so that it has no texts for that.
func (c Chart) SVG() []byte {
	style := fmt.Sprintf("<style>.chart{%s}@media(prefers-color-scheme:dark){.chart{%s}}%s</style>", LightColors, DarkColors, SVGStyle)
	return c.svg(` xmlns="http://www.w3.org/2000/svg"`, style, false)
}

// Inline writes the chart to stand in a page that has [SVGStyle] and the colours, with texts that
// show when a reader points at something.
func (c Chart) Inline() []byte { return c.svg("", "", true) }

func (c Chart) svg(attributes, style string, hovers bool) []byte {
	s := c.layOut()
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg%s class="chart" viewBox="0 0 %s %s" role="img" aria-label="%s">%s`,
		attributes, short(s.width), short(s.height), html.EscapeString(c.alt()), style)
	fmt.Fprintf(&out, `<rect width="%s" height="%s" fill="var(--paper)"/>`, short(s.width), short(s.height))
	for _, g := range s.groups {
		if g.variant == "" {
			out.WriteString("\n<g>")
		} else {
			fmt.Fprintf(&out, "\n<g data-variant=\"%s\">", html.EscapeString(g.variant))
		}
		for _, shape := range g.shapes {
			if !hovers {
				shape.hover = ""
			}
			shape.svg(&out)
		}
		out.WriteString("</g>")
	}
	out.WriteString("\n</svg>\n")
	return out.Bytes()
}

func (s shape) svg(out *bytes.Buffer) {
	p := s.points[0]
	switch {
	case s.text != "":
		turn := ""
		if !s.upright {
			turn = fmt.Sprintf(` transform="rotate(-90 %s %s)"`, short(p.x), short(p.y))
		}
		class := s.color
		if s.bold {
			class += " bold"
		}
		fmt.Fprintf(out, `<text x="%s" y="%s" class="%s" font-size="%s" text-anchor="%s"%s>%s</text>`,
			short(p.x), short(p.y), class, short(s.size), s.anchor, turn, html.EscapeString(s.text))
	case s.marked:
		paint := fmt.Sprintf(`fill="%s"`, cssColor(s.color))
		if s.hollow {
			paint = fmt.Sprintf(`fill="var(--paper)" stroke="%s" stroke-width="1.4"`, cssColor(s.color))
		}
		if outline := s.mark.outline(p, markSize); outline != nil {
			fmt.Fprintf(out, `<path d="%sZ" %s`, path(outline), paint)
			s.close(out, "path")
		} else {
			fmt.Fprintf(out, `<circle cx="%s" cy="%s" r="%s" %s`, short(p.x), short(p.y), short(markSize), paint)
			s.close(out, "circle")
		}
	case s.area:
		fmt.Fprintf(out, `<path d="%sZ" fill="%s"`, path(s.points), cssColor(s.color))
		if s.opacity < 1 {
			fmt.Fprintf(out, ` fill-opacity="%g"`, s.opacity)
		}
		s.close(out, "path")
	case len(s.points) > 1:
		fmt.Fprintf(out, `<path d="%s" fill="none" stroke="%s" stroke-width="%s"`, path(s.points), cssColor(s.color), short(s.width))
		if s.dashed {
			out.WriteString(` stroke-dasharray="5 3"`)
		}
		s.close(out, "path")
	}
}

// close ends an element, with the text that shows when a reader points at it.
func (s shape) close(out *bytes.Buffer, element string) {
	if s.hover == "" {
		out.WriteString("/>")
		return
	}
	fmt.Fprintf(out, `><title>%s</title></%s>`, html.EscapeString(s.hover), element)
}

func path(points []at) string {
	var out bytes.Buffer
	for i, p := range points {
		letter := byte('L')
		if i == 0 {
			letter = 'M'
		}
		out.WriteByte(letter)
		fmt.Fprintf(&out, "%s %s", short(p.x), short(p.y))
	}
	return out.String()
}

// cssColor is a colour as CSS has it.
func cssColor(name string) string {
	if name[0] == '#' {
		return name
	}
	return "var(--" + name + ")"
}

// short writes a coordinate to a tenth of a pixel.
func short(x float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(x, 'f', 1, 64), ".0")
}

// Swatch is a sample of the style, for a legend in a page.
func (s Style) Swatch() []byte {
	var out bytes.Buffer
	out.WriteString(`<svg viewBox="0 0 26 12" aria-hidden="true">`)
	s.line([]at{{1, 6}, {25, 6}}).svg(&out)
	s.mark(at{13, 6}, "").svg(&out)
	out.WriteString("</svg>")
	return out.Bytes()
}
