package target

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/procfs"

	"connbench/scripts/needs"
)

// start starts a shell that prints a word when its children are there, and ends with the test.
func start(t *testing.T, script string) *exec.Cmd {
	t.Helper()
	needs.Server(t)
	c := exec.Command("sh", "-c", script)
	input, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		input.Close() // all of them read it
		c.Wait()
	})
	if _, err := bufio.NewReader(output).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return c
}

// table reads the processes of this host. Nothing of it is connbench's own.
func table(t *testing.T) Table {
	t.Helper()
	proc, err := procfs.NewDefaultFS()
	if err != nil {
		t.Fatal(err)
	}
	found, err := Read(proc, -1)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// A process is meant with all that it has started, whatever session that moved to.
func TestDescendants(t *testing.T) {
	c := start(t, `exec 3<&0; setsid cat <&3 & cat <&3 & echo; wait`)
	pids, err := table(t).Select(Target{PIDs: []int{c.Process.Pid}}, nil)
	if err != nil || len(pids) != 3 || pids[0] != c.Process.Pid {
		t.Errorf("found %v, %v; want 3 from %d on", pids, err, c.Process.Pid)
	}
}

// Our own processes are never the server.
func TestOwnProcessesAreLeftOut(t *testing.T) {
	c := start(t, `echo; cat`)
	proc, err := procfs.NewDefaultFS()
	if err != nil {
		t.Fatal(err)
	}
	own, err := Read(proc, os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if pids, err := own.Select(Target{PIDs: []int{c.Process.Pid}}, nil); err == nil {
		t.Errorf("found %v among those that this process has started", pids)
	}
}

func TestByName(t *testing.T) {
	program := filepath.Join(t.TempDir(), "my-own-chat")
	text, err := os.ReadFile("/bin/cat")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, text, 0o755); err != nil {
		t.Fatal(err)
	}
	start(t, `exec 3<&0; `+program+` <&3 & echo; wait`)
	pids, err := table(t).Select(Target{Name: "my-own-chat"}, nil)
	if err != nil || len(pids) != 1 {
		t.Errorf("found %v, %v", pids, err)
	}
	if _, err := table(t).Select(Target{Name: "no-such-program"}, nil); err == nil || !strings.Contains(err.Error(), "no processes called no-such-program") {
		t.Error(err)
	}
}

// Whoever listens is led by the parent of the same name: the master of its workers.
func TestLeaders(t *testing.T) {
	processes := Table{
		parents: map[int]int{10: 1, 11: 10, 12: 10, 20: 5, 5: 1, 30: 10},
		names:   map[int]string{1: "init", 10: "nginx", 11: "nginx", 12: "nginx", 5: "sh", 20: "node", 30: "cache"},
	}
	if got := processes.leaders([]int{11, 12, 20, 30}); !slices.Equal(got, []int{10, 20, 30}) {
		t.Errorf("led by %v", got)
	}
}

func TestInside(t *testing.T) {
	for _, test := range []struct {
		group, wanted string
		want          bool
	}{
		{"/a/b", "/a", true}, {"/a/b", "/a/b", true}, {"/a/b", "a", true}, {"/ab", "/a", false}, {"/a", "/a/b", false},
		{"/a/b", "/sys/fs/cgroup/a", true}, {"/a/b", "/sys/fs/cgroup/memory/a/", true}, {"/memory/a", "/sys/fs/cgroup/memory/a", false},
		{"/a", "/", false}, {"/", "/", false},
	} {
		if got := inside(test.group, test.wanted); got != test.want {
			t.Errorf("%s inside %s: %v", test.group, test.wanted, got)
		}
	}
}

func TestMistakes(t *testing.T) {
	for _, target := range []Target{{PIDs: []int{1 << 30}}, {Container: "no-such-container"}, {Container: "0123456789abcdef"}, {Group: "/no/such/group"}} {
		if pids, err := table(t).Select(target, nil); err == nil {
			t.Errorf("%s: found %v", target, pids)
		}
	}
	if text := fmt.Sprint(Target{PIDs: []int{4, 5}}); text != "processes 4 5" {
		t.Errorf("it is called %q", text)
	}
}

// A container has the processes in the groups that its engine has named after it.
func TestContainers(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	folder := t.TempDir()
	docker := "#!/bin/sh\n[ \"$7\" = web ] && echo " + id + "\n"
	if err := os.WriteFile(filepath.Join(folder, "docker"), []byte(docker), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
	for name, want := range map[string]string{"web": id, id[:12]: id[:12], "db": ""} {
		if got, err := idOf(name); got != want || (err == nil) != (want != "") {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
	root := t.TempDir()
	for pid, group := range map[int]string{7: "0::/system.slice/docker-" + id + ".scope\n", 8: "0::/user.slice\n"} {
		if err := os.MkdirAll(filepath.Join(root, fmt.Sprint(pid)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, fmt.Sprint(pid), "cgroup"), []byte(group), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	proc, err := procfs.NewFS(root)
	if err != nil {
		t.Fatal(err)
	}
	processes := Table{proc: proc, parents: map[int]int{7: 1, 8: 1}}
	if pids, err := processes.Select(Target{Container: "web"}, nil); err != nil || !slices.Equal(pids, []int{7}) {
		t.Errorf("found %v, %v", pids, err)
	}
}
