package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"connbench/harness/agent/children"
	"connbench/harness/cause"
	"connbench/harness/lab/netns/namespaces"
	"connbench/scripts/needs"
)

// shellHosts are network namespaces that a shell enters: an engine as small as can be.
type shellHosts struct {
	file     string
	networks map[string]bool
	before   []int // the processes that run there before anything is measured
}

// startShellHosts makes a server host and two client hosts.
func startShellHosts(t *testing.T) *shellHosts {
	t.Helper()
	needs.Namespaces(t)
	needs.Tools(t, "nsenter")
	network := namespaces.Network{Clients: 2}
	running, err := namespaces.Start([]string{filepath.Join(bin(t), "connbench"), "lab", "helper", "netns", filepath.Join(bin(t), "connbench-agent")}, network)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(running.Close)
	folder := t.TempDir()
	f := &shellHosts{file: filepath.Join(folder, "pipes.toml"), networks: map[string]bool{}}
	var text strings.Builder
	for i, h := range network.Hosts() {
		inside, err := running.Agents[i].Start(t.Context(), children.Start{Command: []string{"sleep", "infinity"}})
		if err != nil {
			t.Fatal(err)
		}
		role, address := "client", h.More.String()
		if i == 0 {
			role, address = "server", h.Address.Addr().String()
		}
		// The pipe has an end here and one there, as that of an engine has: with a process
		// at each that carries bytes.
		fmt.Fprintf(&text, `[[host]]
name = %q
role = %q
addresses = [%q]
via = ["sh", "-c", 'cat | XDG_CACHE_HOME=%s nsenter --net=/proc/%d/ns/net "$@" | cat', %q]
`, h.Name, role, address, filepath.Join(folder, h.Name), inside.PID, pipeTo+h.Name)
		f.networks[networkOf(inside.PID)] = true
	}
	if err := os.WriteFile(f.file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	f.before = processesIn(t, f.networks)
	return f
}

// pipeTo is how the shell of a host's pipe is called.
const pipeTo = "pipe-to-"

// killPipe kills what carries the bytes to and from a host.
func killPipe(t *testing.T, c *benchRun, host string) {
	t.Helper()
	killed := 0
	for _, pid := range c.family() {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if !strings.Contains(string(line), "\x00"+pipeTo+host+"\x00") {
			continue
		}
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, child := range append(strings.Fields(string(children)), strconv.Itoa(pid)) {
			number, err := strconv.Atoi(child)
			if err != nil {
				t.Fatal(err)
			}
			line, _ := os.ReadFile("/proc/" + child + "/cmdline")
			if number == pid || string(line) == "cat\x00" {
				syscall.Kill(number, syscall.SIGKILL)
				killed++
			}
		}
	}
	if killed < 3 {
		t.Fatalf("%d processes of the pipe to %s were found", killed, host)
	}
}

// A plain shell is an engine: its hosts are measured; a pipe that is killed makes its trial
// invalid, and the next one runs.
func TestAnyCommandIsAWayToAHost(t *testing.T) {
	t.Parallel()
	f := startShellHosts(t)
	plan := strings.Replace(fmt.Sprintf(small, false, 0, 0.3), "[ramp]\n", "[ramp]\nrate_per_second = 100\n", 1)
	c := benchTest(t, plan, "--lab", f.file, "--rounds", "2")
	c.start(t, "  ramp")
	killPipe(t, c, "client1")
	if status := statusOf(t, c.Wait()); status != 1 {
		t.Errorf("exit status %d, with an invalid trial", status)
	}
	run := c.run(t)
	trials := asked(run)
	if run.Manifest.LabKind != "hosts" || len(trials) != 2 {
		t.Fatalf("a lab of kind %q, %d trials\n%s", run.Manifest.LabKind, len(trials), c.said())
	}
	if said := strings.Join(trials[0].Invalid, "\n"); trials[0].Valid || trials[0].Stop.Reason != cause.HostLost.Reason || !strings.Contains(said, "host client1: ") {
		t.Errorf("stop %+v, invalid because %q", trials[0].Stop, said)
	}
	if census := trials[1].Connections.Census; !trials[1].Valid || *census.Swarm != 240 || *census.Server != 240 {
		t.Errorf("the next trial: census %+v, invalid because %v", census, trials[1].Invalid)
	}
	awaitEnd(t, slices.DeleteFunc(processesIn(t, f.networks), func(pid int) bool { return slices.Contains(f.before, pid) }))
}

// A command that reaches no host ends the run with one line and a hint, and leaves nothing behind.
func TestWayToAHostLeadsNowhere(t *testing.T) {
	t.Parallel()
	for via, want := range map[string][]string{
		`["connbench-no-such-command"]`:                {"host client1: connbench-no-such-command is missing here", "hint: install it"},
		`["sh", "-c", "echo no such pod >&2; exit 1"]`: {"host client1: no such pod", "hint: this must work: sh -c "},
	} {
		file := filepath.Join(t.TempDir(), "pipes.toml")
		text := fmt.Sprintf("[[host]]\nname = \"server\"\nrole = \"server\"\nvia = [\"env\"]\naddresses = [\"127.0.0.1\"]\n"+
			"[[host]]\nname = \"client1\"\nrole = \"client\"\nvia = %s\naddresses = [\"127.0.0.2\"]\n", via)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c := benchTest(t, fmt.Sprintf(small, false, 0, 0.1), "--lab", file)
		needs.Namespaces(t) // this host's own may be measured by another test
		c.Args = append([]string{"unshare", "--net", "sh", "-c", `ip link set lo up && exec "$0" "$@"`, c.Path}, c.Args[1:]...)
		c.Path, _ = exec.LookPath("unshare")
		if status := c.exit(t); status != 1 {
			t.Errorf("%s: exit status %d", via, status)
		}
		lines := strings.Split(strings.TrimSpace(c.stderr.String()), "\n")
		if n := len(lines); n < 2 || !strings.HasPrefix(lines[n-2], "connbench: "+want[0]) || !strings.HasPrefix(lines[n-1], want[1]) {
			t.Errorf("%s: said %q, want %q", via, lines, want)
		}
	}
}
