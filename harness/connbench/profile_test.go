package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// profiled runs connbench profile of a variant, and returns what it prints and the folder of
// the profiles.
func profiled(t *testing.T, variant, servers, programs string, environment ...string) (output, dir string) {
	t.Helper()
	dir = t.TempDir()
	plan := filepath.Join(t.TempDir(), "brief.toml")
	if err := os.WriteFile(plan, []byte(brief+"[echo]\nseconds = 1\nrate_per_second = 500\npayload_bytes = 64\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(filepath.Join(programs, "connbench"), "profile", variant, "--servers", servers, "--bin", programs, "--plan", plan, "--output", dir)
	c.Env = append(os.Environ(), environment...)
	text, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return string(text), dir
}

// A Go server writes its own profiles, which pprof reads.
func TestProfileOfAGoServer(t *testing.T) {
	t.Parallel()
	output, dir := profiled(t, "goroutine/tuned", "../../servers", programsOf(t))
	for _, kind := range []string{"cpu", "heap"} {
		files, err := filepath.Glob(filepath.Join(dir, kind+"-*.pprof"))
		if err != nil || len(files) != 1 || !strings.Contains(output, "not a result:") || !strings.Contains(output, "go tool pprof -http=localhost: "+files[0]) {
			t.Fatalf("profiles of kind %s: %v, %v\n%s", kind, files, err, output)
		}
		if text, err := exec.Command("go", "tool", "pprof", "-raw", files[0]).CombinedOutput(); err != nil || !strings.Contains(string(text), "Samples:") {
			t.Errorf("%s: %v, %s", files[0], err, text)
		}
	}
}

// Servers in other languages are given to perf while the phase lasts.
func TestProfileByPerf(t *testing.T) {
	servers, programs, tools := t.TempDir(), programsOf(t), t.TempDir()
	becomes(t, servers, programs, "sound")
	const perf = `#!/bin/bash
for word; do [ "$before" = -o ] && file=$word; before=$word; done
trap 'echo "$*" > "$file"; exit 130' INT
while :; do read -r -t 1 _ <> <(:) || :; done
`
	if err := os.WriteFile(filepath.Join(tools, "perf"), []byte(perf), 0o755); err != nil {
		t.Fatal(err)
	}
	output, dir := profiled(t, "sound", servers, programs, "PATH="+tools+":"+os.Getenv("PATH"))
	files, err := filepath.Glob(filepath.Join(dir, "perf-*.data"))
	if err != nil || len(files) != 1 || !strings.Contains(output, "perf report -i "+files[0]) {
		t.Fatalf("%v, %v\n%s", files, err, output)
	}
	pid := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(files[0]), "perf-"), ".data")
	if text, err := os.ReadFile(files[0]); err != nil || !strings.Contains(string(text), "record -q -F 499 -g -o "+files[0]+" -p "+pid) {
		t.Errorf("perf was told %s, %v", text, err)
	}
}
