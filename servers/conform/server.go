package conform

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"connbench/servers/contract"
	"connbench/servers/family"
)

// server is a process of the program under examination.
type server struct {
	e       *exam
	command *exec.Cmd
	options contract.Options
	stdin   io.WriteCloser
	lines   chan string   // of standard output; closed at its end
	exited  chan struct{} // closed when the process has ended
	stderr  *tail
	// addresses are those of the ready line.
	addresses []string
	mark      family.Mark
	// dismissed is set when the check asked the server to end.
	dismissed bool
}

// start starts a server on one free port of 127.0.0.1, with the program's
// options as changed by vary, and waits until it is ready.
func (e *exam) start(vary ...func(*contract.Options)) *server {
	s := e.launch(vary...)
	s.awaitReady()
	return s
}

// launch starts a server and waits for nothing.
func (e *exam) launch(vary ...func(*contract.Options)) *server {
	options := e.program.Options
	options.Listen = []string{"127.0.0.1:0"}
	for _, f := range vary {
		f(&options)
	}
	return e.execute(options, options.Args())
}

// execute starts the program with args.
func (e *exam) execute(options contract.Options, args []string) *server {
	line := append(append([]string(nil), e.program.Command...), args...)
	s := &server{
		e:       e,
		options: options,
		command: exec.Command(line[0], line[1:]...),
		lines:   make(chan string, 64),
		exited:  make(chan struct{}),
		stderr:  new(tail),
	}
	stdout, write := io.Pipe()
	s.mark = nextMark()
	s.command.Env = append(append(os.Environ(), e.program.Env...), s.mark.Setting())
	s.command.Stdout = write
	s.command.Stderr = s.stderr
	// A group of its own: what a server has started ends with it, and Ctrl-C on
	// a terminal reaches the gate alone, which then ends the servers.
	s.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// For output that a child of an ended server still holds open.
	s.command.WaitDelay = time.Second
	stdin, err := s.command.StdinPipe()
	if err == nil {
		err = s.command.Start()
	}
	if err != nil {
		e.fail("cannot start the server: %v", err)
	}
	s.stdin = stdin
	e.servers = append(e.servers, s)
	go func() {
		defer close(s.lines)
		for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
			select {
			case s.lines <- scanner.Text():
			default: // a server that talks without being asked
			}
		}
		io.Copy(io.Discard, stdout)
	}()
	stop := context.AfterFunc(e.ctx, s.kill)
	go func() {
		s.command.Wait()
		stop()
		write.Close()
		close(s.exited)
	}()
	return s
}

// awaitReady reads standard output up to the ready line.
func (s *server) awaitReady() {
	deadline := time.After(patience)
	for {
		select {
		case line, open := <-s.lines:
			if !open {
				<-s.exited
				s.e.fail("started the server as %q, expected a ready line on its standard output, got its end: %s", s.command.Args, s.epitaph())
			}
			var ready contract.Ready
			if json.Unmarshal([]byte(line), &ready) == nil && ready.Ready {
				if err := ready.Check(s.options); err != nil {
					s.e.fail("started the server with --listen %s, expected these addresses in its ready line, in this order and each with a port of its own, but %v", strings.Join(s.options.Listen, ","), err)
				}
				s.addresses = ready.Addresses
				return
			}
		case <-deadline:
			s.e.fail("started the server as %q, expected a ready line on its standard output, got none for %v", s.command.Args, patience)
		}
	}
}

// ask puts a question of the contract.
func (s *server) ask(question string) contract.Stats {
	if _, err := io.WriteString(s.stdin, question+"\n"); err != nil {
		s.e.fail("sent %q on standard input: %v", question, err)
	}
	select {
	case line, open := <-s.lines:
		if !open {
			s.e.fail("sent %q on standard input, expected a line of JSON, got the end of standard output", question)
		}
		stats, err := contract.ParseStats(line)
		if err != nil {
			s.e.fail("sent %q on standard input, expected a line of JSON as servers/README.md has it, got %q: %v", question, line, err)
		}
		return stats
	case <-time.After(patience):
		s.e.fail("sent %q on standard input, expected a line of JSON, got nothing for %v", question, patience)
	}
	panic("unreachable")
}

// awaitConnections waits until the server counts n connections.
func (s *server) awaitConnections(n int64) {
	var got int64
	s.e.await(func() bool {
		got = s.ask(contract.QuestionStats).Connections
		return got == n
	}, fmt.Sprintf("stats to count %d connections", n), func() string { return fmt.Sprint(got) })
}

// awaitExit waits for the end of the process and returns its exit status, -1 if
// a signal ended it. What was done to end it completes "...".
func (s *server) awaitExit(done string) int {
	s.dismissed = true
	select {
	case <-s.exited:
		return s.command.ProcessState.ExitCode()
	case <-time.After(patience):
		s.e.fail("%s, expected the server to end, got nothing for %v", done, patience)
	}
	panic("unreachable")
}

func (s *server) alive() bool {
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

// epitaph says how the process ended, and its last words.
func (s *server) epitaph() string {
	how := s.command.ProcessState.String()
	if words := s.stderr.lastLine(); words != "" {
		how += ": " + words
	}
	return how
}

// dismiss ends the process, which the check has no more use for.
func (s *server) dismiss() {
	s.dismissed = true
	s.kill()
}

// kill ends the process and what it has started.
func (s *server) kill() {
	if s.alive() {
		syscall.Kill(-s.pid(), syscall.SIGKILL)
		<-s.exited
	}
	s.endStrays()
}

// endStrays ends what the process, which has ended, has left behind, and returns the
// names of that.
func (s *server) endStrays() []string {
	return family.End(func() []family.Stray {
		strays := family.Strays(func(pid int) bool { return pid == s.pid() })
		return slices.DeleteFunc(strays, func(stray family.Stray) bool { return stray.Ended || !stray.From(s.mark, s.pid()) })
	})
}

// marks counts the servers of this process.
var marks atomic.Int64

// nextMark is the mark of a server: what it has started is found by that. A host where
// this is not possible has no marks.
func nextMark() family.Mark {
	self, err := family.Self()
	if err != nil {
		return ""
	}
	return self.Mark(int(marks.Add(1)))
}

func (s *server) pid() int { return s.command.Process.Pid }

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	data []byte
}

// tailBytes is enough for the last words of a program that panics.
const tailBytes = 64 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p...)
	if excess := len(t.data) - tailBytes; excess > 0 {
		t.data = append(t.data[:0], t.data[excess:]...)
	}
	return len(p), nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.data)
}

// lastLine is what a person would look at first: the line that says why. A Go
// program that panics says it before the stacks.
func (t *tail) lastLine() string {
	lines := bytes.Split(bytes.TrimSpace([]byte(t.text())), []byte("\n"))
	for _, line := range lines {
		if bytes.HasPrefix(line, []byte("panic:")) || bytes.HasPrefix(line, []byte("fatal error:")) || bytes.HasPrefix(line, []byte("WARNING: DATA RACE")) {
			return string(line)
		}
	}
	return string(lines[len(lines)-1])
}
