package plan_test

import (
	"slices"
	"strings"
	"testing"

	"connbench/harness/phase"
	"connbench/harness/plan"
)

func TestBuiltInPlansAreSound(t *testing.T) {
	for _, name := range plan.Names() {
		p, err := plan.LoadNamed(name)
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
			_, err := plan.Parse("p.toml", []byte(test.text))
			if test.want == "" && err != nil {
				t.Fatalf("error %v", err)
			}
			if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Fatalf("error %v, want %q in it", err, test.want)
			}
		})
	}
}

// has fails unless one of the problems has a text in it.
func has(t *testing.T, problems []string, text string) {
	t.Helper()
	if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, text) }) {
		t.Errorf("%q, want %q", problems, text)
	}
}

func TestSweepMustRise(t *testing.T) {
	p, err := plan.LoadNamed("load")
	if err != nil {
		t.Fatal(err)
	}
	phase.SweepPlan.Change(&p, func(s *phase.SweepTable) { s.RatesPerSecond, s.PayloadBytes = []float64{1000, 1000}, 0 })
	has(t, p.Problems(), "ascending")
	has(t, p.Problems(), "sweep.payload_bytes")
}

func TestWorkMustRise(t *testing.T) {
	p, err := plan.LoadNamed("complexity")
	if err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*phase.ComplexityTable){
		"ascending":                func(c *phase.ComplexityTable) { c.WorkUS = []int{10, 10} },
		"none negative":            func(c *phase.ComplexityTable) { c.WorkUS = []int{-1} },
		"complexity.resolution":    func(c *phase.ComplexityTable) { c.Resolution = 1 },
		"complexity.p99_us":        func(c *phase.ComplexityTable) { c.P99US = 0 },
		"complexity.payload_bytes": func(c *phase.ComplexityTable) { c.PayloadBytes = 0 },
	} {
		changed := p
		phase.ComplexityPlan.Change(&changed, change)
		has(t, changed.Problems(), want)
	}
	if problems := p.Problems(); len(problems) > 0 {
		t.Errorf("the plan itself was changed: %q", problems)
	}
}

// All mistakes of a plan are reported at once.
func TestAllProblemsAreReported(t *testing.T) {
	_, err := plan.Parse("p.toml", []byte("variants = [\"gnet\"]\nconnections = 5\nrounds = 0\n[hold]\nseconds = nan\n[ramp]\nsteps = -1\npause_seconds = inf\n"))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"rounds is 0", "hold.seconds is NaN", "ramp.steps is -1", "ramp.pause_seconds is +Inf"} {
		has(t, strings.Split(err.Error(), "\n"), want)
	}
}

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]int64{"1GiB": 1 << 30, "512 MiB": 512 << 20, "1.5KiB": 1536, "1000": 1000, "2TiB": 2 << 40} {
		if got, err := plan.ParseBytes(text); err != nil || got != want {
			t.Errorf("%q is %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "GiB", "-1GiB", "0", "1GB", "nan", "inf", "9e9TiB", "1 000"} {
		if got, err := plan.ParseBytes(text); err == nil {
			t.Errorf("%q is %d", text, got)
		}
	}
}

func TestLoadNamedUnknown(t *testing.T) {
	_, err := plan.LoadNamed("nosuch")
	if err == nil || !strings.Contains(err.Error(), strings.Join(plan.Names(), ", ")) {
		t.Fatalf("error %v does not list the built-in plans", err)
	}
}
