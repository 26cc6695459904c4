package draw

import (
	"hash/fnv"
	"slices"
	"strings"
)

// Style is how a variant looks in every chart of every run: a colour that is distinct in
// any colour vision (Okabe and Ito, 2008), and a mark that is distinct without colour.
type Style struct {
	Color string
	Mark  Mark
	// Hollow marks and broken lines are those of the class "default".
	Hollow bool
}

// Mark is the shape of a point.
type Mark int

// The marks.
const (
	Circle Mark = iota
	Square
	Triangle
	Diamond
	Cross
	marks = iota
)

// known variants look the same in all runs.
var known = map[string]Style{
	"floor":        {Color: "#808080", Mark: Cross},
	"goroutine":    {Color: "#D55E00", Mark: Circle},
	"gobwas-epoll": {Color: "#0072B2", Mark: Square},
	"gnet":         {Color: "#009E73", Mark: Triangle},
	"nbio":         {Color: "#CC79A7", Mark: Diamond},
}

// otherColors are those of other variants.
var otherColors = []string{"#E69F00", "#56B4E9", "#882255", "#999933", "#6A51A3", "#A6761D", "#1B9E9E", "#B2182B"}

// others are the looks of other variants, by the hash of their name: each colour with each
// mark, and neighbours differ in both.
var others = func() (looks []Style) {
	for i := range len(otherColors) * marks {
		looks = append(looks, Style{Color: otherColors[i%len(otherColors)], Mark: Mark((i + i/len(otherColors)) % marks)})
	}
	return looks
}()

// Styles are the looks of variants, given as name/class. Two unknown variants of one run
// look the same only where there are more of them than looks.
func Styles(variants []string) map[string]Style {
	names := map[string]Style{}
	taken := make([]bool, len(others))
	var strangers []string
	for _, variant := range variants {
		name, _, _ := strings.Cut(variant, "/")
		if style, is := known[name]; is {
			names[name] = style
		} else if !slices.Contains(strangers, name) {
			strangers = append(strangers, name)
		}
	}
	slices.Sort(strangers)
	for i, name := range strangers {
		hash := fnv.New32a()
		hash.Write([]byte(name))
		at := int(hash.Sum32() % uint32(len(others)))
		for taken[at] && i < len(others) {
			at = (at + 1) % len(others)
		}
		taken[at] = true
		names[name] = others[at]
	}
	styles := map[string]Style{}
	for _, variant := range variants {
		name, class, _ := strings.Cut(variant, "/")
		style := names[name]
		style.Hollow = class == "default"
		styles[variant] = style
	}
	return styles
}

// PartColors are for the parts of a connection's memory, dark to light: the server's own
// in blues, the kernel's in oranges and browns.
var PartColors = [][]string{
	{"#08519C", "#3182BD", "#6BAED6", "#BDD7E7"},
	{"#7F2704", "#A63603", "#D94801", "#F16913", "#FDAE6B", "#FDD0A2"},
}
