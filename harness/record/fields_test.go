package record_test

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"connbench/harness/phase"
	"connbench/harness/record"
)

// results/README.md documents the files for readers who are not Go programs: every
// field, and none that does not exist.
func TestEveryFieldIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../results/README.md")
	if err != nil {
		t.Fatal(err)
	}
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
		"`manifest.json`": record.Manifest{}, "`hosts[]`": record.Host{}, "`variants[]`": record.Variant{},
		"`samples.jsonl.gz`": record.Sample{}, "`trials.jsonl`": record.Trial{},
		"`connections`": record.Connections{}, "`connections.census`": record.Census{}, "`stop`": record.Stop{}, "`failures[]`": record.Failure{},
		"`ramp`": phase.RampRecord{}, "`per_connection`": record.PerConnection{}, "`fits{}`": record.Fit{}, "`idle`": phase.HoldRecord{},
		"`latency`": record.Latency{}, "`echo`, `saturate`": record.Load{}, "`sweep`": phase.SweepRecord{}, "`complexity`": phase.ComplexityRecord{}, "`complexity.levels[]`": phase.Level{}, "`after`": phase.CloseRecord{}, "`client`": record.Client{}, "`quality`": record.Quality{},
		"`steps[]`": record.Step{}, "`phases[]`": record.Phase{},
	} {
		if documented[heading] == nil {
			t.Errorf("no section %s", heading)
		}
		kind := reflect.TypeOf(value)
		if kind == reflect.TypeFor[record.Trial]() {
			names, _ := record.Sections()
			for _, name := range names {
				if !documented[heading][name] {
					t.Errorf("%s: %s is not documented", heading, name)
				}
				delete(documented[heading], name)
			}
		}
		for i := range kind.NumField() {
			if !kind.Field(i).IsExported() {
				continue
			}
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
