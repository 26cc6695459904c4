package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"connbench/harness/record"
	"connbench/scripts/needs"
)

// endings are phases to end a run in: what the command says when one begins, its server,
// and the part of a plan that has little else in it. %g is how long it takes.
var endings = []struct{ says, server, plan string }{
	{"start the server", "never-ready", "[server]\nready_seconds = %g"},
	{"ramp", "sound", "[ramp]\nsteps = 2\npause_seconds = %g\nsettled = false"},
	{"hold", "sound", "[hold]\nseconds = %g"},
	{"census", "sound", "[hold]\nseconds = %g"},
	{"ping", "sound", "[ping]\nseconds = %g\ninterval_seconds = 1\npayload_bytes = 8"},
	{"echo", "sound", "[echo]\nseconds = %g\nrate_per_second = 500\npayload_bytes = 32"},
	{"sweep", "sound", "[sweep]\nseconds = %g\nrates_per_second = [200]\npayload_bytes = 32\np99_us = 9e6"},
	{"saturate", "sound", "[saturate]\nseconds = %g\nin_flight = 8\npayload_bytes = 32"},
	{"churn", "sound", "[churn]\nseconds = %g\nshare_per_second = 0.5"},
	{"close", "sound", "[hold]\nseconds = %g"},
	{"settled ramp", "sound", "[ramp]\nsteps = 2\npause_seconds = %g\nsettled = true"},
	{"complexity", "sound", "[complexity]\nseconds = %g\nwork_us = [0]\nmessages_per_second = 5\np99_us = 9e6\nresolution = 2\npayload_bytes = 32"},
}

// The processes of a run, and how they are ended.
var (
	victims = []string{"harness", "agent", "server", "swarm"}
	signals = []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGKILL}
)

// However a run ends, nothing is left of it but a folder that can be read. Each process
// is ended in each phase, in the next one by the next signal.
func TestNothingIsLeft(t *testing.T) {
	needs.Namespaces(t)
	needs.Tools(t, "unshare", "ip")
	bin(t)
	// Not by t.Parallel, which allows for no more than there are CPUs: most of the time
	// is spent waiting.
	var all sync.WaitGroup
	defer all.Wait()
	places := make(chan struct{}, 6)
	for i, ending := range endings {
		for j, victim := range victims {
			lab := "local"
			if i%3 == j%3 {
				lab = "netns" // the loads are the same there
			}
			e := &ended{lab: lab, victim: victim, signal: signals[(i+j)%len(signals)]}
			places <- struct{}{}
			all.Go(func() {
				defer func() { <-places }()
				t.Run(fmt.Sprintf("%s %s %s %s", lab, ending.says, victim, e.signal), func(t *testing.T) {
					e.in(t, ending.says, ending.server, ending.plan)
				})
			})
		}
	}
}

// ended is a run that was ended.
type ended struct {
	*benchRun
	lab, victim string
	signal      syscall.Signal
	brief       bool   // it may come to its end before the signal
	mark, temp  string // in its environment, and for its temporary files
	network     netns.NsHandle
	agents      []int
}

func (e *ended) in(t *testing.T, says, server, plan string) {
	e.begin(t, says, server, plan)
	defer e.network.Close()
	pid := e.Process.Pid
	if e.victim != "harness" {
		pid = e.process(t, e.victim)
	}
	if pid > 0 { // or else it came to its end before
		syscall.Kill(pid, e.signal)
	}
	late := time.AfterFunc(time.Minute, func() { e.Process.Kill() })
	status := e.Wait()
	if !late.Stop() {
		t.Errorf("the run went on for a minute")
	}
	e.judge(t, status)
	e.awaitNobody(t)
	e.leftNothing(t)
}

// begin starts a run in a network of its own, in which it would show what is left
// there, and waits for a phase.
func (e *ended) begin(t *testing.T, says, server, plan string) {
	seconds := 60.0
	if e.victim != "harness" {
		seconds = 0.4 // who does not heed the signal ends with the phase
	}
	switch says {
	case "census", "close":
		seconds, e.brief = 0.01, true // of another phase
	case "settled ramp":
		seconds, e.brief = 0.4, true // of the ramp before it, too
	}
	const general = "variants = [\"sound\"]\nconnections = 120\nkeep_noisy = true\n"
	plan = general + fmt.Sprintf(plan, seconds) + "\n"
	if !strings.Contains(plan, "[ramp]") {
		plan += "[ramp]\nsteps = 2\npause_seconds = 0.01\nsettled = false\n"
	}
	e.benchRun = hostileTest(t, plan, server, "--lab", e.lab)
	e.mark, e.temp = "CONNBENCH_TEST="+strings.ReplaceAll(t.Name(), " ", "_"), t.TempDir()
	e.Env = append(e.Env, e.mark, "TMPDIR="+e.temp)
	e.Args = append([]string{"unshare", "--net", "sh", "-c", `ip link set lo up && exec "$0" "$@"`, e.Path}, e.Args[1:]...)
	e.Path, _ = exec.LookPath("unshare")
	e.start(t, "  "+says)
	var err error
	if e.network, err = netns.GetFromPid(e.Process.Pid); err != nil {
		t.Fatal(err)
	}
	e.agents = e.processes(t, "agent")
}

// processes are those of a kind.
func (e *ended) processes(t *testing.T, kind string) (found []int) {
	for _, pid := range e.family() {
		command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		program := filepath.Base(string(bytes.Split(command, []byte{0})[0]))
		is := "server"
		switch program {
		case "connbench-agent":
			is = "agent"
		case "swarm", "connbench":
			is = program
		}
		if is == kind {
			found = append(found, pid)
		}
	}
	return found
}

// process is the first of a kind, 0 if there is none.
func (e *ended) process(t *testing.T, kind string) int {
	return append(e.processes(t, kind), 0)[0]
}

// judge looks at the exit status and at what is filed.
func (e *ended) judge(t *testing.T, err error) {
	run := e.run(t)
	want := []string{record.StateFinished, record.StateInterrupted}
	if e.victim == "harness" && !(e.brief && run.Manifest.State == record.StateFinished) {
		want = want[1:]
		if e.signal == syscall.SIGKILL {
			want = []string{record.StateRunning}
		} else if status := statusOf(t, err); status != 1 {
			t.Errorf("exit status %d", status)
		}
	}
	if !slices.Contains(want, run.Manifest.State) {
		t.Errorf("state %q, want one of %q\n%s", run.Manifest.State, want, e.said())
	}
	if e.victim != "harness" && len(run.Trials) == 0 {
		t.Errorf("no trial is filed:\n%s", e.said())
	}
	report := exec.Command(filepath.Join(bin(t), "connbench"), "report", run.Dir)
	if output, err := report.CombinedOutput(); err != nil && len(run.Trials) > 0 {
		t.Errorf("it cannot be reported: %v\n%s", err, output)
	}
}

// awaitNobody waits until no process has the mark.
func (e *ended) awaitNobody(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		left := marked(t, e.mark)
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("processes are left: %v", left)
		}
	}
}

// marked are the processes, with their commands, that have a variable in their
// environment.
func marked(t *testing.T, mark string) (found []string) {
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		environment, _ := os.ReadFile(file)
		if bytes.Contains(environment, []byte(mark+"\x00")) {
			command, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
			found = append(found, fmt.Sprintf("%s %q", filepath.Base(filepath.Dir(file)), bytes.ReplaceAll(command, []byte{0}, []byte{' '})))
		}
	}
	return found
}

// leftNothing looks for what outlives processes.
func (e *ended) leftNothing(t *testing.T) {
	links, settings := within(t, e.network)
	empty, err := newNetwork()
	if err != nil {
		t.Fatal(err)
	}
	defer empty.Close()
	if !slices.Equal(links, []string{"lo"}) {
		t.Errorf("links %q are left", links)
	}
	_, untouched := within(t, empty)
	for name, value := range untouched {
		if settings[name] != value {
			t.Errorf("sysctl %s is left at %q, and was %q", name, settings[name], value)
		}
	}
	for _, agent := range e.agents {
		groups, err := groupsOf(agent)
		if err != nil || len(groups) > 0 {
			t.Errorf("control groups %q are left (%v)", groups, err)
		}
	}
	if files, err := os.ReadDir(e.temp); err != nil || len(files) > 0 {
		t.Errorf("temporary files %v are left (%v)", files, err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || bytes.Contains(mounts, []byte(e.temp)) {
		t.Errorf("something is mounted in %s (%v)", e.temp, err)
	}
}

// newNetwork makes a network namespace.
func newNetwork() (network netns.NsHandle, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends in the namespace
		network, err = netns.New()
	}()
	<-done
	return network, err
}

// within lists the links and the settings of a network namespace.
func within(t *testing.T, network netns.NsHandle) (links []string, settings map[string]string) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends in the namespace
		if err := netns.Set(network); err != nil {
			done <- err
			return
		}
		interfaces, err := net.Interfaces()
		for _, i := range interfaces {
			links = append(links, i.Name)
		}
		settings = settingsOf("/proc/sys/net")
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return links, settings
}

// settingsOf reads the sysctls of a folder, in the namespace of this thread.
func settingsOf(folder string) map[string]string {
	settings := map[string]string{}
	filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			text, _ := os.ReadFile(path) // some can only be written
			settings[path] = string(text)
		}
		return nil
	})
	return settings
}

// groupsOf are the control groups that an agent has made.
func groupsOf(agent int) (found []string, err error) {
	err = filepath.WalkDir("/sys/fs/cgroup", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && entry.Name() == fmt.Sprintf("connbench-%d", agent) {
			found = append(found, path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // somebody else's, gone meanwhile
		}
		return err
	})
	return found, err
}
