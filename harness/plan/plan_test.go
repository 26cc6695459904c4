package plan_test

import (
	"fmt"
	"iter"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"connbench/harness/explain"
	"connbench/harness/phase/searches"
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
		{"no compression", good + "protocol = [\"tcp\"]\ncompression = [\"none\"]\n", ""},
		{"compressed bytes", good + "protocol = [\"tcp\"]\ncompression = [\"none\", \"deflate\"]\n", "compression needs WebSocket, but protocol is [\"tcp\"]"},
		{"an uncompressed broadcast", good + "compression = [\"none\"]\n[broadcast]\nseconds = 1\nrate_per_second = 1\npayload_bytes = 64\n", ""},
		{"a compressed broadcast", good + "compression = [\"none\", \"deflate\"]\n[broadcast]\nseconds = 1\nrate_per_second = 1\npayload_bytes = 64\n", "what is broadcast is not compressed"},
		{"a broadcast over HTTP", good + "protocol = [\"websocket\", \"http\"]\n[broadcast]\nseconds = 1\nrate_per_second = 1\npayload_bytes = 49152\nhttp = \"polls\"\n", ""},
		{"a broadcast too large for HTTP", good + "protocol = [\"http\"]\n[broadcast]\nseconds = 1\nrate_per_second = 1\npayload_bytes = 49153\n", "broadcast.payload_bytes is 49153: over HTTP that is base64 of 65540 bytes"},
		{"a broadcast by gossip", good + "[broadcast]\nhttp = \"gossip\"\n", `broadcast.http is "gossip": it is one of events, polls`},
		{"a broadcast of bytes", good + "protocol = [\"tcp\"]\n[broadcast]\nseconds = 1\nrate_per_second = 1\npayload_bytes = 64\n", "only servers of WebSocket and HTTP broadcast"},
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
	searches.SweepPlan.Change(&p, func(s *searches.SweepTable) { s.RatesPerSecond, s.PayloadBytes = []float64{1000, 1000}, 0 })
	has(t, p.Problems(), "ascending")
	has(t, p.Problems(), "sweep.payload_bytes")
}

func TestWorkMustRise(t *testing.T) {
	p, err := plan.LoadNamed("complexity")
	if err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*searches.ComplexityTable){
		"ascending":                func(c *searches.ComplexityTable) { c.WorkUS = []int{10, 10} },
		"none negative":            func(c *searches.ComplexityTable) { c.WorkUS = []int{-1} },
		"complexity.resolution":    func(c *searches.ComplexityTable) { c.Resolution = 1 },
		"complexity.p99_us":        func(c *searches.ComplexityTable) { c.P99US = 0 },
		"complexity.payload_bytes": func(c *searches.ComplexityTable) { c.PayloadBytes = 0 },
	} {
		changed := p
		searches.ComplexityPlan.Change(&changed, change)
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
	if err == nil || !strings.Contains(explain.HintOf(err), strings.Join(plan.Names(), ", ")) {
		t.Fatalf("hint %q does not list the built-in plans", explain.HintOf(err))
	}
}

// everyPhase is a plan in which each phase runs.
const everyPhase = `
variants = ["gnet"]
connections = 100
[echo]
seconds = 1
rate_per_second = 5
payload_bytes = 5
[ping]
seconds = 1
interval_seconds = 1
payload_bytes = 5
[hold]
seconds = 1
[sweep]
rates_per_second = [5]
seconds = 1
payload_bytes = 5
p99_us = 5
[saturate]
seconds = 1
in_flight = 5
payload_bytes = 5
[complexity]
work_us = [5]
messages_per_second = 5
p99_us = 5
resolution = 1.5
seconds = 1
payload_bytes = 5
[churn]
seconds = 1
share_per_second = 0.5
[storm]
seconds = 1
[stayers]
seconds = 1
before_seconds = 1
share = 0.5
rate_per_second = 5
payload_bytes = 5
[restart]
seconds = 1
[mix]
seconds = 1
shares = [0.5]
messages_per_second = 5
payload_bytes = [5]
[slow]
seconds = 1
payload_bytes = 8
rate_per_second = 5
unread_share = 0.1
flood_bytes = 5
dribble_share = 0.1
dribble_seconds = 1
[broadcast]
seconds = 1
unread_share = 0.1
rate_per_second = 5
payload_bytes = 8
`

// set is a text with a key of a table set to a value, whatever it was.
func set(text, table, key, value string) string {
	var out strings.Builder
	line, in := key+" = "+value+"\n", ""
	if table == "" {
		out.WriteString(line)
	}
	found := table == ""
	for old := range strings.Lines(text) {
		if strings.HasPrefix(old, "[") {
			in = strings.Trim(old, "[]\n")
		}
		if in == table && strings.HasPrefix(old, key+" = ") {
			continue
		}
		out.WriteString(old)
		if table != "" && old == "["+table+"]\n" {
			out.WriteString(line)
			found = true
		}
	}
	if !found {
		out.WriteString("[" + table + "]\n" + line)
	}
	return out.String()
}

// No key takes a number that means nothing: each is refused with its file, line and
// name.
func TestAbsurdNumbersAreRefused(t *testing.T) {
	if _, err := plan.Parse("p.toml", []byte(everyPhase)); err != nil {
		t.Fatal(err)
	}
	try := func(table string, fields iter.Seq[reflect.StructField]) {
		for field := range fields {
			key, _, _ := strings.Cut(field.Tag.Get("toml"), ",")
			var values []string
			switch kind := field.Type; kind.Kind() {
			case reflect.Int, reflect.Int64:
				values = []string{"-1", "9223372036854775807", "9223372036854775808", "nan", "1.5"}
			case reflect.Uint64:
				values = []string{"-1", "nan", "1.5"}
			case reflect.Float64:
				values = []string{"-1", "nan", "inf", "-inf", "1e300", "-1e300"}
			case reflect.Slice:
				switch kind.Elem().Kind() {
				case reflect.Int:
					values = []string{"[-1]", "[9223372036854775807]", "[5, 5]"}
				case reflect.Float64:
					values = []string{"[-1.0]", "[nan]", "[inf]", "[1e300]", "[5.0, 5.0]"}
				}
			}
			name := strings.TrimPrefix(table+"."+key, ".")
			for _, value := range values {
				if name == "connections" && value == "9223372036854775807" {
					continue // max
				}
				text := set(everyPhase, table, key, value)
				_, err := plan.Parse("p.toml", []byte(text))
				line := strings.Count(text[:strings.Index(text, key+" = "+value)], "\n") + 1
				switch {
				case err == nil:
					t.Errorf("%s = %s is taken", name, value)
				case !strings.HasPrefix(err.Error(), fmt.Sprintf("p.toml:%d:", line)) || !strings.Contains(err.Error(), key):
					t.Errorf("%s = %s in line %d: %v", name, value, line, err)
				}
			}
		}
	}
	visible := func(of reflect.Type) iter.Seq[reflect.StructField] {
		return func(yield func(reflect.StructField) bool) {
			for _, field := range reflect.VisibleFields(of) {
				if field.IsExported() && !field.Anonymous && !yield(field) {
					return
				}
			}
		}
	}
	try("", visible(reflect.TypeFor[plan.Plan]()))
	try("server", visible(reflect.TypeFor[plan.Server]()))
	try("client", visible(reflect.TypeFor[plan.Client]()))
	names, types := plan.Parts()
	for i, name := range names {
		try(name, visible(types[i]))
	}
}

func TestNamesOfPlans(t *testing.T) {
	for _, name := range []string{"prüfung", "plan@v2", "check(1)", "_mine", strings.Repeat("x", 70)} {
		p, err := plan.Parse("/somewhere/"+name+".toml", []byte(everyPhase))
		if err != nil || p.Name != name {
			t.Errorf("%q: %q, %v", name, p.Name, err)
		}
	}
	for _, name := range []string{"a b", "-x", ".x", "a\nb", strings.Repeat("x", 201)} {
		if _, err := plan.Parse(name+".toml", []byte(everyPhase)); err == nil || !strings.Contains(err.Error(), "name: ") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestAllMistakesOfAPlanAreTold(t *testing.T) {
	_, err := plan.Parse("p.toml", []byte("variants = []\nconnections = 5\nrouns = 1\nrounds = 0\n[hold]\nseconds = -1\n"))
	want := "p.toml:3:1: unknown key \"rouns\"\n" +
		"p.toml:1: variants is empty: name at least one\n" +
		"p.toml:4: rounds is 0: it must be from 1 to 1000\n" +
		"p.toml:6: hold.seconds is -1: it must be from 0 to 31536000"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// The README's table of plans has those that are built in, except the ones that a target of
// the Makefile or a lab runs by itself.
func TestReadmeListsThePlans(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| plan | question it answers |")
	table, _, _ = strings.Cut(table, "\n\n")
	var listed []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|").FindAllStringSubmatch(table, -1) {
		listed = append(listed, row[1])
	}
	slices.Sort(listed)
	want := slices.DeleteFunc(slices.Sorted(slices.Values(plan.Names())), func(name string) bool { return name == "check" || name == "vagrant-quick" })
	if !slices.Equal(listed, want) {
		t.Errorf("the README lists %q, built in are %q", listed, want)
	}
}
