package variant

import (
	"fmt"
	"strings"
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
		{contract.Protocols, []string{"both", "usual", "web http", "both+tcp tcp"}, ""},
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

// Who cannot broadcast is left out, with a word about it.
func TestBroadcasting(t *testing.T) {
	all := []Choice{{Variant: Variant{Name: "mute"}}, {Variant: Variant{Name: "loud", Broadcast: true}}}
	said := ""
	able := Broadcasting(all, func(format string, args ...any) { said += fmt.Sprintf(format, args...) })
	if len(able) != 1 || able[0].Name != "loud" || said != "left out, because they cannot broadcast: mute" {
		t.Errorf("%v, said %q", able, said)
	}
	web := Variant{Name: "web", Protocols: []string{"http"}, Broadcast: true}
	if problems := strings.Join(web.problems(), "\n"); !strings.Contains(problems, "only servers of WebSocket are asked for it") {
		t.Errorf("problems are %s", problems)
	}
}

// A build of a commit keeps its name whatever layers follow, and two builds stay neighbours.
func TestBuildsWithLayers(t *testing.T) {
	v := Variant{Name: "both", Protocols: []string{"websocket", "tcp"}, Security: []string{SecurityTLS}}
	earlier := v.choice(ClassTuned).At("1a2b3c")
	expanded := BySecurity(ByProtocol([]Program{{Choice: earlier}, {Choice: v.choice(ClassTuned)}}, []string{"websocket", "tcp"}), []string{SecurityNone, SecurityTLS})
	var got []string
	for i, p := range expanded {
		got = append(got, p.Name)
		if i%2 == 1 && Present(expanded[i-1].Name, expanded[i-1].Commit) != p.Name {
			t.Errorf("%s is no neighbour of %s", expanded[i-1].Name, p.Name)
		}
		if bare := Bare(Present(p.String(), p.Commit)); bare != "both/tuned" {
			t.Errorf("%s can be named %s", p, bare)
		}
	}
	want := "[both@1a2b3c both both@1a2b3c+tcp both+tcp both@1a2b3c+tls both+tls both@1a2b3c+tcp+tls both+tcp+tls]"
	if fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
}

// A server is never told to speak WebSocket, so that comes first.
func TestWebSocketComesFirst(t *testing.T) {
	v := Variant{Name: "x", Title: "x", Model: "x", Language: "C", Folder: "/x", Protocols: []string{"http", "websocket"}}
	if problems := strings.Join(v.problems(), "\n"); !strings.Contains(problems, "websocket comes first") {
		t.Errorf("problems are %q", problems)
	}
}
