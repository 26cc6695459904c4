package agent

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"connbench/harness/record"
	"connbench/harness/tail"
)

// pieceBytes is how much of a program travels in one request.
const pieceBytes = 1 << 20

// sshFailed is ssh's exit status when the connection fails, not the command there
// (ssh(1)). Agents have no such status.
const sshFailed = 255

// Client is the harness's end of an agent.
type Client struct {
	name    string
	command *exec.Cmd // nil where another process has started the agent
	stdin   io.WriteCloser
	stdout  io.ReadCloser
	stderr  io.ReadCloser
	said    tail.Tail // on stderr

	writeLock sync.Mutex
	requests  *json.Encoder

	lock      sync.Mutex
	next      int64
	waiting   map[int64]chan message
	processes map[int]*Process
	orphans   map[int][]message // events that overtook the reply to start
	lost      error             // set when the agent has gone
	gone      chan struct{}
}

// Dial starts command, which must run `connbench agent` somewhere with its
// standard input, output and error connected to here. name is the host's, for
// errors.
func Dial(name string, command []string) (*Client, error) {
	process := exec.Command(command[0], command[1:]...)
	// A group of its own: Ctrl-C is for the harness, which then ends the trial in
	// an orderly way.
	process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := process.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	stderr, err := process.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := process.Start(); err != nil {
		return nil, fmt.Errorf("host %s: starting its agent: %w", name, err)
	}
	return newClient(name, process, stdin, stdout, stderr), nil
}

// Attach is the harness's end of an agent that another process starts: the other
// ends of its standard input, output and error. name is the host's, for errors.
func Attach(name string, stdin io.WriteCloser, stdout, stderr io.ReadCloser) *Client {
	return newClient(name, nil, stdin, stdout, stderr)
}

func newClient(name string, command *exec.Cmd, stdin io.WriteCloser, stdout, stderr io.ReadCloser) *Client {
	c := &Client{
		name: name, command: command, stdin: stdin, stdout: stdout, stderr: stderr,
		requests:  json.NewEncoder(stdin),
		waiting:   map[int64]chan message{},
		processes: map[int]*Process{},
		orphans:   map[int][]message{},
		gone:      make(chan struct{}),
	}
	go c.receive()
	go c.ping()
	return c
}

// Close ends the agent, which kills whatever it still runs, and waits for it.
func (c *Client) Close() error {
	c.stdin.Close()
	select {
	case <-c.gone:
	case <-time.After(40 * time.Second): // it grants its own children 30
		if c.command != nil {
			c.command.Process.Kill()
		}
		c.stdout.Close() // whoever has started it must kill it
		c.stderr.Close()
		<-c.gone
	}
	return nil
}

// ping has the agent hear of us, however little there is to say.
func (c *Client) ping() {
	ticks := time.NewTicker(Remote.Silence / 6)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
			c.call(context.Background(), request{Do: doPing}) // a lost agent shows anyway
		case <-c.gone:
			return
		}
	}
}

// Lost is why the agent has gone, nil while it is there.
func (c *Client) Lost() error {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.lost
}

func (c *Client) receive() {
	overheard := make(chan struct{})
	go func() {
		defer close(overheard)
		io.Copy(&c.said, c.stderr) // until it ends, or is closed
	}()
	messages := json.NewDecoder(bufio.NewReaderSize(c.stdout, 1<<20))
	for {
		var m message
		if err := messages.Decode(&m); err != nil {
			<-overheard
			c.end(err)
			return
		}
		c.deliver(m)
	}
}

func (c *Client) deliver(m message) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if m.ID != 0 {
		if answer := c.waiting[m.ID]; answer != nil {
			delete(c.waiting, m.ID)
			answer <- m
		}
		return
	}
	if p := c.processes[m.Process]; p != nil {
		p.deliver(m)
	} else {
		c.orphans[m.Process] = append(c.orphans[m.Process], m)
	}
}

// end is called once, when the agent's output ends.
func (c *Client) end(err error) {
	var wait error
	if c.command != nil {
		wait = c.command.Wait()
	}
	c.stdin.Close()
	c.stdout.Close()
	c.stderr.Close()
	c.lock.Lock()
	defer c.lock.Unlock()
	switch said := c.said.String(); {
	case said != "":
		c.lost = fmt.Errorf("host %s: its agent ended: %s", c.name, tail.LastLine(said))
	case c.command != nil && c.command.ProcessState.ExitCode() == sshFailed:
		c.lost = fmt.Errorf("host %s: the connection to its agent was lost", c.name)
	case wait != nil:
		c.lost = fmt.Errorf("host %s: its agent ended: %w", c.name, wait)
	case !errors.Is(err, io.EOF):
		c.lost = fmt.Errorf("host %s: its agent's answer: %w", c.name, err)
	default:
		c.lost = fmt.Errorf("host %s: its agent ended", c.name)
	}
	for id, answer := range c.waiting {
		delete(c.waiting, id)
		answer <- message{Error: c.lost.Error()}
	}
	for _, p := range c.processes {
		p.deliver(message{Exit: &Exit{Status: -1, Stderr: c.lost.Error()}})
	}
	close(c.gone)
}

func (c *Client) call(ctx context.Context, r request) (message, error) {
	answer := make(chan message, 1)
	c.lock.Lock()
	if c.lost != nil {
		c.lock.Unlock()
		return message{}, c.lost
	}
	c.next++
	r.ID = c.next
	c.waiting[r.ID] = answer
	c.lock.Unlock()

	c.writeLock.Lock()
	err := c.requests.Encode(r)
	c.writeLock.Unlock()
	if err != nil {
		select { // the reason why it cannot be written to is better than EPIPE
		case m := <-answer:
			return message{}, errors.New(m.Error)
		case <-time.After(time.Second):
			return message{}, fmt.Errorf("host %s: %w", c.name, err)
		}
	}
	select {
	case m := <-answer:
		if m.Error != "" {
			return m, errors.New(m.Error)
		}
		return m, nil
	case <-ctx.Done():
		return message{}, ctx.Err()
	}
}

// Host reads the host's facts, and warnings about what could not be read.
func (c *Client) Host(ctx context.Context) (record.Host, []string, error) {
	m, err := c.call(ctx, request{Do: doHost, Name: c.name})
	if err != nil {
		return record.Host{}, nil, err
	}
	return *m.Host, m.Warnings, nil
}

// Vitals reads the host's, and by how many seconds its clock is ahead of ours: to
// half the time that the question took.
func (c *Client) Vitals(ctx context.Context) (vitals Vitals, ahead float64, err error) {
	asked := time.Now()
	m, err := c.call(ctx, request{Do: doVitals})
	if err != nil {
		return vitals, 0, err
	}
	took := time.Since(asked)
	middle := float64(asked.Add(took/2).UnixMicro()) / 1e6
	return *m.Vitals, m.Vitals.UnixSeconds - middle, nil
}

// Listen has the host accept connections on addresses, each on a port of its own,
// and returns where; it ends with the next Listen.
func (c *Client) Listen(ctx context.Context, addresses []string) (targets []string, err error) {
	m, err := c.call(ctx, request{Do: doListen, Targets: addresses})
	return m.Targets, err
}

// Reach connects from sources of the host, addresses and prefixes, to targets.
func (c *Client) Reach(ctx context.Context, sources, targets []string) (Reach, error) {
	m, err := c.call(ctx, request{Do: doReach, Sources: sources, Targets: targets})
	if err != nil {
		return Reach{}, err
	}
	return *m.Reach, nil
}

// Forwards says what the host lacks for the packet engine to talk to targets,
// addresses of another host.
func (c *Client) Forwards(ctx context.Context, targets []string) (missing []string, err error) {
	m, err := c.call(ctx, request{Do: doForward, Targets: targets})
	return m.Missing, err
}

// Link describes the card of the host that leads to an address.
func (c *Client) Link(ctx context.Context, address string) (string, error) {
	m, err := c.call(ctx, request{Do: doLink, Targets: []string{address}})
	return m.Link, err
}

// Spin times a fixed calculation on the host, in seconds.
func (c *Client) Spin(ctx context.Context) (float64, error) {
	m, err := c.call(ctx, request{Do: doSpin})
	return m.SpinSeconds, err
}

// Measure reads the host and processes, in order. Detail costs more and is for
// the points of a ramp, not for the ticks of a clock.
func (c *Client) Measure(ctx context.Context, processes []*Process, detail bool) (Measurement, error) {
	r := request{Do: doMeasure, Detail: detail}
	for _, p := range processes {
		r.Processes = append(r.Processes, p.id)
	}
	m, err := c.call(ctx, r)
	if err != nil {
		return Measurement{}, err
	}
	return *m.Measurement, nil
}

// Carry brings the program at path to the host, unless it is there already, and
// returns its path on the host.
func (c *Client) Carry(ctx context.Context, path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	r := request{Name: filepath.Base(path), SHA256: hex.EncodeToString(sum[:])}
	r.Do = doHave
	if m, err := c.call(ctx, r); err != nil || m.Path != "" {
		return m.Path, err
	}
	r.Do = doPut
	for !r.Last {
		size := min(len(text), pieceBytes)
		r.Piece, text = text[:size], text[size:]
		r.Last = len(text) == 0
		m, err := c.call(ctx, r)
		if err != nil || r.Last {
			return m.Path, err
		}
	}
	return "", nil
}

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
	m, err := c.call(ctx, request{Do: doStart, Start: &what})
	if err != nil {
		return nil, err
	}
	// Lines are read as they come; the buffer holds what a reader that is busy
	// measuring cannot take at once.
	p := &Process{PID: m.PID, id: m.Process, client: c, lines: make(chan string, 4096), exited: make(chan struct{})}
	p.Lines = p.lines
	c.lock.Lock()
	defer c.lock.Unlock()
	c.processes[p.id] = p
	for _, event := range c.orphans[p.id] {
		p.deliver(event)
	}
	delete(c.orphans, p.id)
	if c.lost != nil {
		p.deliver(message{Exit: &Exit{Status: -1, Stderr: c.lost.Error()}})
	}
	return p, nil
}

func (p *Process) deliver(m message) {
	select {
	case <-p.exited:
		return
	default:
	}
	if m.Line != nil {
		select {
		case p.lines <- *m.Line:
		default: // a process that floods its output must not block all others
		}
	}
	if m.Exit != nil {
		delete(p.client.processes, p.id)
		p.exit = *m.Exit
		close(p.lines)
		close(p.exited)
	}
}

// Write sends a line to the process's standard input.
func (p *Process) Write(ctx context.Context, line string) error {
	_, err := p.client.call(ctx, request{Do: doWrite, Process: p.id, Line: line})
	return err
}

// CloseInput ends the process's standard input.
func (p *Process) CloseInput(ctx context.Context) error {
	_, err := p.client.call(ctx, request{Do: doClose, Process: p.id})
	return err
}

// Kill ends the process and its children at once.
func (p *Process) Kill(ctx context.Context) error {
	select {
	case <-p.exited:
		return nil
	default:
	}
	_, err := p.client.call(ctx, request{Do: doKill, Process: p.id})
	return err
}

// Said is the last line that the process has written to its standard error, "" for
// none.
func (p *Process) Said(ctx context.Context) (string, error) {
	m, err := p.client.call(ctx, request{Do: doSaid, Process: p.id})
	return m.Said, err
}

// Tree adds up what the process and its descendants use.
func (p *Process) Tree(ctx context.Context) (Tree, error) {
	m, err := p.client.call(ctx, request{Do: doTree, Process: p.id})
	if err != nil {
		return Tree{}, err
	}
	return *m.Tree, nil
}

// Exited is closed when the process has ended; Exit then says how.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Exit says how the process ended; call it only after Exited is closed.
func (p *Process) Exit() Exit { return p.exit }

// String says how the process ended, in words.
func (e Exit) String() string {
	how := fmt.Sprintf("exit status %d", e.Status)
	if e.Signal != "" {
		how = "signal " + e.Signal
	}
	if e.Stderr != "" {
		how += ": " + tail.LastLine(e.Stderr)
	}
	return how
}
