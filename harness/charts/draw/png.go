package draw

import (
	"bytes"
	"image/color"
	"math"
	"strconv"

	"github.com/fogleman/gg"
	"github.com/golang/freetype/truetype"
	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
)

// theme is the light one: a PNG cannot know its surroundings.
var theme = map[string]string{ink: "#1b1f24", quiet: "#57606a", faint: "#dfe3e8", paper: "#ffffff"}

// scale is the number of pixels of the picture, each way, for one of the scene.
const scale = 2

// PNG writes the chart as a picture of twice the resolution of its SVG, on white.
func (c Chart) PNG() ([]byte, error) {
	s := c.layOut()
	r := raster{gg.NewContext(int(math.Ceil(s.width*scale)), int(math.Ceil(s.height*scale)))}
	r.SetLineCapButt()
	r.SetColor(rgba(paper, 1))
	r.Clear()
	for _, g := range s.groups {
		for _, shape := range g.shapes {
			r.draw(shape)
		}
	}
	var out bytes.Buffer
	if err := r.EncodePNG(&out); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// raster draws shapes in pixels.
type raster struct{ *gg.Context }

func (r raster) draw(s shape) {
	r.SetColor(rgba(s.color, s.opacity))
	switch {
	case s.text != "":
		r.text(s)
	case s.marked:
		r.mark(s)
	case s.area:
		r.path(s.points)
		r.Fill()
	case len(s.points) > 1:
		r.path(s.points)
		r.stroke(s.width, s.dashed)
	}
}

// path begins a path through points.
func (r raster) path(points []at) {
	for _, p := range points {
		r.LineTo(p.x*scale, p.y*scale)
	}
}

func (r raster) stroke(width float64, dashed bool) {
	r.SetLineWidth(width * scale)
	if dashed {
		r.SetDash(5*scale, 3*scale)
	} else {
		r.SetDash()
	}
	r.Stroke()
}

func (r raster) mark(s shape) {
	center := s.points[0]
	if outline := s.mark.outline(center, markSize); outline != nil {
		r.path(outline)
		r.ClosePath()
	} else {
		r.DrawCircle(center.x*scale, center.y*scale, markSize*scale)
	}
	if !s.hollow {
		r.Fill()
		return
	}
	r.SetColor(rgba(paper, 1))
	r.FillPreserve()
	r.SetColor(rgba(s.color, 1))
	r.stroke(1.4, false)
}

// anchors are the shares of a text's width to the left of its point.
var anchors = map[string]float64{"start": 0, "middle": 0.5, "end": 1}

func (r raster) text(s shape) {
	r.SetColor(rgba(s.color, 1))
	r.SetFontFace(face(s.size*scale, s.bold))
	x, y := s.points[0].x*scale, s.points[0].y*scale
	r.Push()
	if !s.upright {
		r.RotateAbout(-math.Pi/2, x, y)
	}
	r.DrawStringAnchored(s.text, x, y, anchors[s.anchor], 0)
	r.Pop()
}

var regular, bold = parsed(goregular.TTF), parsed(gobold.TTF)

func parsed(ttf []byte) *truetype.Font {
	parsed, err := truetype.Parse(ttf)
	if err != nil {
		panic(err) // a font of the library
	}
	return parsed
}

// face is a font at a size in pixels: at 72 dots per inch a point is one.
func face(size float64, isBold bool) font.Face {
	font := regular
	if isBold {
		font = bold
	}
	return truetype.NewFace(font, &truetype.Options{Size: size, DPI: 72})
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
