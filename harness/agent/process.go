package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"connbench/harness/probe"
	"connbench/harness/tail"
)

// Start says what to start and how.
type Start struct {
	Command []string `json:"command"`
	// Environment is added to the host's own, from which every GO* variable has
	// been removed: only what the harness says may set up a Go program.
	Environment map[string]string `json:"environment,omitempty"`
	// CPUs are those the process may run on; none: all.
	CPUs []int `json:"cpus,omitempty"`
	// Grouped has the kernel's memory for the process counted apart, where the host
	// allows it: see [Measurement].
	Grouped bool `json:"grouped,omitempty"`
}

type started struct {
	Process int `json:"process"`
	PID     int `json:"pid"`
}

var starting = define("start", (*server).start)

// Process is a process on the agent's host.
type Process struct {
	// PID is its number on the host.
	PID int
	// Lines are the lines of its standard output; closed when it has ended.
	Lines <-chan string

	id     int
	client *Client
	lines  chan string
	exited chan struct{}
	exit   Exit
}

// Start starts a process on the host.
func (c *Client) Start(ctx context.Context, what Start) (*Process, error) {
	r, err := call(ctx, c, starting, what)
	if err != nil {
		return nil, err
	}
	// Lines are read as they come; the buffer holds what a reader that is busy
	// measuring cannot take at once.
	p := &Process{PID: r.PID, id: r.Process, client: c, lines: make(chan string, 4096), exited: make(chan struct{})}
	p.Lines = p.lines
	c.lock.Lock()
	defer c.lock.Unlock()
	c.processes[p.id] = p
	for _, news := range c.orphans[p.id] {
		p.deliver(news)
	}
	delete(c.orphans, p.id)
	if c.lost != nil {
		p.end(Exit{Status: -1, Lost: c.lost})
	}
	return p, nil
}

// deliver takes news of the process; c.lock is held.
func (p *Process) deliver(m message) {
	if p.hasExited() {
		return
	}
	if m.Line != nil {
		select {
		case p.lines <- *m.Line:
		default: // a process that floods its output must not block all others
		}
	}
	if m.Exit != nil {
		p.end(*m.Exit)
	}
}

// end notes how the process ended, unless that is known; c.lock is held.
func (p *Process) end(exit Exit) {
	if p.hasExited() {
		return
	}
	delete(p.client.processes, p.id)
	p.exit = exit
	close(p.lines)
	close(p.exited)
}

func (p *Process) hasExited() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// Exited is closed when the process has ended; Exit then says how.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Exit says how the process ended; call it only after Exited is closed.
func (p *Process) Exit() Exit { return p.exit }

// Exit says how a process ended.
type Exit struct {
	// Status is the exit status, -1 after a signal; Signal names that.
	Status int    `json:"status"`
	Signal string `json:"signal,omitempty"`
	// Stderr is the end of what it wrote there, Head the beginning.
	Stderr string `json:"stderr,omitempty"`
	Head   string `json:"head,omitempty"`
	// Lost is an [ErrHostLost] where nobody knows how it ended, and whether.
	Lost error `json:"-"`
}

// String says how the process ended, in words.
func (e Exit) String() string {
	if e.Lost != nil {
		return e.Lost.Error()
	}
	how := fmt.Sprintf("exit status %d", e.Status)
	if e.Signal != "" {
		how = "signal " + e.Signal
	}
	if e.Stderr != "" {
		how += ": " + tail.Line(e.Stderr)
	}
	return how
}

// ofProcess names a process in a request.
type ofProcess struct {
	Process int `json:"process"`
}

type line struct {
	Process int    `json:"process"`
	Line    string `json:"line"`
}

var writing = define("write", func(s *server, r line) (none, error) {
	c, err := s.child(r.Process)
	if err != nil {
		return none{}, err
	}
	_, err = io.WriteString(c.stdin, r.Line+"\n")
	return none{}, err
})

// Write sends a line to the process's standard input.
func (p *Process) Write(ctx context.Context, text string) error {
	_, err := call(ctx, p.client, writing, line{p.id, text})
	return err
}

var closing = define("close", func(s *server, r ofProcess) (none, error) {
	c, err := s.child(r.Process)
	if err != nil {
		return none{}, err
	}
	return none{}, c.stdin.Close()
})

// CloseInput ends the process's standard input.
func (p *Process) CloseInput(ctx context.Context) error {
	_, err := call(ctx, p.client, closing, ofProcess{p.id})
	return err
}

var killing = define("kill", func(s *server, r ofProcess) (none, error) {
	c, err := s.child(r.Process)
	if err == nil {
		c.kill()
	}
	return none{}, err
})

// Kill ends the process and its children at once.
func (p *Process) Kill(ctx context.Context) error {
	if p.hasExited() {
		return nil
	}
	_, err := call(ctx, p.client, killing, ofProcess{p.id})
	return err
}

var quoting = define("said", func(s *server, r ofProcess) (string, error) {
	c, err := s.child(r.Process)
	if err != nil {
		return "", err
	}
	return c.stderr.Line(), nil
})

// Said is the line of the process's standard error that says most, "" for none.
func (p *Process) Said(ctx context.Context) (string, error) {
	return call(ctx, p.client, quoting, ofProcess{p.id})
}

var heading = define("head", func(s *server, r ofProcess) (string, error) {
	c, err := s.child(r.Process)
	if err != nil {
		return "", err
	}
	return c.stderr.Head(), nil
})

// Head is the beginning of what the process has written to its standard error, also
// after its end.
func (p *Process) Head(ctx context.Context) (string, error) {
	if p.hasExited() {
		return p.exit.Head, nil
	}
	return call(ctx, p.client, heading, ofProcess{p.id})
}

// Tree is what a process and its descendants use together.
type Tree struct {
	RSSBytes   int64   `json:"rss_bytes"`
	CPUSeconds float64 `json:"cpu_seconds"`
}

var adding = define("tree", func(s *server, r ofProcess) (Tree, error) {
	var sum Tree
	c, err := s.child(r.Process)
	if err != nil {
		return sum, err
	}
	pids, err := s.reader.Descendants(c.pid())
	if err != nil {
		return sum, err
	}
	for _, pid := range append(pids, c.pid()) {
		p, err := s.reader.Process(pid, probe.Light)
		if errors.Is(err, probe.ErrEnded) {
			continue
		}
		if err != nil {
			return sum, err
		}
		if p.RSSBytes == nil || p.CPUSeconds == nil {
			return sum, fmt.Errorf("process %d: %s", pid, strings.Join(p.Warnings, ", "))
		}
		sum.RSSBytes += *p.RSSBytes
		sum.CPUSeconds += *p.CPUSeconds
	}
	return sum, nil
})

// Tree adds up what the process and its descendants use.
func (p *Process) Tree(ctx context.Context) (Tree, error) {
	return call(ctx, p.client, adding, ofProcess{p.id})
}
