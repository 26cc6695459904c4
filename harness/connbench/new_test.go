package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"connbench/harness/build"
	"connbench/harness/overview"
	"connbench/harness/record"
	"connbench/harness/variant"
	"connbench/scripts/needs"
)

// copyOfServers is a source tree of the servers alone, for tests that change it.
func copyOfServers(t *testing.T) string {
	t.Helper()
	source, err := build.Source()
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "tree")
	if err := os.CopyFS(filepath.Join(copied, "servers"), os.DirFS(filepath.Join(source, "servers"))); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(source, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(copied, file), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(copied, "servers")
}

// A new server in each of two languages is made, listed, measured beside the floor, and
// removed again.
func TestNewServersAreMeasured(t *testing.T) {
	t.Parallel()
	needs.Server(t)
	needs.Tools(t, "cc", "make")
	servers := copyOfServers(t)
	connbench := func(args ...string) string {
		t.Helper()
		c := exec.Command(filepath.Join(bin(t), "connbench"), append(args, "--servers", servers)...)
		text, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, text)
		}
		return string(text)
	}
	for name, language := range map[string]string{"new-go": "go", "new-c": "C"} {
		if said := connbench("new", name, "--language", language); !strings.Contains(said, "bin/connbench conform "+name) {
			t.Errorf("new %s says %q", name, said)
		}
	}
	if list := connbench("variants"); !strings.Contains(list, "new-go: ") || !strings.Contains(list, "new-c: ") {
		t.Errorf("the new servers are not among\n%s", list)
	}
	c := benchOf(t, servers, brief, "--variants", "new-go/tuned,new-c,floor", "--bin", programsOf(t))
	if status := c.exit(t); status != 0 {
		t.Fatalf("exit status %d\n%s", status, c.stderr.String())
	}
	measured := map[string]bool{}
	for _, trial := range c.run(t).Trials {
		measured[trial.Variant] = measured[trial.Variant] || trial.Valid
	}
	if !maps.Equal(measured, map[string]bool{"new-go": true, "new-c": true, "floor": true}) {
		t.Errorf("measured are %v\n%s", measured, c.stderr.String())
	}
	for _, name := range []string{"new-go", "new-c"} {
		if err := os.RemoveAll(filepath.Join(servers, name)); err != nil {
			t.Fatal(err)
		}
	}
	if list := connbench("variants"); strings.Contains(list, "new-") {
		t.Errorf("the new servers are still among\n%s", list)
	}
}

// What is printed measures the new server: with a plan of a protocol that it speaks.
func TestNewServersPlan(t *testing.T) {
	t.Parallel()
	servers := copyOfServers(t)
	for from, want := range map[string]string{
		"net-http": "make bench VARIANTS=like-net-http,floor PLAN=http\n", "floor": "make bench VARIANTS=like-floor,floor\n",
	} {
		c := exec.Command(filepath.Join(bin(t), "connbench"), "new", "like-"+from, "--from", from, "--servers", servers)
		if text, err := c.CombinedOutput(); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%v: %q does not say %q", err, text, want)
		}
	}
}

// A missing tool leaves one variant out of a run, with one line; a run of nothing else is an
// error that says what to do.
func TestMissingToolLeavesOneVariantOut(t *testing.T) {
	t.Parallel()
	servers, programs := t.TempDir(), programsOf(t)
	becomes(t, servers, programs, "sound")
	text, err := os.ReadFile(filepath.Join(servers, "sound", variant.File))
	if err != nil {
		t.Fatal(err)
	}
	lacking := filepath.Join(servers, "lacking")
	if err := os.Mkdir(lacking, 0o755); err != nil {
		t.Fatal(err)
	}
	changed := "needs = [\"no-such-tool >= 3 from no-such-package\"]\n" + strings.Replace(string(text), `name = "sound"`, `name = "lacking"`, 1)
	if err := os.WriteFile(filepath.Join(lacking, variant.File), []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
	const line = "lacking is left out: no-such-tool >= 3 is missing (Debian package no-such-package)"
	c := benchOf(t, servers, brief, "--variants", "sound,lacking", "--bin", programs)
	status := c.exit(t)
	if run := c.run(t); status != 0 || len(asked(run)) == 0 || run.Trials[0].Variant != "sound" || len(run.Manifest.Variants) != 1 {
		t.Errorf("status %d, manifest %+v", status, run.Manifest.Variants)
	}
	if strings.Count(c.stderr.String(), line) != 1 {
		t.Errorf("%q does not stand once in\n%s", line, c.stderr.String())
	}
	c = benchOf(t, servers, brief, "--variants", "lacking", "--bin", programs)
	if status := c.exit(t); status != 1 || !strings.Contains(c.stderr.String(), "none of these variants can be built here") {
		t.Errorf("status %d\n%s", status, c.stderr.String())
	}
	list, err := exec.Command(filepath.Join(bin(t), "connbench"), "variants", "--servers", servers).Output()
	if err != nil || !strings.Contains(strings.Join(strings.Fields(string(list)), " "), "left out here: no-such-tool >= 3 is missing") {
		t.Errorf("%v\n%s", err, list)
	}
}

// What a variant waives is a footnote of every table that names it.
func TestWaiversAreFootnotes(t *testing.T) {
	t.Parallel()
	const why = "the library answers every code by 1000"
	run := &record.Run{Manifest: record.Manifest{Schema: record.Schema}}
	for i, name := range []string{"strict", "lax"} {
		described := record.Variant{Name: name, Class: "tuned"}
		if name == "lax" {
			described.Waives = map[string]string{"close-code": why}
		}
		run.Manifest.Variants = append(run.Manifest.Variants, described)
		run.Trials = append(run.Trials, record.Trial{Trial: i + 1, Round: 1, Variant: name, Class: "tuned", Valid: true})
	}
	tables := overview.Tables(run)
	if len(tables) == 0 {
		t.Fatal("no tables")
	}
	for _, table := range tables {
		if !strings.Contains(strings.Join(table.Notes, "\n"), why+" (close-code)") {
			t.Errorf("%s: %q", table.Title, table.Notes)
		}
		for _, row := range table.Rows {
			if marked := row[0].Mark != ""; marked != (row[0].Text == "lax") {
				t.Errorf("%s: %+v", table.Title, row[0])
			}
		}
	}
	if text, err := json.Marshal(run.Manifest.Variants[1]); err != nil || !strings.Contains(string(text), fmt.Sprintf(`"waives":{"close-code":%q}`, why)) {
		t.Errorf("%s, %v", text, err)
	}
}
