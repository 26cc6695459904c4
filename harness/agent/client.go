package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"connbench/harness/agent/children"
	"connbench/harness/agent/lines"
	"connbench/harness/probe"
	"connbench/harness/tail"
)

// ErrHostLost marks what ended because a host, or the way to it, was lost. The error
// itself is a [LostError].
var ErrHostLost = errors.New("host lost")

// LostError says which host was lost, and why. It is an [ErrHostLost].
type LostError struct{ Host, Why string }

func (e *LostError) Error() string { return "host " + e.Host + ": " + e.Why }

// Is tells whether target is [ErrHostLost].
func (e *LostError) Is(target error) bool { return target == ErrHostLost }

// sshFailed is ssh's exit status when the connection fails, not the command there
// (ssh(1)). Agents have no such status.
const sshFailed = 255

// Client is the harness's end of an agent.
type Client struct {
	name    string
	command *exec.Cmd // nil where another process has started the agent
	silence time.Duration
	stdin   io.WriteCloser
	stdout  io.ReadCloser
	stderr  io.ReadCloser
	said    tail.Tail // on stderr
	place   Place     // nil: programs travel over the pipe

	writeLock sync.Mutex
	requests  *json.Encoder

	lock      sync.Mutex
	next      int64
	waiting   map[int64]chan message
	processes map[int]*Process
	orphans   map[int][]message // news that overtook the reply to start
	lost      *LostError        // set when the agent has gone
	because   string            // why we have given it up, "" if we have not
	gone      chan struct{}
}

// Dial starts command, which must run connbench-agent somewhere with its standard
// input, output and error connected to here. name is the host's.
func Dial(name string, command []string) (*Client, error) {
	return dialWith(name, command, Remote.Silence)
}

// dialWith is Dial with the time that an agent may be silent.
func dialWith(name string, command []string, silence time.Duration) (*Client, error) {
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
	return newClient(name, silence, process, stdin, stdout, stderr), nil
}

// Attach is the harness's end of an agent that another process starts: the other
// ends of its standard input, output and error. name is the host's.
func Attach(name string, stdin io.WriteCloser, stdout, stderr io.ReadCloser) *Client {
	return newClient(name, Remote.Silence, nil, stdin, stdout, stderr)
}

func newClient(name string, silence time.Duration, command *exec.Cmd, stdin io.WriteCloser, stdout, stderr io.ReadCloser) *Client {
	c := &Client{
		name: name, command: command, silence: silence, stdin: stdin, stdout: stdout, stderr: stderr,
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

// Close ends the agent, which kills whatever it still runs, and waits for it, for 40
// seconds at most.
func (c *Client) Close() error {
	c.stdin.Close()
	select {
	case <-c.gone:
	case <-time.After(children.KillPatience + 10*time.Second):
		c.giveUp("its agent did not end")
		<-c.gone
	}
	return nil
}

// Gone is closed when the agent has gone; Lost then says why.
func (c *Client) Gone() <-chan struct{} { return c.gone }

// Lost is why the agent has gone, an [ErrHostLost], and nil while it is there.
func (c *Client) Lost() error {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.lost == nil {
		return nil
	}
	return c.lost
}

func (c *Client) receive() {
	overheard := make(chan struct{})
	go func() {
		defer close(overheard)
		io.Copy(&c.said, c.stderr) // until it ends, or is closed
	}()
	from := bufio.NewReaderSize(c.stdout, 1<<16)
	for {
		var m message
		line, err := lines.Read(from, longestMessage)
		if err == nil {
			err = json.Unmarshal(line, &m)
		}
		if err != nil {
			c.end(err, overheard)
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

// endPatience is how long an agent whose output has ended may take to end itself.
const endPatience = 10 * time.Second

// end is called once, when the agent's output has ended, or makes no sense. overheard
// is closed when its standard error has.
func (c *Client) end(err error, overheard <-chan struct{}) {
	c.stdin.Close()
	if !errors.Is(err, io.EOF) {
		c.kill()
	}
	select {
	case <-overheard:
	case <-time.After(endPatience):
		c.stderr.Close()
	}
	var wait error
	if c.command != nil {
		late := time.AfterFunc(endPatience, c.kill)
		wait = c.command.Wait()
		late.Stop()
	}
	c.stdout.Close()
	c.stderr.Close()
	// One that was killed on this kernel could not remove its control group.
	if reader, err := probe.Open(); err == nil {
		reader.RemoveLeftGroups()
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	c.lost = &LostError{c.name, c.why(err, wait)}
	for id, answer := range c.waiting {
		delete(c.waiting, id)
		close(answer)
	}
	for _, p := range c.processes {
		p.end(children.Exit{Status: -1, Lost: c.lost})
	}
	close(c.gone)
}

// kill kills what Dial has started; it leads a group.
func (c *Client) kill() {
	if c.command != nil {
		syscall.Kill(-c.command.Process.Pid, syscall.SIGKILL)
	}
}

// why says why the agent has gone: read is how its output ended, wait how its process
// did.
func (c *Client) why(read, wait error) string {
	switch said := c.said.Line(); {
	case c.because != "":
		return c.because
	case said != "":
		return "its agent ended: " + said
	case !errors.Is(read, io.EOF):
		return "its agent's answer: " + read.Error()
	case c.command != nil && c.command.ProcessState.ExitCode() == sshFailed:
		return "the connection to its agent was lost"
	case wait != nil:
		return "its agent ended: " + wait.Error()
	}
	return "its agent ended"
}

// call has the agent carry out a method. The error is a [LostError] where the host is
// lost, before or meanwhile.
func call[Req, Rep any](ctx context.Context, c *Client, m method[Req, Rep], what Req) (Rep, error) {
	var reply Rep
	with, err := json.Marshal(what)
	if err != nil {
		return reply, err
	}
	answer, err := c.ask(ctx, request{Do: m.name, With: with})
	if err != nil {
		return reply, err
	}
	if err := json.Unmarshal(answer, &reply); err != nil {
		return reply, fmt.Errorf("host %s: its agent's answer to %s: %w", c.name, m.name, err)
	}
	return reply, nil
}

// ask sends a request and waits for its reply.
func (c *Client) ask(ctx context.Context, r request) (json.RawMessage, error) {
	answer := make(chan message, 1)
	c.lock.Lock()
	if c.lost != nil {
		c.lock.Unlock()
		return nil, c.lost
	}
	c.next++
	r.ID = c.next
	c.waiting[r.ID] = answer
	c.lock.Unlock()

	err := c.send(r)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.giveUp(fmt.Sprintf("its agent has read nothing for %s", c.silence))
	}
	if err != nil {
		// The agent has gone; what ended it is a better reason than EPIPE.
		select {
		case <-c.gone:
			return nil, c.Lost()
		case <-time.After(endPatience):
			return nil, &LostError{c.name, "writing to its agent: " + err.Error()}
		}
	}
	select {
	case m, there := <-answer:
		switch {
		case !there:
			return nil, c.Lost()
		case m.Error != "":
			return nil, &remoteError{m.Error, m.Errno}
		}
		return m.With, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// send writes a request. An agent that does not read is given up.
func (c *Client) send(r request) error {
	c.writeLock.Lock()
	defer c.writeLock.Unlock()
	if pipe, ok := c.stdin.(interface{ SetWriteDeadline(time.Time) error }); ok {
		pipe.SetWriteDeadline(time.Now().Add(c.silence))
	}
	return c.requests.Encode(r)
}

var pinging = define("ping", func(*server, none) (none, error) { return none{}, nil })

// ping has the agent hear of us, however little there is to say, and gives up one that
// does not answer any more.
func (c *Client) ping() {
	ticks := time.NewTicker(c.silence / 6)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
			ctx, cancel := context.WithTimeout(context.Background(), c.silence)
			_, err := call(ctx, c, pinging, none{})
			cancel()
			if errors.Is(err, context.DeadlineExceeded) {
				c.giveUp(fmt.Sprintf("its agent has said nothing for %s", c.silence))
			}
		case <-c.gone:
			return
		}
	}
}

// giveUp ends what is left of an agent that is lost.
func (c *Client) giveUp(why string) {
	c.lock.Lock()
	c.because = why
	c.lock.Unlock()
	c.kill()
	c.stdout.Close() // the program that started it must kill it
	c.stderr.Close()
}
