package children

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"connbench/harness/tail"
	"connbench/servers/family"
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
	// allows it: see [Set.KernelBytes].
	Grouped bool `json:"grouped,omitempty"`
	// LongestLine bounds the lines of its standard output, in bytes; 0: [LongestLine]. A
	// process that writes a longer one is killed.
	LongestLine int `json:"longest_line,omitempty"`
}

// LongestLine is the bound where none is set, in bytes.
const LongestLine = 64 << 10

// Exit says how a process ended.
type Exit struct {
	// Status is the exit status, -1 after a signal; Signal names that.
	Status int    `json:"status"`
	Signal string `json:"signal,omitempty"`
	// Stderr is the end of what it wrote there, Head the beginning.
	Stderr string `json:"stderr,omitempty"`
	Head   string `json:"head,omitempty"`
	// Fault says how it broke the contract of servers/README.md, and was killed for it.
	Fault string `json:"fault,omitempty"`
	// Left are the names of processes that it left behind when it ended by itself, in
	// whatever session. They have been killed.
	Left []string `json:"left,omitempty"`
	// Lost is the harness's word where nobody knows how it ended, and whether.
	Lost error `json:"-"`
}

// String says how the process ended, in words.
func (e Exit) String() string {
	if e.Lost != nil {
		return e.Lost.Error()
	}
	if e.Fault != "" {
		return "killed because it " + e.Fault
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

// Child is a process that this agent has started.
type Child struct {
	number  int
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

// Number is the process's own among all of its set.
func (c *Child) Number() int { return c.number }

// PID is its number on the host.
func (c *Child) PID() int { return c.command.Process.Pid }

func (c *Child) hasExited() bool {
	select {
	case <-c.exited:
		return true
	default:
		return false
	}
}

// kill ends the process and its children: each process leads a group of its session.
func (c *Child) kill() { syscall.Kill(-c.PID(), syscall.SIGKILL) }

// End kills the process because the harness wants it to end, or, with a fault, because
// it broke the contract.
func (c *Child) End(fault string) {
	c.lock.Lock()
	c.killed = true
	if c.fault == "" {
		c.fault = fault
	}
	c.lock.Unlock()
	c.kill()
}

// writePatience bounds how long a process's standard input may be full.
const writePatience = 2 * time.Second

// Write sends a line to its standard input. The error is ETIMEDOUT where the process does
// not read it.
func (c *Child) Write(line string) error {
	// One that does not read must not hold up the others.
	c.stdin.SetWriteDeadline(time.Now().Add(writePatience))
	_, err := io.WriteString(c.stdin, line+"\n")
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("it has read nothing from its standard input for %s: %w", writePatience, unix.ETIMEDOUT)
	}
	return err
}

// CloseInput ends its standard input.
func (c *Child) CloseInput() error { return c.stdin.Close() }

// Said is the line of its standard error that says most, "" for none.
func (c *Child) Said() string { return c.stderr.Line() }

// Head is the beginning of what it has written to its standard error.
func (c *Child) Head() string { return c.stderr.Head() }
