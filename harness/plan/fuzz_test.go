package plan_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"connbench/harness/phase"
	_ "connbench/harness/phase/all"
	"connbench/harness/plan"
	"connbench/harness/record"
	"connbench/harness/record/folder"
)

// FuzzParse checks that a plan that is read can be run and filed, and that any other file
// is refused with an error that a terminal can show.
func FuzzParse(f *testing.F) {
	for _, name := range plan.Names() {
		text, err := os.ReadFile(name + ".toml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	var rates []string
	for i := range 1000 {
		rates = append(rates, strconv.Itoa(i+1))
	}
	// Millennia of load.
	f.Add([]byte("variants = [\"floor\"]\nconnections = \"max\"\n[sweep]\nrates_per_second = [" + strings.Join(rates, ",") + "]\nseconds = 31536000\nwarmup_seconds = 31536000\npayload_bytes = 1\np99_us = 1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := plan.Parse("fuzz.toml", text)
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				line = strings.TrimSuffix(line, "\n")
				if !strings.HasPrefix(line, "fuzz.toml") || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) {
					t.Errorf("a line of the error is %q", line)
				}
			}
			return
		}
		for _, connections := range []int{1, 1 << 30} {
			if d := phase.Duration(p, connections); d < 0 {
				t.Errorf("%d connections take %s", connections, d)
			}
			for _, ph := range phase.Of(p, connections) {
				if _, seconds := ph.Planned(p, connections); !(seconds >= 0) {
					t.Errorf("phase %s takes %g s", ph.Name, seconds)
				}
			}
		}
		dir := filepath.Join(t.TempDir(), "run")
		w, err := folder.Create(dir, record.Manifest{State: record.StateRunning, Lab: "local", Title: p.Title, Seed: p.Seed, Plan: p})
		if err != nil {
			t.Fatalf("a run of it cannot be filed: %v", err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := folder.Open(dir); err != nil {
			t.Errorf("a run of it cannot be read: %v", err)
		}
	})
}
