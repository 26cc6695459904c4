package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"connbench/harness/connbench/flags"
	"connbench/harness/explain"
	"connbench/harness/record/recordtest"
)

// said runs a command line within the test, and returns what it prints and its exit
// status.
func said(args ...string) (text string, status int) {
	var out bytes.Buffer
	c := command()
	c.SetArgs(args)
	c.SetOut(&out)
	c.SetErr(&out)
	if err := c.Execute(); err != nil {
		status = explain.Print(&out, err)
	}
	return out.String(), status
}

// What makes no sense is refused at once, with the name of the flag, and nothing is
// begun: no server is built, no folder made.
func TestMistakesOfTheCommandLine(t *testing.T) {
	run := recordtest.Write(t, recordtest.Default)
	results := filepath.Join(t.TempDir(), "results")
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"bnech"}, `unknown command "bnech"`},
		{[]string{"report"}, "accepts 1 arg(s), received 0"},
		{[]string{"report", "/nonexistent"}, "there is no run /nonexistent\nhint: "},
		{[]string{"compare", run, "/nonexistent"}, "there is no run /nonexistent\nhint: "},
		{[]string{"compare", run, run, "--fail-on", "speed>5%"}, "--fail-on: condition"},
		{[]string{"compare", run, run, "--json", "--markdown"}, "either --json or --markdown"},
		{[]string{"capacity", run, "--cores", "nan"}, `"--cores" flag: it must be a positive number`},
		{[]string{"capacity", run, "--cores", "inf"}, `"--cores" flag: it must be a positive number`},
		{[]string{"capacity", run, "--cores", "0"}, `"--cores" flag: it must be a positive number`},
		{[]string{"capacity", run, "--cores", "1e300"}, `"--cores" flag: it must be a positive number, and at most 1e+06`},
		{[]string{"capacity", run, "--messages-per-second", "-1"}, `"--messages-per-second" flag: it must be a positive number`},
		{[]string{"capacity", run, "--message-bytes", "2000000000", "--cores", "1"}, `"--message-bytes" flag: it must be from 1 to`},
		{[]string{"capacity", run, "--message-bytes", "64"}, "--message-bytes takes --messages-per-second or --cores as well"},
		{[]string{"capacity", run, "--connections", "9223372036854775807"}, `"--connections" flag: connections is 9223372036854775807`},
		{[]string{"capacity", run, "--connections", "-5"}, "connections is -5"},
		{[]string{"capacity", run, "--connections", "5", "--budget", "1GiB"}, "either --connections or --budget"},
		{[]string{"capacity", run, "--lab", "local"}, "lab local is on this machine"},
		{[]string{"capacity", run, "--lab", "nosuch.toml"}, "there is no file nosuch.toml"},
		{[]string{"capacity", run, "--budget", "nan"}, `"--budget" flag: "nan" is no amount of memory`},
		{[]string{"limits", "--connections", "0"}, "connections is 0"},
		{[]string{"limits", "--processes", "-1"}, "server.processes is -1"},
		{[]string{"limits", "--engine", "dpdk"}, `client.engine is "dpdk"`},
		{[]string{"bench", "--results", results, "--plan", "nosuch"}, `there is no plan "nosuch"`},
		{[]string{"bench", "--results", results, "--plan", "quick", "--rounds", "1e3"}, `"--rounds" flag: it must be a whole number`},
		{[]string{"bench", "--results", results, "--plan", "quick", "--rounds", "99999999999999999999"}, `"--rounds" flag: it must be a whole number`},
		{[]string{"bench", "--results", results, "--plan", "quick", "--processes", "9223372036854775807"}, "server.processes is 9223372036854775807"},
		{[]string{"bench", "--results", results, "--plan", "quick", "--variants", "nosuch"}, `there is no variant "nosuch"`},
		{[]string{"bench", "--results", results, "--plan", "quick", "--lab", "moon"}, `there is no lab "moon"`},
		{[]string{"lab", "check", "netns", "--engine", "dpdk"}, `--engine "dpdk"`},
	} {
		text, status := said(test.args...)
		if status != explain.StatusUsage || !strings.HasPrefix(text, "connbench: ") || !strings.Contains(text, test.want) {
			t.Errorf("%v: exit status %d, said %q, want %q", test.args, status, text, test.want)
		}
	}
	if _, err := os.Stat(results); err == nil {
		t.Error("a folder is left behind")
	}
}

// A flag means the same in each command that has it.
func TestFlagsMeanTheSame(t *testing.T) {
	type help struct{ usage, kind string }
	seen := map[string]help{}
	var look func(c *cobra.Command)
	look = func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			here := help{f.Usage, f.Value.Type()}
			if before, known := seen[f.Name]; known && before != here {
				t.Errorf("--%s of %s is %q, elsewhere %q", f.Name, c.Name(), here, before)
			}
			seen[f.Name] = here
			if complete, set := c.GetFlagCompletionFunc(f.Name); f.Value.Type() != "bool" && (!set || complete == nil) {
				t.Errorf("--%s of %s is not completed", f.Name, c.Name())
			}
		})
		for _, sub := range c.Commands() {
			look(sub)
		}
	}
	look(command())
	for _, name := range flags.Names() {
		if _, used := seen[name]; !used {
			t.Errorf("no command has --%s", name)
		}
	}
}

func TestCapacityOfARun(t *testing.T) {
	run := recordtest.Write(t, recordtest.Default)
	text, status := said("capacity", run, "--connections", "1_000_000", "--messages-per-second", "5e4")
	if status != 0 || !strings.Contains(text, "floor/tuned") || !strings.Contains(text, "1,000,000") {
		t.Errorf("exit status %d\n%s", status, text)
	}
}

// A lab file says what the hosts have; none of them is reached.
func TestCapacityOfALab(t *testing.T) {
	run := recordtest.Write(t, recordtest.Default)
	file := filepath.Join(t.TempDir(), "k8s.toml")
	write := func(memory string) {
		t.Helper()
		if err := os.WriteFile(file, []byte("kind = \"kubernetes\"\n[server]\nlimits = {"+memory+"}\n[clients]\ncount = 100\nsysctls = { \"net.ipv4.ip_local_port_range\" = \"1024 65535\" }\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`memory = "64Gi"`)
	for _, more := range [][]string{{"--connections", "10000000"}, nil} {
		text, status := said(append([]string{"capacity", run, "--lab", file}, more...)...)
		for _, want := range []string{"lab k8s (kubernetes): a server with 64.0 GiB, 100 clients", "connecting", "memory of the server", "set ports = "} {
			if status != 0 || !strings.Contains(text, want) {
				t.Errorf("%v: exit status %d, %q is missing in\n%s", more, status, want, text)
			}
		}
	}
	write("")
	text, status := said("capacity", run, "--lab", file)
	if status != 2 || !strings.Contains(text, "does not say how much memory the server has") {
		t.Errorf("exit status %d\n%s", status, text)
	}
}
