package charts

import (
	"bytes"
	"image/color"
	"math"
	"strconv"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/font/liberation"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/vgimg"
)

// theme is the light one: a PNG cannot know its surroundings.
var theme = map[string]string{ink: "#1b1f24", quiet: "#57606a", faint: "#dfe3e8", paper: "#ffffff"}

// pixel is the length of a pixel of a scene, so that a PNG has two each way.
const pixel = vg.Length(0.75)

var fonts = font.NewCache(liberation.Collection())

// PNG writes the chart as a picture of twice the resolution of its SVG, on white.
func (c Chart) PNG() ([]byte, error) {
	s := c.layOut()
	canvas := vgimg.NewWith(
		vgimg.UseWH(vg.Length(s.width)*pixel, vg.Length(s.height)*pixel),
		vgimg.UseDPI(192),
		vgimg.UseBackgroundColor(rgba(paper, 1)),
	)
	r := raster{canvas, s.height}
	for _, g := range s.groups {
		for _, shape := range g.shapes {
			r.draw(shape)
		}
	}
	var out bytes.Buffer
	if _, err := (vgimg.PngCanvas{Canvas: canvas}).WriteTo(&out); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// raster draws shapes on a canvas, whose origin is the lower left corner.
type raster struct {
	canvas *vgimg.Canvas
	height float64
}

func (r raster) place(p at) vg.Point {
	return vg.Point{X: vg.Length(p.x) * pixel, Y: vg.Length(r.height-p.y) * pixel}
}

func (r raster) path(points []at, closed bool) vg.Path {
	var path vg.Path
	for i, p := range points {
		if i == 0 {
			path.Move(r.place(p))
		} else {
			path.Line(r.place(p))
		}
	}
	if closed {
		path.Close()
	}
	return path
}

func (r raster) draw(s shape) {
	r.canvas.SetColor(rgba(s.color, s.opacity))
	switch {
	case s.text != "":
		r.text(s)
	case s.marked:
		r.mark(s)
	case s.area:
		r.canvas.Fill(r.path(s.points, true))
	case len(s.points) > 1:
		r.canvas.SetLineWidth(vg.Length(s.width) * pixel)
		if s.dashed {
			r.canvas.SetLineDash([]vg.Length{5 * pixel, 3 * pixel}, 0)
		} else {
			r.canvas.SetLineDash(nil, 0)
		}
		r.canvas.Stroke(r.path(s.points, false))
	}
}

func (r raster) mark(s shape) {
	var path vg.Path
	if outline := s.mark.outline(s.points[0], markSize); outline != nil {
		path = r.path(outline, true)
	} else {
		center := r.place(s.points[0])
		path.Move(vg.Point{X: center.X + markSize*pixel, Y: center.Y})
		path.Arc(center, markSize*pixel, 0, 2*math.Pi)
		path.Close()
	}
	if !s.hollow {
		r.canvas.Fill(path)
		return
	}
	r.canvas.SetColor(rgba(paper, 1))
	r.canvas.Fill(path)
	r.canvas.SetColor(rgba(s.color, 1))
	r.canvas.SetLineWidth(1.4 * pixel)
	r.canvas.SetLineDash(nil, 0)
	r.canvas.Stroke(path)
}

func (r raster) text(s shape) {
	face := font.Font{Typeface: "Liberation", Variant: "Sans"}
	if s.bold {
		face.Weight = xfont.WeightBold
	}
	drawn := fonts.Lookup(face, vg.Length(s.size)*pixel)
	width := drawn.Width(s.text)
	r.canvas.SetColor(rgba(s.color, 1))
	r.canvas.Push()
	r.canvas.Translate(r.place(s.points[0]))
	if !s.upright {
		r.canvas.Rotate(math.Pi / 2)
	}
	switch s.anchor {
	case "middle":
		r.canvas.Translate(vg.Point{X: -width / 2})
	case "end":
		r.canvas.Translate(vg.Point{X: -width})
	}
	r.canvas.FillString(drawn, vg.Point{}, s.text)
	r.canvas.Pop()
}

// rgba reads "#RRGGBB", or the name of a colour of the theme.
func rgba(name string, opacity float64) color.NRGBA {
	if name[0] != '#' {
		name = theme[name]
	}
	bits, err := strconv.ParseUint(name[1:], 16, 24)
	if err != nil {
		panic(err) // a colour of this package
	}
	return color.NRGBA{uint8(bits >> 16), uint8(bits >> 8), uint8(bits), uint8(opacity * 255)}
}
