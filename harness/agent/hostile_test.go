package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"connbench/harness/agent/children"
)

// pidIn waits for a process to write a number into a file.
func pidIn(t *testing.T, file string) int {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		text, _ := os.ReadFile(file)
		if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && strings.HasSuffix(string(text), "\n") {
			return pid
		}
		if time.Now().After(deadline) {
			t.Fatalf("no number in %s within a minute: %q", file, text)
		}
	}
}

// What a process leaves behind is ended with it, in whatever session it is, whatever it
// holds and whatever it knows of itself; and it is named.
func TestNothingIsLeftBehind(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		left   []string
	}{
		"nothing":                    {`echo $$ >"$FILE"`, nil},
		"in its group":               {`sleep 1000 & echo $! >"$FILE"`, []string{"sleep"}},
		"in a session of its own":    {`setsid sleep 1000 & echo $! >"$FILE"`, []string{"sleep"}},
		"with its output elsewhere":  {`setsid sleep 1000 >/dev/null 2>&1 </dev/null & echo $! >"$FILE"`, []string{"sleep"}},
		"without its environment":    {`env -i setsid sleep 1000 & echo $! >"$FILE"`, []string{"sleep"}},
		"grandchild, parent is gone": {`(setsid sh -c 'sleep 1000 & echo $! >"$FILE"' &)`, []string{"sleep"}},
		// Its child becomes ours only when it has been ended.
		"with a child of its own": {`setsid sh -c 'sleep 1000 & echo $! >"$FILE"; wait' &`, []string{"sh", "sleep"}},
		"a stopped one":           {`setsid sh -c 'echo $$ >"$FILE"; kill -STOP $$' &`, []string{"sh"}},
		"that ignores signals":    {`trap '' TERM INT HUP; setsid sh -c 'echo $$ >"$FILE"; while :; do read x </dev/zero; done' &`, []string{"sh"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := dialSelf()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			file := filepath.Join(t.TempDir(), "pid")
			p := start(t, c, children.Start{Command: []string{"sh", "-c", test.script + "\nread end"}, Environment: map[string]string{"FILE": file}})
			pid := pidIn(t, file)
			awaitName(pid, test.left)
			if err := p.CloseInput(t.Context()); err != nil {
				t.Fatal(err)
			}
			await(t, p.Exited(), "exit")
			if got := p.Exit().Left; !slices.Equal(got, test.left) {
				t.Errorf("left are %q, want %q", got, test.left)
			}
			if !gone(pid) {
				t.Errorf("process %d runs", pid)
			}
		})
	}
}

// awaitName waits until a process, unless it has ended, has executed what gives it one of the
// names; without names it does not wait.
func awaitName(pid int, names []string) {
	for deadline := time.Now().Add(time.Minute); len(names) > 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err != nil || slices.Contains(names, strings.TrimSpace(string(name))) {
			return
		}
	}
}

// A process that the harness kills has no time to end others: none is named.
func TestKilledProcessLeavesNothing(t *testing.T) {
	c := dial(t)
	file := filepath.Join(t.TempDir(), "pid")
	p := start(t, c, children.Start{Command: []string{"sh", "-c", `setsid sleep 1000 & echo $! >"$FILE"; wait`}, Environment: map[string]string{"FILE": file}})
	pid := pidIn(t, file)
	if err := p.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, p.Exited(), "exit")
	if exit := p.Exit(); len(exit.Left) > 0 || exit.Fault != "" || exit.Signal != "killed" {
		t.Errorf("exit %+v", exit)
	}
	if !gone(pid) {
		t.Errorf("process %d runs", pid)
	}
}

// A folder that a process has moved away is left alone while that process runs, even if
// another one ends.
func TestProcessesKeepTheirOwn(t *testing.T) {
	c := dial(t)
	file := filepath.Join(t.TempDir(), "pid")
	first := start(t, c, children.Start{Command: []string{"sh", "-c", `(setsid sleep 1000 >/dev/null 2>&1 & echo $! >"$FILE"); read end`}, Environment: map[string]string{"FILE": file}})
	pid := pidIn(t, file)
	awaitName(pid, []string{"sleep"})
	second := start(t, c, shell("true"))
	await(t, second.Exited(), "exit")
	if gone(pid) || len(second.Exit().Left) > 0 {
		t.Errorf("the first one's is gone: %v; the second has left %q", gone(pid), second.Exit().Left)
	}
	if err := first.CloseInput(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, first.Exited(), "exit")
	if got := first.Exit().Left; !slices.Equal(got, []string{"sleep"}) || !gone(pid) {
		t.Errorf("the first one has left %q", got)
	}
}

// An agent that is killed cannot end what its processes moved to other sessions: the
// next agent on the host does, and touches nobody else's.
func TestNextAgentEndsWhatAKilledOneHasLeft(t *testing.T) {
	c, err := dialSelf()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	folder := t.TempDir()
	file := filepath.Join(folder, "pid")
	start(t, c, children.Start{Command: []string{"sh", "-c", `setsid sleep 1000 & echo $! >"$FILE"; wait`}, Environment: map[string]string{"FILE": file}})
	pid := pidIn(t, file)
	other := start(t, dial(t), shell(`echo up; read end`))
	await(t, other.Lines, "line")
	if err := c.command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	await(t, c.gone, "end of the agent")
	if _, err := dial(t).Spin(t.Context()); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, pid)
	if gone(other.PID) {
		t.Error("the process of an agent that lives is gone, too")
	}
}

// A line has a bound, and so have the bytes that wait to be read. A process that writes
// more is killed, and only a little of it is quoted.
func TestFloods(t *testing.T) {
	for name, test := range map[string]struct {
		script, want string
		longest      int
	}{
		"no end of line":     {`exec tr '\0' x </dev/zero`, `killed because it wrote a line of more than 65536 bytes to its standard output: "xxxx`, 0},
		"a bound of its own": {`head -c 2000 /dev/zero | tr '\0' x; echo; exec sleep 1000`, `killed because it wrote a line of more than 1000 bytes`, 1000},
		"no end of lines":    {`exec yes`, `killed because it wrote 1024 lines to its standard output that nobody had asked for`, 0},
		"no end of errors":   {`head -c 100000000 /dev/zero >&2; echo bad luck >&2; exit 3`, `exit status 3: `, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t)
			what := shell(test.script)
			what.LongestLine = test.longest
			p := start(t, c, what)
			await(t, p.Exited(), "exit")
			if got := p.Exit().String(); !strings.HasPrefix(got, test.want) || len(got) > 600 {
				t.Errorf("exit %.400q, want %q", got, test.want)
			}
			// The others have not noticed.
			if _, err := c.Spin(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A line as long as is allowed arrives whole.
func TestLongestLineArrives(t *testing.T) {
	p := start(t, dial(t), shell(`head -c 65536 /dev/zero | tr '\0' x; echo; echo next`))
	if line := await(t, p.Lines, "line"); line != strings.Repeat("x", children.LongestLine) {
		t.Errorf("a line of %d bytes", len(line))
	}
	if line := await(t, p.Lines, "line"); line != "next" {
		t.Errorf("line %q", line)
	}
}

// A process that does not read its input holds up nobody.
func TestProcessThatDoesNotRead(t *testing.T) {
	c := dial(t)
	p := start(t, c, shell(`exec sleep 1000`))
	long := strings.Repeat("x", 1<<20) // more than a pipe holds
	if err := p.Write(t.Context(), long); !errors.Is(err, unix.ETIMEDOUT) || !strings.Contains(err.Error(), "has read nothing") {
		t.Errorf("error %v", err)
	}
	if _, err := c.Spin(t.Context()); err != nil {
		t.Error(err)
	}
}

// The kernel's reason for refusing a process arrives as such.
func TestRefusedStart(t *testing.T) {
	c := dial(t)
	_, err := c.Start(t.Context(), children.Start{Command: []string{"true", strings.Repeat("x", 200_000)}})
	if !errors.Is(err, unix.E2BIG) || errors.Is(err, ErrHostLost) || !strings.Contains(err.Error(), "starting true") {
		t.Errorf("error %v", err)
	}
	if _, err := c.Start(t.Context(), children.Start{Command: []string{"/etc/passwd"}}); !errors.Is(err, unix.EACCES) {
		t.Errorf("error %v", err)
	}
}

// An agent that neither reads nor answers is lost after a while, and whatever it is at
// the other end of the pipe is gone.
func TestSilentAgentIsLost(t *testing.T) {
	for name, test := range map[string]struct{ script, want string }{
		"reads, and does not answer": {`cat >/dev/null; exec sleep 1000`, "host test: its agent has said nothing for 300ms"},
		"does not read":              {`exec sleep 1000`, "host test: its agent has "},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := dialWith("test", []string{"sh", "-c", test.script}, 300*time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			pid := c.command.Process.Pid
			request := make(chan error)
			go func() {
				_, err := call(context.Background(), c, writing, line{1, strings.Repeat("x", 1<<20)})
				request <- err
			}()
			if err := await(t, request, "answer"); !errors.Is(err, ErrHostLost) || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("error %v", err)
			}
			awaitGone(t, pid)
		})
	}
}

// A stopped agent is killed, too.
func TestStoppedAgentIsLost(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c, err := dialWith("test", []string{"env", "AGENT_TEST_ROLE=agent", self}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, c, shell(`echo up; read end`))
	await(t, p.Lines, "line")
	if err := exec.Command("kill", "-STOP", strconv.Itoa(c.command.Process.Pid)).Run(); err != nil {
		t.Fatal(err)
	}
	await(t, p.Exited(), "exit")
	if lost := p.Exit().Lost; !errors.Is(lost, ErrHostLost) || !strings.Contains(lost.Error(), "has said nothing for 1s") {
		t.Errorf("lost %v", lost)
	}
	awaitGone(t, p.PID)
}
