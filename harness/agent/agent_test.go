package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"connbench/harness/agent/children"
	"connbench/harness/reading"
)

// The test binary plays the agent, a harness, and the programs that it starts.
func TestMain(m *testing.M) {
	switch os.Getenv("AGENT_TEST_ROLE") {
	case "":
		os.Exit(m.Run())
	case "agent":
		os.Unsetenv("AGENT_TEST_ROLE")
		if err := Serve(os.Stdin, os.Stdout, Options{}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "remote":
		if err := Serve(os.Stdin, os.Stdout, Options{Alone: true, Silence: time.Hour}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "deserted":
		if err := Serve(os.Stdin, os.Stdout, Options{Silence: time.Second}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "harness":
		playHarness()
	}
}

// dial starts an agent that keeps its programs in a folder of the test.
func dial(t *testing.T) *Client {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	c, err := dialSelf()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func dialSelf() (*Client, error) { return dialRole("agent") }

func dialRole(role string) (*Client, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return Dial("test", []string{"env", "AGENT_TEST_ROLE=" + role, self})
}

// start starts a shell with a script.
func start(t *testing.T, c *Client, what children.Start) *Process {
	t.Helper()
	p, err := c.Start(t.Context(), what)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func shell(script string) children.Start {
	return children.Start{Command: []string{"sh", "-c", script}}
}

// await bounds a wait, generously: the host may be busy.
func await[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(time.Minute):
		t.Fatalf("no %s within a minute", what)
		panic("unreachable")
	}
}

func TestProcessIsTalkedTo(t *testing.T) {
	c := dial(t)
	p := start(t, c, shell(`read word; echo "heard $word"; echo "bad luck" >&2; exit 3`))
	if err := p.Write(t.Context(), "hello"); err != nil {
		t.Fatal(err)
	}
	if line := await(t, p.Lines, "answer"); line != "heard hello" {
		t.Errorf("line %q", line)
	}
	await(t, p.Exited(), "exit")
	if got := p.Exit().String(); got != "exit status 3: bad luck" {
		t.Errorf("exit %q", got)
	}
}

func TestEndOfInputReachesProcess(t *testing.T) {
	c := dial(t)
	p := start(t, c, shell(`cat >/dev/null; echo over`))
	if err := p.CloseInput(t.Context()); err != nil {
		t.Fatal(err)
	}
	if line := await(t, p.Lines, "line"); line != "over" {
		t.Errorf("line %q", line)
	}
	await(t, p.Exited(), "exit")
}

func TestOnlyTheHarnessSetsUpGo(t *testing.T) {
	t.Setenv("GOGC", "12345")
	t.Setenv("GODEBUG", "gctrace=0")
	c := dial(t)
	what := shell(`echo "gogc=$GOGC godebug=$GODEBUG gomaxprocs=$GOMAXPROCS"`)
	what.Environment = map[string]string{"GOMAXPROCS": "7"}
	p := start(t, c, what)
	if line := await(t, p.Lines, "line"); line != "gogc= godebug= gomaxprocs=7" {
		t.Errorf("environment: %s", line)
	}
}

func TestProcessRunsOnItsCPUs(t *testing.T) {
	var usable unix.CPUSet
	if err := unix.SchedGetaffinity(0, &usable); err != nil {
		t.Fatal(err)
	}
	last := -1
	for cpu := range 1024 {
		if usable.IsSet(cpu) {
			last = cpu
		}
	}
	c := dial(t)
	what := shell(`grep Cpus_allowed_list /proc/self/status`)
	what.CPUs = []int{last}
	if line := await(t, start(t, c, what).Lines, "line"); line != fmt.Sprintf("Cpus_allowed_list:\t%d", last) {
		t.Errorf("%s, want CPU %d alone", line, last)
	}
	// The next one must not inherit what was for the last one.
	line := await(t, start(t, c, shell(`grep Cpus_allowed_list /proc/self/status`)).Lines, "line")
	if want, err := os.ReadFile("/proc/self/status"); err != nil || !strings.Contains(string(want), line) {
		t.Errorf("%s is not what the agent itself may use", line)
	}
}

func TestMissingProgramIsNamed(t *testing.T) {
	c := dial(t)
	_, err := c.Start(t.Context(), children.Start{Command: []string{"/nonexistent/server"}})
	if err == nil || !strings.Contains(err.Error(), "/nonexistent/server") {
		t.Errorf("error %v", err)
	}
}

func TestMeasure(t *testing.T) {
	c := dial(t)
	p := start(t, c, shell(`echo up; read end`))
	await(t, p.Lines, "line")
	m, err := c.Measure(t.Context(), []*Process{p}, true)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Processes) != 1 || m.Processes[0].PID != p.PID || *m.Processes[0].RSSBytes == 0 || m.System.Clock == 0 {
		t.Errorf("measured %+v", m)
	}
	tree, err := p.Tree(t.Context())
	if err != nil || tree.RSSBytes == 0 {
		t.Errorf("tree %+v, error %v", tree, err)
	}
	if err := p.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, p.Exited(), "exit")
	if got := p.Exit().Signal; got != "killed" {
		t.Errorf("ended by %q", got)
	}
	if _, err := c.Measure(t.Context(), []*Process{p}, false); err == nil || !strings.Contains(err.Error(), "has ended") {
		t.Errorf("measuring what has ended: error %v", err)
	}
}

// A server may be several processes. What one has used that has ended stays in the sum.
func TestDescendantsAreMeasured(t *testing.T) {
	c := dial(t)
	p := start(t, c, shell(`sh -c 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo $$; exec sleep 1000' & read go; kill $!; wait; echo gone; read end`))
	child, err := strconv.Atoi(await(t, p.Lines, "line"))
	if err != nil {
		t.Fatal(err)
	}
	measure := func(detail bool, want ...int) (last reading.Process) {
		t.Helper()
		m, err := c.Measure(t.Context(), []*Process{p}, detail)
		if err != nil {
			t.Fatal(err)
		}
		var pids []int
		for _, last = range m.Processes {
			pids = append(pids, last.PID)
		}
		if !slices.Equal(pids, want) {
			t.Fatalf("measured processes %v, want %v", pids, want)
		}
		return last
	}
	before := measure(true, p.PID, child)
	if *before.CPUSeconds == 0 || *before.RSSBytes == 0 {
		t.Errorf("of the child: %+v", before)
	}
	before = measure(false, p.PID, child)
	if err := p.Write(t.Context(), "go"); err != nil {
		t.Fatal(err)
	}
	await(t, p.Lines, "line")
	for _, detail := range []bool{false, true} {
		if ended := measure(detail, p.PID, 0); *ended.CPUSeconds < *before.CPUSeconds || *ended.RSSBytes != 0 {
			t.Errorf("after the end of the child: %+v, before %+v", ended, before)
		}
	}
}

// Where memory runs out a process goes, and what it has started, and not the agent.
func TestProcessesAreExpendable(t *testing.T) {
	p := start(t, dial(t), shell(`read go; cat /proc/$PPID/oom_score_adj; cat /proc/self/oom_score_adj; read end`))
	if err := p.Write(t.Context(), "go"); err != nil {
		t.Fatal(err)
	}
	if agent := await(t, p.Lines, "the agent's"); agent == "1000" {
		t.Error("the agent is expendable")
	}
	if child := await(t, p.Lines, "the child's"); child != "1000" {
		t.Errorf("a child of the process has %s", child)
	}
}

// The kernel's memory is reported for grouped processes, and for no others.
func TestKernelMemoryOfAGroup(t *testing.T) {
	c := dial(t)
	kernelBytes := func() *int64 {
		m, err := c.Measure(t.Context(), nil, true)
		if err != nil {
			t.Fatal(err)
		}
		return m.GroupKernelBytes
	}
	await(t, start(t, c, shell(`echo up; read end`)).Lines, "line")
	if got := kernelBytes(); got != nil {
		t.Errorf("%d bytes of a group that nothing is in", *got)
	}
	what := shell(`echo up; read end`)
	what.Grouped = true
	p := start(t, c, what)
	await(t, p.Lines, "line")
	if len(groupsOf(p.PID)) == 0 {
		t.Skip("this host lets us make no memory control group")
	}
	if kernelBytes() == nil {
		t.Error("what the kernel keeps for the group is not told")
	}
}

func TestProgramIsCarriedOnceAndChecked(t *testing.T) {
	c := dial(t)
	program := filepath.Join(t.TempDir(), "hello")
	text := "#!/bin/sh\necho carried\n" + strings.Repeat("# padding over several pieces\n", 3*pieceBytes/30)
	if err := os.WriteFile(program, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	path, err := c.Carry(t.Context(), program)
	if err != nil {
		t.Fatal(err)
	}
	if line := await(t, start(t, c, children.Start{Command: []string{path}}).Lines, "line"); line != "carried" {
		t.Errorf("line %q", line)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.Carry(t.Context(), program)
	if err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(again); err != nil || again != path || !os.SameFile(before, after) {
		t.Errorf("carried again to %s", again)
	}
	// One that was damaged where it lay is replaced.
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho damaged\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if path, err = c.Carry(t.Context(), program); err != nil {
		t.Fatal(err)
	}
	if line := await(t, start(t, c, children.Start{Command: []string{path}}).Lines, "line"); line != "carried" {
		t.Errorf("line %q", line)
	}
}

func TestLostAgentEndsEverythingThatWaits(t *testing.T) {
	c := dial(t)
	p := start(t, c, shell(`echo up; read end`))
	await(t, p.Lines, "line")
	if err := c.command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	await(t, p.Exited(), "exit")
	_, called := c.Spin(t.Context())
	for _, err := range []error{p.Exit().Lost, called, c.Lost()} {
		var lost *LostError
		if !errors.Is(err, ErrHostLost) || !errors.As(err, &lost) || lost.Host != "test" || !strings.Contains(lost.Why, "its agent ended") {
			t.Errorf("error %v, want that host test is lost", err)
		}
	}
	if got := p.Exit().String(); !strings.HasPrefix(got, "host test: its agent ended") {
		t.Errorf("exit %q", got)
	}
	awaitGone(t, p.PID)
}

func TestCancelledCallReturns(t *testing.T) {
	c := dial(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Spin(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// What is no message of the protocol ends the agent, and with it the host.
func TestNoAgentAtTheOtherEnd(t *testing.T) {
	for _, test := range []struct{ script, want string }{
		{`echo hello; exec sleep 1000`, "its agent's answer: "},
		{`head -c 20000000 /dev/zero; exec sleep 1000`, "its agent's answer: line too long"},
		{`exit 255`, "the connection to its agent was lost"},
		{`exit 3`, "its agent ended: exit status 3"},
		{`echo lightning >&2`, "its agent ended: lightning"},
	} {
		c, err := Dial("test", []string{"sh", "-c", test.script})
		if err != nil {
			t.Fatal(err)
		}
		await(t, c.gone, "end of "+test.script)
		if err := c.Lost(); !errors.Is(err, ErrHostLost) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", test.script, err, test.want)
		}
	}
}

func TestUnknownRequest(t *testing.T) {
	_, err := call(t.Context(), dial(t), method[none, none]{"dance"}, none{})
	if err == nil || !strings.Contains(err.Error(), `unknown request "dance"`) || errors.Is(err, ErrHostLost) {
		t.Errorf("error %v", err)
	}
}

// playHarness starts a family of processes, prints their numbers and waits to be
// killed.
func playHarness() {
	c, err := dialSelf()
	if err != nil {
		panic(err)
	}
	// One ignores the end of its input and polite signals, one has a child.
	what := shell(`trap '' TERM; sh -c 'echo $$; while :; do sleep 1; done' & echo $$; while :; do sleep 1; done`)
	what.Grouped = true
	p, err := c.Start(context.Background(), what)
	if err != nil {
		panic(err)
	}
	fmt.Println(c.command.Process.Pid)
	fmt.Println(<-p.Lines)
	fmt.Println(<-p.Lines)
	select {}
}

func TestKilledHarnessLeavesNothing(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	harness := exec.Command(self)
	harness.Env = append(os.Environ(), "AGENT_TEST_ROLE=harness")
	output, err := harness.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := harness.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(output)
	var pids []int
	for len(pids) < 3 && lines.Scan() {
		pid, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	if len(pids) != 3 || slices.ContainsFunc(pids, gone) {
		t.Fatalf("agent, process and child %v do not all live", pids)
	}
	groups := groupsOf(pids[1])
	if err := harness.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	harness.Wait()
	for _, pid := range pids {
		awaitGone(t, pid)
	}
	for _, group := range groups {
		if _, err := os.Stat(group); err == nil {
			t.Errorf("%s has stayed behind", group)
		}
	}
}

// groupsOf are the folders of control groups that were made for a process, as they
// are commonly mounted; none where the host does not let us make one.
func groupsOf(pid int) (folders []string) {
	memberships, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	for line := range strings.Lines(string(memberships)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) == 3 && strings.Contains(fields[2], "/connbench-") {
			folders = append(folders, filepath.Join("/sys/fs/cgroup", fields[1], fields[2]))
		}
	}
	return folders
}

// gone tells whether no such process runs: a zombie that waits for init does not.
func gone(pid int) bool {
	if syscall.Kill(pid, 0) == syscall.ESRCH {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

func awaitGone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !gone(pid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d still runs a minute later", pid)
		}
	}
}

func TestProcessHasAllDescriptorsThatItMay(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c, err := Dial("test", []string{"sh", "-c", "ulimit -Sn 100; AGENT_TEST_ROLE=agent exec " + self})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if line := await(t, start(t, c, shell("ulimit -Sn")).Lines, "line"); line != fmt.Sprint(limit.Max) {
		t.Errorf("soft limit %s, want the hard one, %d", line, limit.Max)
	}
}

// The second agent refuses and names the first; when that has been killed, the
// place is free.
func TestOneRemoteAgentAtATime(t *testing.T) {
	first, err := dialRole("remote")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := first.Spin(t.Context()); err != nil {
		if strings.Contains(err.Error(), "another run is on this host") {
			t.Skip("somebody else measures on this host:", err)
		}
		t.Fatal(err)
	}
	second, err := dialRole("remote")
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	want := fmt.Sprintf("another run is on this host, its agent is process %d of user %d", first.command.Process.Pid, os.Getuid())
	if _, err := second.Spin(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
	if err := first.command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	await(t, first.gone, "end of the first")
	third, err := dialRole("remote")
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	if _, err := third.Spin(t.Context()); err != nil {
		t.Errorf("the place is not free: %v", err)
	}
}

// An agent that nobody speaks to ends, with all that it started, though its pipe
// is open.
func TestDesertedAgentEnds(t *testing.T) {
	c, err := dialRole("deserted")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := start(t, c, shell(`echo up; while :; do sleep 1; done`))
	await(t, p.Lines, "line")
	await(t, c.gone, "end of the agent")
	if err := c.Lost(); !strings.Contains(err.Error(), "nothing heard from the harness for 1s") {
		t.Errorf("lost: %v", err)
	}
	awaitGone(t, p.PID)
}

// A long run's programs are in use for as long as it starts any.
func TestCacheKeepsWhatARunUses(t *testing.T) {
	c := dial(t)
	program := filepath.Join(t.TempDir(), "hello")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho carried\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	path, err := c.Carry(t.Context(), program)
	if err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-24 * time.Hour)
	if err := os.Chtimes(filepath.Dir(path), old, old); err != nil {
		t.Fatal(err)
	}
	await(t, start(t, c, children.Start{Command: []string{path}}).Lines, "line")
	info, err := os.Stat(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if time.Since(info.ModTime()) > time.Hour {
		t.Errorf("its folder counts as used at %v", info.ModTime())
	}
}
