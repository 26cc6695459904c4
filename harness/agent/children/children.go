// Package children starts processes on an agent's host, follows what they write and how
// they end, and leaves nothing of them behind.
package children

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"connbench/harness/agent/lines"
	"connbench/harness/probe/cgroup"
	"connbench/harness/tail"
	"connbench/servers/family"
)

// Set is the processes that an agent has started.
type Set struct {
	founder  family.Founder
	newGroup func() (*cgroup.Group, error)
	news     func(News)

	lock      sync.Mutex
	processes map[int]*Child
	last      int // the number of the newest

	spawn   chan func()
	group   *cgroup.Group // nil: none yet
	noGroup bool          // none to be had, or it lacks a process
}

// News is what a process does by itself: it writes a line to its standard output, or
// ends.
type News struct {
	Process int     `json:"process,omitempty"`
	Line    *string `json:"line,omitempty"`
	Exit    *Exit   `json:"exit,omitempty"`
}

// New makes an empty set, and kills what sets of agents that were killed have left
// behind on this host. newGroup makes the group of Grouped processes when the first is
// started. news hears of all processes, in the order in which each does things.
func New(newGroup func() (*cgroup.Group, error), news func(News)) (*Set, error) {
	founder, err := family.Self()
	if err != nil {
		return nil, err
	}
	if err := family.Adopt(); err != nil {
		return nil, err
	}
	family.Sweep()
	s := &Set{founder: founder, newGroup: newGroup, news: news, processes: map[int]*Child{}, spawn: make(chan func())}
	go s.spawner()
	return s, nil
}

// Close kills all processes, waits for them, for [KillPatience] at most, and removes
// their group.
func (s *Set) Close() {
	s.killAll()
	s.ungroup()
}

// Child is the process with a number; it is an error if it has ended.
func (s *Set) Child(process int) (*Child, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	c := s.processes[process]
	if c == nil {
		return nil, fmt.Errorf("process %d has ended", process)
	}
	return c, nil
}

// spawner starts every process from one thread that lives as long as the agent:
// the kernel sends the parent-death signal when the *thread* that forked ends
// (prctl(2), PR_SET_PDEATHSIG), and children inherit that thread's CPU mask.
func (s *Set) spawner() {
	runtime.LockOSThread()
	for start := range s.spawn {
		start()
	}
}

// Start starts a process.
func (s *Set) Start(what Start) (*Child, error) {
	var theirs, ours [3]*os.File
	for i := range theirs {
		read, write, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		theirs[i], ours[i] = read, write
		if i > 0 {
			theirs[i], ours[i] = write, read
		}
		defer theirs[i].Close()
	}
	command := exec.Command(what.Command[0], what.Command[1:]...)
	command.Stdin, command.Stdout, command.Stderr = theirs[0], theirs[1], theirs[2]
	// A session each, so that a kernel with autogroups (sched(7)) gives each process a
	// share of the CPU of its own, and not one share to all of them together.
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true}
	c := &Child{command: command, stdin: ours[0], stderr: &tail.Tail{}, exited: make(chan struct{}), done: make(chan struct{})}
	if err := s.spawnChild(c, what); err != nil {
		for _, end := range ours {
			end.Close()
		}
		return nil, fmt.Errorf("starting %s: %w", what.Command[0], err)
	}
	go s.follow(c, cmp.Or(what.LongestLine, LongestLine), ours[1], ours[2])
	return c, nil
}

// spawnChild starts the process and gives it its number.
func (s *Set) spawnChild(c *Child, what Start) error {
	s.lock.Lock()
	defer s.lock.Unlock()
	c.number = s.last + 1
	c.mark = s.founder.Mark(c.number)
	c.command.Env = environment(what.Environment, c.mark.Setting())
	born := make(chan error)
	s.spawn <- func() { born <- startOn(what.CPUs, c.command) }
	if err := <-born; err != nil {
		return err
	}
	s.last = c.number
	s.processes[c.number] = c
	s.place(c.PID(), what.Grouped)
	for _, pid := range family.Descendants(c.PID()) { // which it has started before that
		s.place(pid, what.Grouped)
	}
	return nil
}

// place does for a process what those that it starts from then on inherit.
func (s *Set) place(pid int, grouped bool) {
	expendable(pid)
	if grouped {
		s.grouped(pid)
	}
}

// expendable has the kernel end this process, and those that it starts, before any
// other where memory runs out (proc_pid_oom_score_adj(5)): the agent must live to tell
// of it, and the host's other programs have no part in it.
func expendable(pid int) {
	os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte("1000"), 0) // it may have ended
}

// startOn starts command with the CPU mask that it shall inherit. It runs on the
// spawner's thread, whose own mask it restores.
func startOn(cpus []int, command *exec.Cmd) error {
	if len(cpus) > 0 {
		var before, wanted unix.CPUSet
		if err := unix.SchedGetaffinity(0, &before); err != nil {
			return err
		}
		for _, cpu := range cpus {
			wanted.Set(cpu)
		}
		if err := unix.SchedSetaffinity(0, &wanted); err != nil {
			return fmt.Errorf("CPUs %v: %w", cpus, err)
		}
		defer unix.SchedSetaffinity(0, &before)
	}
	return command.Start()
}

// environment is this process's without GO* variables, with some more.
func environment(extra map[string]string, mark string) []string {
	var env []string
	for _, setting := range os.Environ() {
		if !strings.HasPrefix(setting, "GO") {
			env = append(env, setting)
		}
	}
	for name, value := range extra {
		env = append(env, name+"="+value)
	}
	return append(env, mark)
}

// drainPatience is how long what a process has written may take to be read after its
// end: somebody whom nobody knows may still hold its outputs.
const drainPatience = 2 * time.Second

// follow passes a process's lines and its end on.
func (s *Set) follow(c *Child, longest int, stdout, stderr *os.File) {
	var outputs sync.WaitGroup
	outputs.Go(func() { s.passLines(c, longest, stdout) })
	outputs.Go(func() { io.Copy(c.stderr, stderr) })
	c.command.Wait() // its error is in ProcessState
	close(c.exited)
	left := family.End(func() []family.Stray {
		strays := s.strays(c)
		c.kill()
		return strays
	})
	late := time.AfterFunc(drainPatience, func() { stdout.Close(); stderr.Close() })
	outputs.Wait()
	late.Stop()
	for _, end := range []*os.File{c.stdin, stdout, stderr} {
		end.Close()
	}
	exit := &Exit{Status: c.command.ProcessState.ExitCode(), Stderr: c.stderr.String(), Head: c.stderr.Head()}
	if status, ok := c.command.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		exit.Signal = status.Signal().String()
	}
	c.lock.Lock()
	exit.Fault = c.fault
	if !c.killed {
		exit.Left = left
	}
	c.lock.Unlock()
	s.lock.Lock()
	delete(s.processes, c.number)
	s.lock.Unlock()
	close(c.done)
	s.news(News{Process: c.number, Exit: exit})
}

// passLines passes the lines of a process's standard output on. One that
// is too long ends the process.
func (s *Set) passLines(c *Child, longest int, stdout io.Reader) {
	from := bufio.NewReader(stdout)
	for {
		line, err := lines.Read(from, longest)
		if errors.Is(err, lines.ErrLong) {
			c.End(fmt.Sprintf("wrote a line of more than %d bytes to its standard output: %.60q…", longest, line))
		}
		if err != nil {
			return
		}
		if text := string(line); text != "" {
			s.news(News{Process: c.number, Line: &text})
		}
	}
}

// strays are the processes that have lost their parent and come from c, or have ended
// and must be reaped.
func (s *Set) strays(c *Child) []family.Stray {
	s.lock.Lock() // while a process is being started, nobody knows it yet
	defer s.lock.Unlock()
	own := map[int]bool{}
	alone := true // an unmarked one can come from no other process
	for _, other := range s.processes {
		own[other.PID()] = other != c
		alone = alone && (other == c || other.hasExited())
	}
	strays := family.Strays(func(pid int) bool { return own[pid] })
	return slices.DeleteFunc(strays, func(stray family.Stray) bool {
		return !stray.Ended && !stray.From(c.mark, c.PID()) && !(alone && stray.Marked == "")
	})
}

// KillPatience is how long killed processes may take to end: the kernel frees their
// sockets first.
const KillPatience = 30 * time.Second

func (s *Set) killAll() {
	s.lock.Lock()
	var left []*Child
	for _, c := range s.processes {
		left = append(left, c)
	}
	s.lock.Unlock()
	for _, c := range left {
		c.End("")
	}
	late := time.After(KillPatience)
	for _, c := range left {
		select {
		case <-c.done:
		case <-late:
			return
		}
	}
}

// grouped puts a process into the group. If that fails, the group is given up for all
// processes: the memory of some of them would mean nothing.
func (s *Set) grouped(pid int) {
	if s.noGroup {
		return
	}
	var err error
	if s.group == nil {
		s.group, err = s.newGroup()
	}
	if err == nil {
		err = s.group.Add(pid)
	}
	s.noGroup = err != nil && !errors.Is(err, unix.ESRCH) // or it has ended
}

// ungroup removes the group. Its processes have been waited for, but the kernel may
// not be done with them; if it takes longer, the next agent removes the group.
func (s *Set) ungroup() {
	if s.group == nil {
		return
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if err := s.group.Remove(); !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return
		}
	}
}

// KernelBytes is the kernel memory in bytes of all processes that were started Grouped;
// nil where there are none, or the host has no such group.
func (s *Set) KernelBytes() *int64 {
	if s.group == nil || s.noGroup {
		return nil
	}
	bytes, err := s.group.KernelBytes()
	if err != nil {
		return nil
	}
	return &bytes
}
