package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"connbench/harness/compare"
)

// brief is a plan that measures memory alone.
const brief = `
title = "A test"
variants = ["sound"]
connections = 300
rounds = 3
[ramp]
steps = 6
pause_seconds = 0.01
timeout_seconds = 10
settled = false
`

// check runs connbench bench-check against the run in folder baseline.
func check(t *testing.T, servers, bin, plan, baseline string, flags ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, complaints bytes.Buffer
	c := exec.Command(filepath.Join(bin, "connbench"), append([]string{"bench-check", "--servers", servers, "--bin", bin,
		"--plan", plan, "--against", baseline, "--results", t.TempDir()}, flags...)...)
	c.Stdout, c.Stderr = &out, &complaints
	return statusOf(t, c.Run()), out.String(), complaints.String()
}

// A server that keeps 1 MiB more for each connection than it did fails the
// check, and memory is what it fails over. The same server does not.
func TestCheckFindsAServerThatTakesMore(t *testing.T) {
	baseline := benchTest(t, brief)
	if status := baseline.exit(t); status != 0 {
		t.Fatalf("exit status %d\n%s", status, baseline.stderr.String())
	}
	dir := baseline.run(t).Dir
	plan := filepath.Join(filepath.Dir(baseline.results), "small.toml")

	// How fast it is, beside whatever else runs here, is not asked.
	var c compare.Comparison
	if _, stdout, stderr := check(t, "testdata/servers", bin(t), plan, dir, "--json"); json.Unmarshal([]byte(stdout), &c) != nil ||
		len(c.Rows) == 0 || strings.Contains(strings.Join(c.Failed, "\n"), "per_connection") {
		t.Errorf("the same server: %s\n%s", stdout, stderr)
	}

	changed, programs := hoarding(t)
	status, stdout, stderr := check(t, changed, programs, plan, dir)
	if status != 1 || !strings.Contains(stdout, "FAILED per_connection.rss_bytes>15%: sound/tuned went from") || !strings.Contains(stdout, "measured once more, to be sure: sound/tuned") {
		t.Errorf("exit status %d of the server that hoards: %s\n%s", status, stdout, stderr)
	}
	if !strings.Contains(stderr, "worse than "+dir+", in two measurements: per_connection.rss_bytes") {
		t.Errorf("it ends with %s", stderr)
	}
}

// hoarding is a folder of variants in which the program of sound has another
// fault, and one of programs, where its verdict lies: the file is the same.
func hoarding(t *testing.T) (servers, programs string) {
	t.Helper()
	servers, programs = t.TempDir(), t.TempDir()
	text, err := os.ReadFile("testdata/servers/sound/variant.toml")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(bin(t), "servers", "sound-tuned")
	changed := strings.NewReplacer(
		`["go", "build", "-o", "{program}", "../faulty"]`, fmt.Sprintf(`["cp", %q, "{program}"]`, program),
		"--fault=sound", "--fault=hoards",
	).Replace(string(text))
	if changed == string(text) {
		t.Fatalf("variant.toml of sound is not as expected:\n%s", text)
	}
	for target, source := range map[string]string{
		filepath.Join(programs, "servers", "sound-tuned.verdict.json"): program + ".verdict.json",
		filepath.Join(programs, "connbench"):                           filepath.Join(bin(t), "connbench"),
		filepath.Join(programs, "connbench-agent"):                     filepath.Join(bin(t), "connbench-agent"),
		filepath.Join(programs, "swarm"):                               filepath.Join(bin(t), "swarm"),
	} {
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(source, target); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(servers, "sound"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(servers, "sound", "variant.toml"), []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
	return servers, programs
}

func TestCheckWithoutABaselineSaysWhatToDo(t *testing.T) {
	results := t.TempDir()
	c := exec.Command(filepath.Join(bin(t), "connbench"), "bench-check", "--servers", "testdata/servers", "--bin", bin(t), "--results", results)
	text, err := c.CombinedOutput()
	if statusOf(t, err) != 2 || !strings.Contains(string(text), "connbench: no run of plan check on such a machine is published in "+results+"\nhint: make one ") || strings.Count(string(text), "\n") != 2 {
		t.Errorf("%v: %s", err, text)
	}
}

func TestFlagsAndVariantsAreCompleted(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"bench", "--plan", ""}, "million"},
		{[]string{"limits", "--lab", ""}, "netns"},
		{[]string{"lab", "check", ""}, "vagrant"},
		{[]string{"conform", "--servers", "testdata/servers", ""}, "sound"},
		{[]string{"bench", "--servers", "testdata/servers", "--variants", "sound,ca"}, "sound,capped"},
		{[]string{"limits", "--connections", ""}, "max"},
	} {
		text, err := exec.Command(filepath.Join(bin(t), "connbench"), append([]string{"__complete"}, test.args...)...).Output()
		if err != nil || !strings.Contains(string(text), test.want+"\n") {
			t.Errorf("%v: %v, %s", test.args, err, text)
		}
	}
}
