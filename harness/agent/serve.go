package agent

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"connbench/harness/probe"
	"connbench/harness/tail"
)

// Options are how an agent serves.
type Options struct {
	// Alone has the agent refuse to be the second of its kind on this host.
	Alone bool
	// Patience is how long it waits for the one before to end: its harness may have
	// been killed a moment ago.
	Patience time.Duration
	// Silence is how long the harness may say nothing before the agent ends; 0: for
	// ever, since the pipe closes with it.
	Silence time.Duration
}

// Remote is how to serve a harness on another machine: it may vanish without a
// word, and does not know who else is on this host.
var Remote = Options{Alone: true, Patience: 15 * time.Second, Silence: 2 * time.Minute}

// Serve answers requests from in on out until in ends, then kills every process
// that it started.
func Serve(in io.Reader, out io.Writer, options Options) error {
	if options.Alone {
		place, err := takePlace(options.Patience)
		if err != nil {
			return err
		}
		defer place.Close()
	}
	var overdue <-chan time.Time
	quiet := time.NewTimer(options.Silence)
	defer quiet.Stop()
	if options.Silence > 0 {
		overdue = quiet.C
	}
	// A word to a harness that was killed must not end the agent before it has
	// cleaned up: with somebody to hear of the signal, the write just fails.
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
	reader, err := probe.Open()
	if err != nil {
		return err
	}
	if err := raiseDescriptorLimit(); err != nil {
		return err
	}
	s := &server{
		reader:    reader,
		out:       json.NewEncoder(out),
		processes: map[int]*child{},
		carried:   map[string]bool{},
		spawn:     make(chan func()),
	}
	go s.spawner()
	defer s.ungroup()
	defer s.killAll()
	requests, failed := receive(in)
	for {
		select {
		case r := <-requests:
			reply, err := s.do(r)
			reply.ID = r.ID
			if err != nil {
				reply.Error = err.Error()
			}
			s.send(reply)
			quiet.Reset(options.Silence)
		case err := <-failed:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("agent: reading a request: %w", err)
		case <-overdue:
			return fmt.Errorf("agent: nothing heard from the harness for %s", options.Silence)
		}
	}
}

// receive reads requests until in ends, and then says how. Every request that was
// read is taken before.
func receive(in io.Reader) (<-chan request, <-chan error) {
	requests, failed := make(chan request), make(chan error)
	go func() {
		decoder := json.NewDecoder(bufio.NewReaderSize(in, 1<<20))
		for {
			var r request
			if err := decoder.Decode(&r); err != nil {
				failed <- err
				return
			}
			requests <- r
		}
	}()
	return requests, failed
}

// raiseDescriptorLimit lets everything started here have as many descriptors as
// the hard limit allows. Go raises its own soft limit, but gives its children the
// old one back unless the program has set it itself.
func raiseDescriptorLimit() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = limit.Max
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
}

type server struct {
	reader *probe.Reader

	outLock sync.Mutex
	out     *json.Encoder

	lock      sync.Mutex
	processes map[int]*child
	next      int

	spawn     chan func()
	incoming  incoming
	carried   map[string]bool // paths of the programs of this run
	listeners []net.Listener
	group     *probe.Group // nil: none yet
	noGroup   bool         // none to be had, or it lacks a process
}

// child is a process that this agent started.
type child struct {
	command *exec.Cmd
	stdin   io.WriteCloser
	stderr  *tail.Tail
	exited  chan struct{}
}

// send ignores errors: a harness that cannot be written to has closed our input
// too, and that ends the agent.
func (s *server) send(m message) {
	s.outLock.Lock()
	defer s.outLock.Unlock()
	s.out.Encode(m)
}

func (s *server) do(r request) (message, error) {
	switch r.Do {
	case doHost:
		host, warnings := s.reader.Host(r.Name)
		return message{Host: &host, Warnings: warnings}, nil
	case doHave:
		return s.carries(cached(r.SHA256, r.Name))
	case doPut:
		return s.carries(s.incoming.add(r.SHA256, r.Name, r.Piece, r.Last))
	case doStart:
		return s.start(*r.Start)
	case doMeasure:
		return s.measure(r.Processes, r.Detail)
	case doSpin:
		return message{SpinSeconds: probe.Spin().Seconds()}, nil
	case doPing:
		return message{}, nil
	case doVitals:
		vitals, err := vitals()
		return message{Vitals: &vitals}, err
	case doListen:
		targets, err := s.listen(r.Targets)
		return message{Targets: targets}, err
	case doReach:
		reached, err := reach(r.Sources, r.Targets)
		return message{Reach: &reached}, err
	case doLink:
		link, err := link(r.Targets[0])
		return message{Link: link}, err
	case doForward:
		missing, err := forwards(r.Targets)
		return message{Missing: missing}, err
	}
	c := s.child(r.Process)
	if c == nil {
		return message{}, fmt.Errorf("agent: no process %d", r.Process)
	}
	switch r.Do {
	case doWrite:
		_, err := io.WriteString(c.stdin, r.Line+"\n")
		return message{}, err
	case doClose:
		return message{}, c.stdin.Close()
	case doKill:
		c.kill()
		return message{}, nil
	case doSaid:
		return message{Said: tail.LastLine(c.stderr.String())}, nil
	case doTree:
		return s.tree(c.command.Process.Pid)
	}
	return message{}, fmt.Errorf("agent: unknown request %q", r.Do)
}

// carries notes that this run uses the program at path, "" if it is not here yet.
func (s *server) carries(path string, err error) (message, error) {
	if path != "" {
		s.carried[path] = true
	}
	return message{Path: path}, err
}

func (s *server) child(process int) *child {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.processes[process]
}

// spawner starts every process from one thread that lives as long as the agent:
// the kernel sends the parent-death signal when the *thread* that forked ends
// (prctl(2), PR_SET_PDEATHSIG), and children inherit that thread's CPU mask.
func (s *server) spawner() {
	runtime.LockOSThread()
	for start := range s.spawn {
		start()
	}
}

func (s *server) start(what Start) (message, error) {
	for path := range s.carried {
		touch(path) // the run may last longer than what another one's agent surely keeps
	}
	command := exec.Command(what.Command[0], what.Command[1:]...)
	command.Env = environment(what.Environment)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	stdin, err := command.StdinPipe()
	if err != nil {
		return message{}, err
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		return message{}, err
	}
	stderr := &tail.Tail{}
	command.Stderr = stderr

	started := make(chan error)
	s.spawn <- func() { started <- startOn(what.CPUs, command) }
	if err := <-started; err != nil {
		return message{}, fmt.Errorf("starting %s: %w", what.Command[0], err)
	}
	expendable(command.Process.Pid)
	if what.Grouped {
		s.grouped(command.Process.Pid)
	}
	c := &child{command: command, stdin: stdin, stderr: stderr, exited: make(chan struct{})}
	s.lock.Lock()
	s.next++
	process := s.next
	s.processes[process] = c
	s.lock.Unlock()
	go s.follow(process, c, stdout)
	return message{Process: process, PID: command.Process.Pid}, nil
}

// expendable has the kernel end this process, and those that it starts, before any
// other where memory runs out (proc_pid_oom_score_adj(5)): the agent must live to tell
// of it, and the host's other programs have no part in it.
func expendable(pid int) {
	os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte("1000"), 0) // it may have ended
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
	exit := &Exit{Status: c.command.ProcessState.ExitCode(), Stderr: c.stderr.String()}
	if status, ok := c.command.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		exit.Signal = status.Signal().String()
	}
	s.lock.Lock()
	delete(s.processes, process)
	s.lock.Unlock()
	s.send(message{Process: process, Exit: exit})
}

// kill ends the process and its children: each process leads a group.
func (c *child) kill() { syscall.Kill(-c.command.Process.Pid, syscall.SIGKILL) }

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
	for _, c := range left {
		select {
		case <-c.exited:
		case <-time.After(30 * time.Second): // the kernel is still freeing its sockets
		}
	}
}

func (s *server) measure(processes []int, detail bool) (message, error) {
	level := probe.Light
	if detail {
		level = probe.Detail
	}
	m := &Measurement{}
	for _, process := range processes {
		c := s.child(process)
		if c == nil {
			return message{}, fmt.Errorf("process %d has ended", process)
		}
		p, err := s.reader.Process(c.command.Process.Pid, level)
		if err != nil {
			return message{}, err
		}
		m.Processes = append(m.Processes, p)
	}
	m.System = s.reader.System(level)
	if detail && s.group != nil && !s.noGroup {
		if bytes, err := s.group.KernelBytes(); err == nil {
			m.GroupKernelBytes = &bytes
		}
	}
	return message{Measurement: m}, nil
}

// tree adds up what a process and its descendants use.
func (s *server) tree(pid int) (message, error) {
	pids, err := s.reader.Descendants(pid)
	if err != nil {
		return message{}, err
	}
	sum := Tree{}
	for _, pid := range append(pids, pid) {
		p, err := s.reader.Process(pid, probe.Light)
		if errors.Is(err, probe.ErrEnded) {
			continue
		}
		if err != nil {
			return message{}, err
		}
		if p.RSSBytes == nil || p.CPUSeconds == nil {
			return message{}, fmt.Errorf("process %d: %s", pid, strings.Join(p.Warnings, ", "))
		}
		sum.RSSBytes += *p.RSSBytes
		sum.CPUSeconds += *p.CPUSeconds
	}
	return message{Tree: &sum}, nil
}
