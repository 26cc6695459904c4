// Package webpage holds what the pages of the suite have in common: their look, and a
// content security policy that lets only their own style and script work. Nothing is
// loaded from anywhere.
package webpage

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"strings"

	"connbench/harness/charts/draw"
)

//go:embed base.css
var baseCSS string

// Frame is what a template puts around a page.
type Frame struct {
	Style  template.CSS
	Script template.JS
	// Policy is the content of the Content-Security-Policy.
	Policy string
}

// New makes the frame of a page with a style, after that of all pages, and a script. Both
// must be our own: they are not escaped.
func New(style, script string) Frame {
	style = strings.NewReplacer("LIGHT", draw.LightColors, "DARK", draw.DarkColors).Replace(baseCSS) + style
	return Frame{
		Style: template.CSS(style), Script: template.JS(script),
		Policy: "default-src 'none'; style-src " + hash(style) + "; script-src " + hash(script),
	}
}

// hash names a style or a script in a content security policy.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
