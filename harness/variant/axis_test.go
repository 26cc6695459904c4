package variant

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"connbench/servers/contract"
)

// measured are the names of what is measured of some variants, each with what is asked of it, and
// what is said of those that are left out.
func measured(variants []Variant, layers Layers) (names []string, said []string) {
	var choices []Choice
	for _, v := range variants {
		choices = append(choices, v.choice(ClassTuned))
	}
	var programs []Program
	for _, c := range Able(choices, layers, func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }) {
		programs = append(programs, Program{Choice: c})
	}
	for _, p := range Expand(programs, layers) {
		names = append(names, strings.Join(slices.DeleteFunc([]string{p.Name, p.Protocol, p.Secured, p.Compressed}, func(s string) bool { return s == "" }), " "))
	}
	return names, said
}

// Each program is measured with each protocol that it speaks, security and compression that it
// has, and not at all where it has nothing that is asked for.
func TestAxes(t *testing.T) {
	variants := []Variant{
		{Name: "both", Protocols: []string{"websocket", "tcp"}, Compression: []string{"deflate"}},
		{Name: "web", Protocols: []string{"http"}},
		{Name: "usual", Security: []string{SecurityTLS}, Compression: contract.Compressions},
	}
	const left = "left out, because they "
	for _, test := range []struct {
		layers Layers
		want   []string
		said   []string
	}{
		{Layers{}, []string{"both", "usual"}, []string{left + "do not speak websocket: web"}},
		{Layers{Protocol: []string{"websocket"}}, []string{"both", "usual"}, []string{left + "do not speak websocket: web"}},
		{Layers{Protocol: []string{"http"}}, []string{"web http"}, []string{left + "do not speak http: both, usual"}},
		{Layers{Protocol: []string{"tcp", "websocket"}}, []string{"both+tcp tcp", "both", "usual"}, []string{left + "do not speak tcp or websocket: web"}},
		{Layers{Protocol: contract.Protocols}, []string{"both", "usual", "web http", "both+tcp tcp"}, nil},
		{Layers{Protocol: contract.Protocols, Security: []string{SecurityNone}, Compression: []string{CompressionNone}}, []string{"both", "usual", "web http", "both+tcp tcp"}, nil},
		{Layers{Security: []string{SecurityTLS}}, []string{"usual+tls tls"}, []string{left + "do not speak websocket: web", left + "cannot do TLS: both"}},
		{Layers{Security: []string{SecurityNone, SecurityTLS, SecurityResumed}}, []string{"usual", "usual+tls tls", "usual+tls-resumed tls-resumed"}, []string{left + "do not speak websocket: web", left + "cannot do TLS: both"}},
		{Layers{Protocol: contract.Protocols, Compression: []string{CompressionNone, "deflate", "deflate-takeover"}},
			[]string{"both", "usual", "both+tcp tcp", "both+deflate deflate", "usual+deflate deflate", "usual+deflate-takeover deflate-takeover"},
			[]string{left + "cannot do deflate or deflate-takeover: web"}},
		{Layers{Compression: []string{"deflate-takeover"}, Security: []string{SecurityTLS}}, []string{"usual+tls+deflate-takeover tls deflate-takeover"},
			[]string{left + "do not speak websocket: web", left + "cannot do TLS: both"}},
		{Layers{Compression: []string{CompressionNone, "deflate-takeover"}}, []string{"usual", "usual+deflate-takeover deflate-takeover"},
			[]string{left + "do not speak websocket: web", left + "cannot do deflate-takeover: both"}},
	} {
		if got, said := measured(variants, test.layers); !slices.Equal(got, test.want) || !slices.Equal(said, test.said) {
			t.Errorf("%v: %q, said %q; want %q, %q", test.layers, got, said, test.want, test.said)
		}
	}
	if c := variants[1].choice(ClassTuned); c.Protocol != "http" || variants[2].choice(ClassTuned).Protocol != "" {
		t.Errorf("by itself, %s speaks %q", c.Name, c.Protocol)
	}
	// Two classes of one that is left out are one name.
	said := ""
	Able([]Choice{variants[0].choice(ClassTuned), variants[0].choice(ClassDefault)}, Layers{Security: []string{SecurityTLS}}, func(format string, args ...any) { said += fmt.Sprintf(format, args...) })
	if said != left+"cannot do TLS: both" {
		t.Errorf("said %q", said)
	}
}

func TestNamesWithLayers(t *testing.T) {
	for _, test := range [][3]string{
		{"usual+tls+deflate", "tls", "usual+deflate"},
		{"usual+deflate-takeover", "deflate", "usual+deflate-takeover"},
		{"usual+tls-resumed", "tls-resumed", "usual"},
		{"usual", "tcp", "usual"},
		{"usual+tcp", "", "usual+tcp"},
	} {
		if got := Plain(test[0], test[1]); got != test[2] {
			t.Errorf("%s without %s is %s", test[0], test[1], got)
		}
	}
}

func TestAxesAreChecked(t *testing.T) {
	for _, axis := range Axes {
		if err := axis.Check(axis.Values); err != nil {
			t.Error(err)
		}
		for _, wrong := range [][]string{{"nonsense"}, {axis.Values[0], axis.Values[0]}} {
			if err := axis.Check(wrong); err == nil || !strings.HasPrefix(err.Error(), axis.Key+" has ") {
				t.Errorf("%q: %v", wrong, err)
			}
		}
	}
}

// A build of a commit keeps its name whatever layers follow, and two builds stay neighbours.
func TestBuildsWithLayers(t *testing.T) {
	v := Variant{Name: "both", Protocols: []string{"websocket", "tcp"}, Security: []string{SecurityTLS}}
	earlier := v.choice(ClassTuned).At("1a2b3c")
	expanded := Expand([]Program{{Choice: earlier}, {Choice: v.choice(ClassTuned)}}, Layers{Protocol: []string{"websocket", "tcp"}, Security: []string{SecurityNone, SecurityTLS}})
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

// A server is never told to speak WebSocket, so that comes first; only WebSocket is compressed; and
// a server broadcasts in what it speaks.
func TestWhatAServerCanSayOfItself(t *testing.T) {
	v := Variant{Name: "x", Title: "x", Model: "x", Language: "C", Folder: "/x"}
	for want, change := range map[string]func(*Variant){
		"websocket comes first":                  func(v *Variant) { v.Protocols = []string{"http", "websocket"} },
		`protocols has "smtp"`:                   func(v *Variant) { v.Protocols = []string{"smtp"} },
		`compression has "gzip"`:                 func(v *Variant) { v.Compression = []string{"gzip"} },
		"only messages of WebSocket":             func(v *Variant) { v.Protocols, v.Compression = []string{"http"}, []string{"deflate"} },
		`broadcast has "tcp": it holds some of`:  func(v *Variant) { v.Protocols, v.Broadcast = []string{"tcp"}, []string{"tcp"} },
		`broadcast has "http": protocols does n`: func(v *Variant) { v.Broadcast = []string{"http"} },
		`security has "tls-resumed": the only l`: func(v *Variant) { v.Security = []string{"tls-resumed"} },
	} {
		v := v
		if change(&v); !strings.Contains(strings.Join(v.problems(), "\n"), want) {
			t.Errorf("problems are %q, want %q", v.problems(), want)
		}
	}
}

// Who can broadcast in no protocol that is asked for is left out, with a word about it, and others
// are measured with those in which they can.
func TestBroadcasting(t *testing.T) {
	variants := []Variant{
		{Name: "mute", Protocols: []string{"websocket", "http"}},
		{Name: "loud", Protocols: []string{"websocket", "http"}, Broadcast: []string{"websocket"}},
		{Name: "both", Protocols: []string{"websocket", "http"}, Broadcast: []string{"websocket", "http"}},
		{Name: "web", Protocols: []string{"http"}, Broadcast: []string{"http"}},
	}
	const left = "left out, because they cannot broadcast over "
	for _, test := range []struct {
		protocol []string
		want     []string
		said     []string
	}{
		{nil, []string{"loud", "both"}, []string{"left out, because they do not speak websocket: web", left + "websocket: mute"}},
		{[]string{"http"}, []string{"both+http http", "web http"}, []string{left + "http: mute, loud"}},
		{[]string{"websocket", "http"}, []string{"loud", "both", "both+http http", "web http"}, []string{left + "websocket or http: mute"}},
	} {
		if got, said := measured(variants, Layers{Protocol: test.protocol, Broadcast: true}); !slices.Equal(got, test.want) || !slices.Equal(said, test.said) {
			t.Errorf("%v: %q, said %q; want %q, %q", test.protocol, got, said, test.want, test.said)
		}
	}
}
