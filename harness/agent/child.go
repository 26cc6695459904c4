package agent

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"connbench/harness/tail"
)

// child is a process that this agent started.
type child struct {
	command *exec.Cmd
	stdin   io.WriteCloser
	stderr  *tail.Tail
	exited  chan struct{}
}

func (c *child) pid() int { return c.command.Process.Pid }

// kill ends the process and its children: each process leads a group.
func (c *child) kill() { syscall.Kill(-c.pid(), syscall.SIGKILL) }

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
		touch(path) // the run may last longer than what another one's agent surely keeps
	}
	command := exec.Command(what.Command[0], what.Command[1:]...)
	command.Env = environment(what.Environment)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	stdin, err := command.StdinPipe()
	if err != nil {
		return started{}, err
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		return started{}, err
	}
	stderr := &tail.Tail{}
	command.Stderr = stderr

	born := make(chan error)
	s.spawn <- func() { born <- startOn(what.CPUs, command) }
	if err := <-born; err != nil {
		return started{}, fmt.Errorf("starting %s: %w", what.Command[0], err)
	}
	c := &child{command: command, stdin: stdin, stderr: stderr, exited: make(chan struct{})}
	expendable(c.pid())
	if what.Grouped {
		s.grouped(c.pid())
	}
	s.lock.Lock()
	s.next++
	process := s.next
	s.processes[process] = c
	s.lock.Unlock()
	go s.follow(process, c, stdout)
	return started{Process: process, PID: c.pid()}, nil
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

// environment is this process's without GO* variables, and extra.
func environment(extra map[string]string) []string {
	var env []string
	for _, setting := range os.Environ() {
		if !strings.HasPrefix(setting, "GO") {
			env = append(env, setting)
		}
	}
	for name, value := range extra {
		env = append(env, name+"="+value)
	}
	return env
}

// follow passes a process's lines and its end on to the harness.
func (s *server) follow(process int, c *child, stdout io.Reader) {
	lines := bufio.NewReader(stdout)
	for {
		line, err := lines.ReadString('\n')
		if line = strings.TrimSuffix(line, "\n"); line != "" {
			s.send(message{Process: process, Line: &line})
		}
		if err != nil {
			break
		}
	}
	c.command.Wait() // its error is in ProcessState
	c.kill()         // children of its own that outlived it
	close(c.exited)
	exit := &Exit{Status: c.command.ProcessState.ExitCode(), Stderr: c.stderr.String(), Head: c.stderr.Head()}
	if status, ok := c.command.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		exit.Signal = status.Signal().String()
	}
	s.lock.Lock()
	delete(s.processes, process)
	s.lock.Unlock()
	s.send(message{Process: process, Exit: exit})
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
		c.kill()
	}
	late := time.After(killPatience)
	for _, c := range left {
		select {
		case <-c.exited:
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
