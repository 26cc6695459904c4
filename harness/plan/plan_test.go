package plan

import (
	"strings"
	"testing"
)

func TestBuiltInPlansAreSound(t *testing.T) {
	for _, name := range Names() {
		p, err := LoadNamed(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if p.Name != name || p.Title == "" || p.About == "" {
			t.Errorf("%s: name %q, title %q, about %q", name, p.Name, p.Title, p.About)
		}
	}
}

func TestParse(t *testing.T) {
	const good = "variants = [\"gnet\"]\nconnections = 100\n"
	for _, test := range []struct{ name, text, want string }{
		{"a number", good, ""},
		{"max", "variants = [\"gnet\"]\nconnections = \"max\"\n", ""},
		{"syntax", good + "rounds = = 3\n", "p.toml:3:"},
		{"unknown key", good + "rouns = 3\n", `p.toml:3:1: unknown key "rouns"`},
		{"unknown nested key", good + "[ramp]\nspeed = 3\n", `p.toml:4:1: unknown key "ramp.speed"`},
		{"wrong type", good + "rounds = \"three\"\n", "p.toml:3:"},
		{"negative count", "variants = [\"gnet\"]\nconnections = -1\n", "connections is -1"},
		{"zero count", "variants = [\"gnet\"]\nconnections = 0\n", "connections is 0"},
		{"word count", "variants = [\"gnet\"]\nconnections = \"many\"\n", "neither a number nor max"},
		{"no variants", "connections = 5\n", "variants is empty"},
		{"class", good + "classes = [\"fast\"]\n", "a class is"},
		{"rounds", good + "rounds = 0\n", "rounds is 0"},
		{"echo without rate", good + "[echo]\nseconds = 3\npayload_bytes = 5\n", "echo.rate_per_second"},
		{"ping without interval", good + "[ping]\nseconds = 3\npayload_bytes = 5\n", "ping.interval_seconds"},
		{"ping over the limit", good + "[ping]\nseconds = 3\ninterval_seconds = 9\npayload_bytes = 126\n", "ping.payload_bytes is 126"},
		{"negative budget", good + "budget_bytes = -1\n", "budget_bytes is -1"},
		{"payload over the limit", good + "[echo]\nseconds = 3\nrate_per_second = 5\npayload_bytes = 70000\n", "echo.payload_bytes is 70000"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse("p.toml", []byte(test.text))
			if test.want == "" && err != nil {
				t.Fatalf("error %v", err)
			}
			if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Fatalf("error %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestSweepMustRise(t *testing.T) {
	p, err := LoadNamed("load")
	if err != nil {
		t.Fatal(err)
	}
	p.Sweep.RatesPerSecond = []float64{1000, 1000}
	if problem := p.Problem(); !strings.Contains(problem, "ascending") {
		t.Errorf("%q", problem)
	}
	p.Sweep.RatesPerSecond, p.Sweep.PayloadBytes = []float64{1000}, 0
	if problem := p.Problem(); !strings.Contains(problem, "sweep.payload_bytes") {
		t.Errorf("%q", problem)
	}
}

func TestWorkMustRise(t *testing.T) {
	p, err := LoadNamed("complexity")
	if err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Complexity){
		"ascending":                func(c *Complexity) { c.WorkUS = []int{10, 10} },
		"none negative":            func(c *Complexity) { c.WorkUS = []int{-1} },
		"complexity.resolution":    func(c *Complexity) { c.Resolution = 1 },
		"complexity.p99_us":        func(c *Complexity) { c.P99US = 0 },
		"complexity.payload_bytes": func(c *Complexity) { c.PayloadBytes = 0 },
	} {
		changed := p
		change(&changed.Complexity)
		if problem := changed.Problem(); !strings.Contains(problem, want) {
			t.Errorf("%q, want %q", problem, want)
		}
	}
}

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]int64{"1GiB": 1 << 30, "512 MiB": 512 << 20, "1.5KiB": 1536, "1000": 1000, "2TiB": 2 << 40} {
		if got, err := ParseBytes(text); err != nil || got != want {
			t.Errorf("%q is %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "GiB", "-1GiB", "0", "1GB", "nan", "inf", "9e9TiB", "1 000"} {
		if got, err := ParseBytes(text); err == nil {
			t.Errorf("%q is %d", text, got)
		}
	}
}

func TestLoadNamedUnknown(t *testing.T) {
	_, err := LoadNamed("nosuch")
	if err == nil || !strings.Contains(err.Error(), strings.Join(Names(), ", ")) {
		t.Fatalf("error %v does not list the built-in plans", err)
	}
}
