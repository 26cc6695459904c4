package agent

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"connbench/harness/agent/programs"
	"connbench/harness/tail"
	"connbench/servers/family"
)

// child is a process that this agent started.
type child struct {
	command *exec.Cmd
	mark    family.Mark
	stdin   *os.File
	stderr  *tail.Tail
	// exited is closed when it has ended, done when nothing is left of it either.
	exited, done chan struct{}

	lock sync.Mutex
	// fault says how it broke the contract and was killed for it; killed is true where
	// the harness wanted it to end.
	fault  string
	killed bool
}

func (c *child) pid() int { return c.command.Process.Pid }

func (c *child) hasExited() bool {
	select {
	case <-c.exited:
		return true
	default:
		return false
	}
}

// kill ends the process and its children: each process leads a group of its session.
func (c *child) kill() { syscall.Kill(-c.pid(), syscall.SIGKILL) }

// end kills the process because the harness wants it to end, or, with a fault, because
// it broke the contract.
func (c *child) end(fault string) {
	c.lock.Lock()
	c.killed = true
	if c.fault == "" {
		c.fault = fault
	}
	c.lock.Unlock()
	c.kill()
}

func (s *server) child(process int) (*child, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	c := s.processes[process]
	if c == nil {
		return nil, fmt.Errorf("process %d has ended", process)
	}
	return c, nil
}

func (s *server) start(what Start) (started, error) {
	for path := range s.carried {
		programs.Touch(path) // the run may last longer than what another one's agent surely keeps
	}
	var theirs, ours [3]*os.File
	for i := range theirs {
		read, write, err := os.Pipe()
		if err != nil {
			return started{}, err
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
	c := &child{command: command, stdin: ours[0], stderr: &tail.Tail{}, exited: make(chan struct{}), done: make(chan struct{})}
	process, err := s.spawnChild(c, what)
	if err != nil {
		for _, end := range ours {
			end.Close()
		}
		return started{}, fmt.Errorf("starting %s: %w", what.Command[0], err)
	}
	go s.follow(process, c, cmp.Or(what.LongestLine, longestLine), ours[1], ours[2])
	return started{Process: process, PID: c.pid()}, nil
}

// spawnChild starts the process and gives it its number.
func (s *server) spawnChild(c *child, what Start) (process int, err error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	process = s.next + 1
	c.mark = s.self.Mark(process)
	c.command.Env = environment(what.Environment, c.mark.Setting())
	born := make(chan error)
	s.spawn <- func() { born <- startOn(what.CPUs, c.command) }
	if err := <-born; err != nil {
		return 0, err
	}
	s.next = process
	s.processes[process] = c
	expendable(c.pid())
	if what.Grouped {
		s.grouped(c.pid())
	}
	return process, nil
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

// follow passes a process's lines and its end on to the harness.
func (s *server) follow(process int, c *child, longest int, stdout, stderr *os.File) {
	var outputs sync.WaitGroup
	outputs.Go(func() { s.passLines(process, c, longest, stdout) })
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
	delete(s.processes, process)
	s.lock.Unlock()
	close(c.done)
	s.send(message{Process: process, Exit: exit})
}

// passLines passes the lines of a process's standard output on to the harness. One that
// is too long ends the process.
func (s *server) passLines(process int, c *child, longest int, stdout io.Reader) {
	from := bufio.NewReader(stdout)
	for {
		line, err := readLine(from, longest)
		if errors.Is(err, errLongLine) {
			c.end(fmt.Sprintf("wrote a line of more than %d bytes to its standard output: %.60q…", longest, line))
		}
		if err != nil {
			return
		}
		if text := string(line); text != "" {
			s.send(message{Process: process, Line: &text})
		}
	}
}

// strays are the processes that have lost their parent and come from c, or have ended
// and must be reaped.
func (s *server) strays(c *child) []family.Stray {
	s.lock.Lock() // while a process is being started, nobody knows it yet
	defer s.lock.Unlock()
	own := map[int]bool{}
	alone := true // an unmarked one can come from no other process
	for _, other := range s.processes {
		own[other.pid()] = other != c
		alone = alone && (other == c || other.hasExited())
	}
	strays := family.Strays(func(pid int) bool { return own[pid] })
	return slices.DeleteFunc(strays, func(stray family.Stray) bool {
		return !stray.Ended && !stray.From(c.mark, c.pid()) && !(alone && stray.Marked == "")
	})
}

// killPatience is how long killed processes may take to end: the kernel frees their
// sockets first.
const killPatience = 30 * time.Second

func (s *server) killAll() {
	s.lock.Lock()
	var left []*child
	for _, c := range s.processes {
		left = append(left, c)
	}
	s.lock.Unlock()
	for _, c := range left {
		c.end("")
	}
	late := time.After(killPatience)
	for _, c := range left {
		select {
		case <-c.done:
		case <-late:
			return
		}
	}
}

// grouped puts a process into the group. Where that cannot be, there is none for
// any: a group of some of them would tell nothing.
func (s *server) grouped(pid int) {
	if s.noGroup {
		return
	}
	var err error
	if s.group == nil {
		s.group, err = s.reader.NewGroup()
	}
	if err == nil {
		err = s.group.Add(pid)
	}
	s.noGroup = err != nil
}

// ungroup removes the group. Its processes have been waited for, but the kernel may
// not be done with them; if it takes longer, the next agent removes the group.
func (s *server) ungroup() {
	if s.group == nil {
		return
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if err := s.group.Remove(); !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return
		}
	}
}
