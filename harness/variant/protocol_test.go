package variant

import (
	"fmt"
	"testing"

	"connbench/servers/contract"
)

// Each program is measured with each protocol that it speaks, and not at all if it speaks none.
func TestProtocols(t *testing.T) {
	both := Variant{Name: "both", Protocols: []string{"websocket", "tcp"}}
	web := Variant{Name: "web", Protocols: []string{"http"}}
	usual := Variant{Name: "usual"}
	for _, test := range []struct {
		protocols []string
		want      []string
		said      string
	}{
		{nil, []string{"both", "usual"}, "websocket: web"},
		{[]string{"websocket"}, []string{"both", "usual"}, "websocket: web"},
		{[]string{"http"}, []string{"web http"}, "http: both, usual"},
		{[]string{"tcp", "websocket"}, []string{"both+tcp tcp", "both", "usual"}, "tcp or websocket: web"},
		{contract.Protocols, []string{"both", "both+tcp tcp", "web http", "usual"}, ""},
	} {
		said := ""
		var programs []Program
		for _, c := range Speaking([]Choice{both.choice(ClassTuned), web.choice(ClassTuned), usual.choice(ClassTuned)}, test.protocols, func(format string, args ...any) {
			said += fmt.Sprintf(format, args...)
		}) {
			programs = append(programs, Program{Choice: c})
		}
		var got []string
		for _, p := range ByProtocol(programs, test.protocols) {
			text := p.Name
			if p.Protocol != "" {
				text += " " + p.Protocol
			}
			got = append(got, text)
			if plain := Plain(p.Name, p.Protocol); plain != "both" && plain != "web" && plain != "usual" {
				t.Errorf("%s without its protocol is %s", p.Name, plain)
			}
		}
		if test.said != "" {
			test.said = "left out, because they do not speak " + test.said
		}
		if fmt.Sprint(got) != fmt.Sprint(test.want) || said != test.said {
			t.Errorf("%v: %v, said %q; want %v, %q", test.protocols, got, said, test.want, test.said)
		}
	}
	if c := web.choice(ClassTuned); c.Protocol != "http" || usual.choice(ClassTuned).Protocol != "" {
		t.Errorf("by itself, %s speaks %q", c.Name, c.Protocol)
	}
}
