package variant

import (
	"fmt"
	"slices"
	"testing"
)

// Each program is measured with each layer, and what cannot do TLS not at all where that is
// asked for.
func TestLayers(t *testing.T) {
	with := Choice{Variant: Variant{Name: "with", Security: []string{SecurityTLS}}, Class: ClassTuned}
	without := Choice{Variant: Variant{Name: "without"}, Class: ClassTuned}
	for _, test := range []struct {
		layers []string
		want   []string
		said   int
	}{
		{nil, []string{"with/tuned", "without/tuned"}, 0},
		{[]string{SecurityNone}, []string{"with/tuned", "without/tuned"}, 0},
		{[]string{SecurityTLS}, []string{"with+tls/tuned"}, 1},
		{Securities, []string{"with/tuned", "with+tls/tuned", "with+tls-resumed/tuned"}, 1},
	} {
		said := 0
		var programs []Program
		for _, c := range Securable([]Choice{with, without, without}, test.layers, func(string, ...any) { said++ }) {
			if !slices.ContainsFunc(programs, func(p Program) bool { return p.Name == c.Name }) {
				programs = append(programs, Program{Choice: c})
			}
		}
		var got []string
		for _, p := range BySecurity(programs, test.layers) {
			got = append(got, p.String())
			if plain := Plain(p.Name, p.Secured); plain != "with" && plain != "without" {
				t.Errorf("%s without its layer is %s", p.Name, plain)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(test.want) || said != test.said {
			t.Errorf("%v: %v, %d lines said; want %v, %d", test.layers, got, said, test.want, test.said)
		}
	}
}
