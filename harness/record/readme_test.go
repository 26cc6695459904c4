package record

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestEveryStopReasonIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../results/README.md")
	must(t, err)
	_, after, _ := strings.Cut(string(text), "### Stop reasons\n")
	section, _, _ := strings.Cut(after, "\n#")
	var documented []string
	for line := range strings.Lines(section) {
		names, _, isRow := strings.Cut(strings.TrimPrefix(line, "|"), "|")
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(names, -1) {
			if isRow {
				documented = append(documented, name[1])
			}
		}
	}
	slices.Sort(documented)
	if want := slices.Sorted(slices.Values(reasons)); !slices.Equal(documented, want) {
		t.Errorf("documented are %q,\nand there are %q", documented, want)
	}
}

// results/README.md documents the files for readers who are not Go programs: every
// field, and none that does not exist.
func TestEveryFieldIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../results/README.md")
	must(t, err)
	documented := map[string]map[string]bool{}
	heading := ""
	quoted := regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(string(text)) {
		switch {
		case strings.HasPrefix(line, "#"):
			heading = strings.TrimSpace(strings.TrimLeft(line, "# "))
			documented[heading] = map[string]bool{}
		case strings.HasPrefix(line, "| `"):
			names, _, _ := strings.Cut(line[1:], "|")
			for _, name := range quoted.FindAllStringSubmatch(names, -1) {
				documented[heading][name[1]] = true
			}
		}
	}
	for heading, value := range map[string]any{
		"`manifest.json`": Manifest{}, "`hosts[]`": Host{}, "`variants[]`": Variant{},
		"`samples.jsonl.gz`": Sample{}, "`trials.jsonl`": Trial{},
		"`connections`": Connections{}, "`connections.census`": Census{}, "`stop`": Stop{}, "`failures[]`": Failure{},
		"`ramp`": Ramp{}, "`per_connection`": PerConnection{}, "`fits{}`": Fit{}, "`cpu`": CPU{}, "`idle`": Idle{},
		"`latency`": Latency{}, "`echo`, `saturate`": Load{}, "`sweep`": Sweep{}, "`complexity`": Complexity{}, "`complexity.levels[]`": Level{}, "`after`": After{}, "`client`": Client{}, "`quality`": Quality{},
		"`steps[]`": Step{}, "`phases[]`": Phase{},
	} {
		if documented[heading] == nil {
			t.Errorf("no section %s", heading)
		}
		kind := reflect.TypeOf(value)
		for i := range kind.NumField() {
			name, _, _ := strings.Cut(kind.Field(i).Tag.Get("json"), ",")
			if name == "" { // embedded: Latency has a section of its own
				continue
			}
			if !documented[heading][name] {
				t.Errorf("%s: %s is not documented", heading, name)
			}
			delete(documented[heading], name)
		}
		for name := range documented[heading] {
			t.Errorf("%s: %s is documented and does not exist", heading, name)
		}
	}
}
