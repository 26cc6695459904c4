package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"connbench/harness/lab"
	"connbench/harness/lab/labtest"
	"connbench/harness/record/folder"
	"connbench/scripts/needs"
)

// connbench runs a command in this process, in which a kind of lab is registered that
// the program itself does not have.
func connbench(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	c := command()
	c.SetArgs(args)
	c.SetOut(&out)
	c.SetErr(&out)
	if err := c.ExecuteContext(t.Context()); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out.String())
	}
	return out.String()
}

// A kind of lab is a folder and a line that imports it: help, completion, list and
// documentation know it then.
func TestKindOfLabIsOneEntry(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"bench", "--help"}, "netns[-CLIENTS][-ipv6][-firewall][-delay5ms][-loss1pct][-rate100mbit], toy[-SIZE], vagrant, FILE.toml (hosts that ssh reaches), FILE.toml (pods of a Kubernetes cluster), FILE.toml (nodes that Slurm allocates), FILE.toml (toys)"},
		{[]string{"__complete", "bench", "--lab", "to"}, "toy\n"},
		{[]string{"__complete", "limits", "--lab", ""}, "toy\n"},
		{[]string{"__complete", "lab", "check", ""}, "toy\n"},
		{[]string{"__complete", "lab", "list", ""}, "toy\n"},
		{[]string{"lab", "list"}, "one host for tests"},
		{[]string{"lab", "list", "toy"}, "# Lab `toy`"},
	} {
		said := strings.Join(strings.Fields(connbench(t, test.args...)), " ")
		if !strings.Contains(said, strings.TrimSpace(test.want)) {
			t.Errorf("%v: %q is not in\n%s", test.args, test.want, said)
		}
	}
	if index := lab.Index(); !strings.Contains(index, "| [`toy[-SIZE]`](toy/README.md) | one host for tests |") {
		t.Errorf("index\n%s", index)
	}
}

// Such a lab is checked, and measured on.
func TestKindOfLabIsUsed(t *testing.T) {
	t.Parallel()
	needs.Server(t)
	var hosts []lab.Health
	if err := json.Unmarshal([]byte(connbench(t, "lab", "check", "--json", "--bin", bin(t), "toy-1")), &hosts); err != nil {
		t.Fatal(err)
	}
	if len(hosts) != 1 || hosts[0].Name != labtest.Name || hosts[0].Connects != 64 || len(hosts[0].Problems) > 0 {
		t.Errorf("hosts %+v", hosts)
	}
	dir := t.TempDir()
	plan, file := filepath.Join(dir, "small.toml"), filepath.Join(dir, "box.toml")
	for path, text := range map[string]string{plan: fmt.Sprintf(small, false, 0, 0.1), file: "kind = \"toy\"\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"toy-1": "toy-1", file: "box"} {
		results := t.TempDir()
		connbench(t, "bench", "--servers", "testdata/servers", "--bin", bin(t), "--plan", plan, "--lab", name, "--results", results)
		runs, err := filepath.Glob(filepath.Join(results, "*"))
		if err != nil || len(runs) != 1 {
			t.Fatalf("runs %v, error %v", runs, err)
		}
		run, err := folder.Open(runs[0])
		if err != nil {
			t.Fatal(err)
		}
		if run.Manifest.Lab != want || run.Manifest.LabKind != labtest.Name || !run.Trials[0].Valid || !run.Manifest.SharedKernel {
			t.Errorf("%s: manifest of lab %q of kind %q, shared kernel %v, trial %+v", name, run.Manifest.Lab, run.Manifest.LabKind, run.Manifest.SharedKernel, run.Trials[0].Invalid)
		}
	}
}

// Names that are no lab's, and files that are of no kind.
func TestNoSuchLab(t *testing.T) {
	folder := t.TempDir()
	for name, text := range map[string]string{"netns-x.toml": "", "odd.toml": `kind = "nowhere"`, "old.toml": `lab = "hosts"`, "empty.toml": ""} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"moon":                                `there is no lab "moon"`,
		"hosts":                               `there is no lab "hosts"`,
		"netns-":                              `there is no lab "netns-"`,
		filepath.Join(folder, "netns-x.toml"): "rename the file",
		filepath.Join(folder, "odd.toml"):     `kind = "nowhere" is no kind of lab that has a file`,
		filepath.Join(folder, "old.toml"):     "unknown key \"lab\"\nhint: this key is now called kind",
		filepath.Join(folder, "empty.toml"):   `0 have role = "server"`,
		filepath.Join(folder, "no.toml"):      "there is no file",
	} {
		c := exec.CommandContext(context.Background(), filepath.Join(bin(t), "connbench"), "lab", "check", name)
		output, err := c.CombinedOutput()
		if status := statusOf(t, err); status != 2 || !strings.Contains(string(output), want) {
			t.Errorf("%s: exit status %d, said %s", name, status, output)
		}
	}
}
