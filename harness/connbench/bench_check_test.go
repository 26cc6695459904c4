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

	"connbench/harness/build"
	"connbench/harness/compare"
	"connbench/harness/variant"
)

// brief is a plan that measures memory alone.
const brief = `
title = "A test"
variants = ["sound"]
connections = 300
keep_noisy = true
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
	return run(t, bin, append([]string{"bench-check", "--servers", servers, "--bin", bin, "--plan", plan, "--against", baseline, "--results", t.TempDir()}, flags...)...)
}

// run runs connbench of the folder bin.
func run(t *testing.T, bin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, complaints bytes.Buffer
	c := exec.Command(filepath.Join(bin, "connbench"), args...)
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

	servers, programs := t.TempDir(), programsOf(t)
	becomes(t, servers, programs, "hoards")
	status, stdout, stderr := check(t, servers, programs, plan, dir)
	if status != 1 || !strings.Contains(stdout, "FAILED per_connection.rss_bytes>15%: sound/tuned went from") || !strings.Contains(stdout, "measured once more, to be sure: sound/tuned") {
		t.Errorf("exit status %d of the server that hoards: %s\n%s", status, stdout, stderr)
	}
	if !strings.Contains(stderr, "worse than "+dir+", in two measurements: per_connection.rss_bytes") {
		t.Errorf("it ends with %s", stderr)
	}
}

// programsOf is a folder of programs with connbench's own in it.
func programsOf(t *testing.T) string {
	t.Helper()
	programs := t.TempDir()
	for _, name := range []string{"connbench", build.Agent, build.Swarm} {
		if err := os.Symlink(filepath.Join(bin(t), name), filepath.Join(programs, name)); err != nil {
			t.Fatal(err)
		}
	}
	return programs
}

// becomes writes a variant sound whose server has a fault, and builds it into programs so
// that it passes the gate.
func becomes(t *testing.T, servers, programs, fault string) variant.Variant {
	t.Helper()
	text, err := os.ReadFile("testdata/servers/sound/variant.toml")
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.NewReplacer(
		`["go", "build", "-buildvcs=false", "-o", "{program}", "../faulty"]`, fmt.Sprintf(`["cp", "-u", %q, "{program}"]`, filepath.Join(bin(t), "servers", "sound-tuned")),
		"--fault=sound", "--fault="+fault,
	).Replace(string(text))
	if changed == string(text) {
		t.Fatalf("variant.toml of sound is not as expected:\n%s", text)
	}
	file := filepath.Join(servers, "sound", variant.File)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
	all, err := variant.Discover(servers)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := buildPassing(programs, all[0]); err != nil {
		t.Fatal(err)
	}
	return all[0]
}

// A change that makes servers worse than those of a git revision is found within one run
// of both; without a change nothing is.
func TestCheckAgainstARevision(t *testing.T) {
	t.Parallel()
	repository, programs := t.TempDir(), programsOf(t)
	servers := filepath.Join(repository, "servers")
	git := func(args ...string) string {
		t.Helper()
		c := exec.Command("git", append([]string{"-c", "user.name=a", "-c", "user.email=a@example.invalid"}, args...)...)
		c.Dir = repository
		text, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, text)
		}
		return strings.TrimSpace(string(text))
	}
	earlier := becomes(t, servers, programs, "sound")
	git("init", "-q")
	git("add", ".")
	git("commit", "-q", "-m", "sound")
	git("tag", "v1")
	earlier.Name = variant.Choice{Variant: earlier}.At(git("rev-parse", "--short=10", "v1")).Name
	if _, err := buildPassing(programs, earlier); err != nil {
		t.Fatal(err)
	}
	plan := filepath.Join(t.TempDir(), "brief.toml")
	if err := os.WriteFile(plan, []byte(brief), 0o644); err != nil {
		t.Fatal(err)
	}
	checkBase := func(base string, flags ...string) (status int, stdout, stderr string) {
		return run(t, programs, append([]string{"bench-check", "--servers", servers, "--bin", programs, "--plan", plan, "--base", base, "--results", t.TempDir()}, flags...)...)
	}

	var c compare.Comparison
	if _, stdout, stderr := checkBase("v1", "--json"); json.Unmarshal([]byte(stdout), &c) != nil || len(c.Rows) == 0 || len(c.Environment) > 0 ||
		strings.Contains(strings.Join(c.Failed, "\n"), "per_connection") {
		t.Errorf("the same server: %s\n%s", stdout, stderr)
	}
	becomes(t, servers, programs, "hoards")
	comment := filepath.Join(t.TempDir(), "comment.md")
	status, stdout, stderr := checkBase("v1", "--comment", comment)
	if text, err := os.ReadFile(comment); err != nil || !strings.HasPrefix(string(text), "### connbench: ") || !strings.Contains(string(text), "per\\_connection.rss\\_bytes&gt;15%: sound/tuned went from") {
		t.Errorf("the comment is %s, %v", text, err)
	}
	if status != 1 || !strings.Contains(stdout, "FAILED per_connection.rss_bytes>15%: sound/tuned went from") ||
		!strings.Contains(stderr, ", servers of "+earlier.Name[len("sound@"):]+", in two measurements: per_connection.rss_bytes") {
		t.Errorf("exit status %d of the server that hoards: %s\n%s", status, stdout, stderr)
	}
	if left, _ := filepath.Glob(filepath.Join(programs, "base-*")); len(left) > 0 {
		t.Errorf("%v is left behind", left)
	}
	if status := git("status", "--porcelain"); status != "M servers/sound/variant.toml" {
		t.Errorf("the repository is %s", status)
	}
	for base, want := range map[string][2]string{
		"v2":   {"connbench: git rev-parse: ", "hint: name a revision of "},
		"-all": {"connbench: git rev-parse: ", "hint: name a revision of "},
	} {
		if status, _, stderr := checkBase(base); status != 2 || !strings.Contains(stderr, want[0]) || !strings.Contains(stderr, want[1]) {
			t.Errorf("%s: exit status %d, %s", base, status, stderr)
		}
	}
	if status, _, stderr := checkBase("v1", "--against", repository); status != 2 || !strings.Contains(stderr, "two baselines") {
		t.Errorf("two baselines: exit status %d, %s", status, stderr)
	}
	if err := os.RemoveAll(filepath.Join(repository, ".git")); err != nil {
		t.Fatal(err)
	}
	if status, _, stderr := checkBase("v1"); status != 2 || !strings.Contains(stderr, "hint: --base compares with a revision of the git repository that has the servers") {
		t.Errorf("no repository: exit status %d, %s", status, stderr)
	}
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
