package agent

import (
	"context"
	"fmt"

	"connbench/harness/agent/children"
	"connbench/harness/agent/observed"
	"connbench/harness/agent/programs"
)

type started struct {
	Process int `json:"process"`
	PID     int `json:"pid"`
}

var starting = define("start", func(s *server, what children.Start) (started, error) {
	for path := range s.carried {
		programs.Touch(path) // the run may last longer than what another one's agent surely keeps
	}
	c, err := s.children.Start(what)
	if err != nil {
		return started{}, err
	}
	return started{Process: c.Number(), PID: c.PID()}, nil
})

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
	exit   children.Exit
	// flooded is true when lines was full, and the process is being killed for it.
	flooded bool
}

// mostLines is how many lines wait for a reader who is busy measuring.
const mostLines = 1024

// Start starts a process on the host.
func (c *Client) Start(ctx context.Context, what children.Start) (*Process, error) {
	r, err := call(ctx, c, starting, what)
	if err != nil {
		return nil, err
	}
	p := &Process{PID: r.PID, id: r.Process, client: c, lines: make(chan string, mostLines), exited: make(chan struct{})}
	p.Lines = p.lines
	c.lock.Lock()
	defer c.lock.Unlock()
	c.processes[p.id] = p
	for _, news := range c.orphans[p.id] {
		p.deliver(news)
	}
	delete(c.orphans, p.id)
	if c.lost != nil {
		p.end(children.Exit{Status: -1, Lost: c.lost})
	}
	return p, nil
}

// deliver takes news of the process; c.lock is held.
func (p *Process) deliver(m message) {
	if p.hasExited() {
		return
	}
	if m.Line != nil && !p.flooded {
		select {
		case p.lines <- *m.Line:
		default:
			p.flooded = true
			fault := fmt.Sprintf("wrote %d lines to its standard output that nobody had asked for", mostLines)
			go call(context.Background(), p.client, killing, killRequest{p.id, fault})
		}
	}
	if m.Exit != nil {
		p.end(*m.Exit)
	}
}

// end notes how the process ended, unless that is known; c.lock is held.
func (p *Process) end(exit children.Exit) {
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
func (p *Process) Exit() children.Exit { return p.exit }

// ofProcess names a process in a request.
type ofProcess struct {
	Process int `json:"process"`
}

type line struct {
	Process int    `json:"process"`
	Line    string `json:"line"`
}

var writing = define("write", func(s *server, r line) (none, error) {
	c, err := s.children.Child(r.Process)
	if err != nil {
		return none{}, err
	}
	return none{}, c.Write(r.Line)
})

// Write sends a line to the process's standard input. The error is ETIMEDOUT where the
// process does not read it.
func (p *Process) Write(ctx context.Context, text string) error {
	_, err := call(ctx, p.client, writing, line{p.id, text})
	return err
}

var closing = define("close", func(s *server, r ofProcess) (none, error) {
	c, err := s.children.Child(r.Process)
	if err != nil {
		return none{}, err
	}
	return none{}, c.CloseInput()
})

// CloseInput ends the process's standard input.
func (p *Process) CloseInput(ctx context.Context) error {
	_, err := call(ctx, p.client, closing, ofProcess{p.id})
	return err
}

type killRequest struct {
	Process int `json:"process"`
	// Fault says how it broke the contract, "" if it just has to end.
	Fault string `json:"fault"`
}

var killing = define("kill", func(s *server, r killRequest) (none, error) {
	c, err := s.children.Child(r.Process)
	if err == nil {
		c.End(r.Fault)
	}
	return none{}, err
})

// Kill ends the process and its children at once.
func (p *Process) Kill(ctx context.Context) error {
	if p.hasExited() {
		return nil
	}
	_, err := call(ctx, p.client, killing, killRequest{Process: p.id})
	return err
}

var quoting = define("said", func(s *server, r ofProcess) (string, error) {
	c, err := s.children.Child(r.Process)
	if err != nil {
		return "", err
	}
	return c.Said(), nil
})

// Said is the line of the process's standard error that says most, "" for none.
func (p *Process) Said(ctx context.Context) (string, error) {
	return call(ctx, p.client, quoting, ofProcess{p.id})
}

var heading = define("head", func(s *server, r ofProcess) (string, error) {
	c, err := s.children.Child(r.Process)
	if err != nil {
		return "", err
	}
	return c.Head(), nil
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
type Tree = observed.Tree

var adding = define("tree", func(s *server, r ofProcess) (Tree, error) {
	c, err := s.children.Child(r.Process)
	if err != nil {
		return Tree{}, err
	}
	return observed.ReadTree(s.reader, c.PID())
})

// Tree adds up what the process and its descendants use.
func (p *Process) Tree(ctx context.Context) (Tree, error) {
	return call(ctx, p.client, adding, ofProcess{p.id})
}
