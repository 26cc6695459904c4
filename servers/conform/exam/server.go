package exam

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
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

// Server is a process of the program under examination.
type Server struct {
	e       *Exam
	command *exec.Cmd
	Options contract.Options
	Stdin   io.WriteCloser
	Lines   chan string   // of standard output; closed at its end
	Exited  chan struct{} // closed when the process has ended
	Stderr  *tail
	// Addresses are those of the ready line.
	Addresses []string
	mark      family.Mark
	// Dismissed is set when the check asked the server to end.
	Dismissed bool
}

// Start starts a server on one free port of [Exam.Hosts], with the program's
// options as changed by vary, and waits until it is ready.
func (e *Exam) Start(vary ...func(*contract.Options)) *Server {
	s := e.Launch(vary...)
	s.awaitReady()
	return s
}

// StartBroadcast starts a server that sends each message to all connections.
func (e *Exam) StartBroadcast() *Server {
	return e.Start(func(o *contract.Options) { o.Broadcast = true })
}

// Launch starts a server and waits for nothing.
func (e *Exam) Launch(vary ...func(*contract.Options)) *Server {
	options := e.Program.Options
	options.Listen = []string{FreePort(e.Hosts(1)[0])}
	for _, f := range vary {
		f(&options)
	}
	return e.Execute(options, options.Args())
}

// hosts counts the addresses that servers with devices have been given: each has some of
// its own, since a route leads to one device.
var hosts atomic.Uint32

// Hosts are n addresses of IPv4 that the next server may listen on.
func (e *Exam) Hosts(n int) (list []string) {
	first := byte(1)
	for i := range n {
		if !e.Program.Device {
			list = append(list, netip.AddrFrom4([4]byte{127, 0, 0, first + byte(i)}).String())
			continue
		}
		next := hosts.Add(1)
		list = append(list, netip.AddrFrom4([4]byte{198, 18, byte(next >> 8), byte(next)}).String())
	}
	return list
}

// HostIPv6 is an address of IPv6 that the next server may listen on.
func (e *Exam) HostIPv6() string {
	if !e.Program.Device {
		return "::1"
	}
	next := hosts.Add(1)
	return netip.AddrFrom16([16]byte{0: 0xfd, 2: 0xc3, 14: byte(next >> 8), 15: byte(next)}).String()
}

// FreePort is the address of any free port of a host.
func FreePort(host string) string { return net.JoinHostPort(host, "0") }

// Execute starts the program with args.
func (e *Exam) Execute(options contract.Options, args []string) *Server {
	line := append(append([]string(nil), e.Program.Command...), args...)
	s := &Server{
		e:       e,
		Options: options,
		command: exec.Command(line[0], line[1:]...),
		Lines:   make(chan string, 64),
		Exited:  make(chan struct{}),
		Stderr:  new(tail),
	}
	stdout, write := io.Pipe()
	s.mark = nextMark()
	s.command.Env = append(append(os.Environ(), e.Program.Env...), s.mark.Setting())
	s.command.Stdout = write
	s.command.Stderr = s.Stderr
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
		e.Fail("cannot start the server: %v", err)
	}
	s.Stdin = stdin
	e.servers = append(e.servers, s)
	go func() {
		defer close(s.Lines)
		for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
			select {
			case s.Lines <- scanner.Text():
			default: // a server that talks without being asked
			}
		}
		io.Copy(io.Discard, stdout)
	}()
	stop := context.AfterFunc(e.Ctx, s.kill)
	go func() {
		s.command.Wait()
		stop()
		write.Close()
		close(s.Exited)
	}()
	return s
}

// awaitReady reads standard output up to the ready line.
func (s *Server) awaitReady() {
	deadline := time.After(Patience)
	for {
		select {
		case line, open := <-s.Lines:
			if !open {
				<-s.Exited
				s.e.Fail("started the server as %q, expected a ready line on its standard output, got its end: %s", s.command.Args, s.Epitaph())
			}
			var ready contract.Ready
			if json.Unmarshal([]byte(line), &ready) == nil && ready.Ready {
				if err := ready.Check(s.Options); err != nil {
					s.e.Fail("started the server with --listen %s, expected these addresses in its ready line, in this order and each with a port of its own, but %v", strings.Join(s.Options.Listen, ","), err)
				}
				s.Addresses = ready.Addresses
				return
			}
		case <-deadline:
			s.e.Fail("started the server as %q, expected a ready line on its standard output, got none for %v", s.command.Args, Patience)
		}
	}
}

// Ask puts a question of the contract.
func (s *Server) Ask(question string) contract.Stats {
	if _, err := io.WriteString(s.Stdin, question+"\n"); err != nil {
		s.e.Fail("sent %q on standard input: %v", question, err)
	}
	select {
	case line, open := <-s.Lines:
		if !open {
			s.e.Fail("sent %q on standard input, expected a line of JSON, got the end of standard output", question)
		}
		stats, err := contract.ParseStats(line)
		if err != nil {
			s.e.Fail("sent %q on standard input, expected a line of JSON as servers/README.md has it, got %q: %v", question, line, err)
		}
		return stats
	case <-time.After(Patience):
		s.e.Fail("sent %q on standard input, expected a line of JSON, got nothing for %v", question, Patience)
	}
	panic("unreachable")
}

// AwaitConnections waits until the server counts n connections.
func (s *Server) AwaitConnections(n int64) {
	var got int64
	s.e.Await(func() bool {
		got = s.Ask(contract.QuestionStats).Connections
		return got == n
	}, fmt.Sprintf("stats to count %d connections", n), func() string { return fmt.Sprint(got) })
}

// AwaitExit waits for the end of the process and returns its exit status, -1 if
// a signal ended it. What was done to end it completes "...".
func (s *Server) AwaitExit(done string) int {
	s.Dismissed = true
	select {
	case <-s.Exited:
		return s.command.ProcessState.ExitCode()
	case <-time.After(Patience):
		s.e.Fail("%s, expected the server to end, got nothing for %v", done, Patience)
	}
	panic("unreachable")
}

func (s *Server) alive() bool {
	select {
	case <-s.Exited:
		return false
	default:
		return true
	}
}

// Epitaph says how the process ended, and its last words.
func (s *Server) Epitaph() string {
	how := s.command.ProcessState.String()
	if words := s.Stderr.lastLine(); words != "" {
		how += ": " + words
	}
	return how
}

// Dismiss ends the process, which the check has no more use for.
func (s *Server) Dismiss() {
	s.Dismissed = true
	s.kill()
}

// kill ends the process and what it has started.
func (s *Server) kill() {
	if s.alive() {
		syscall.Kill(-s.PID(), syscall.SIGKILL)
		<-s.Exited
	}
	s.EndStrays()
}

// EndStrays ends what the process, which has ended, has left behind, and returns the
// names of that.
func (s *Server) EndStrays() []string {
	return family.End(func() []family.Stray {
		strays := family.Strays(func(pid int) bool { return pid == s.PID() })
		return slices.DeleteFunc(strays, func(stray family.Stray) bool { return stray.Ended || !stray.From(s.mark, s.PID()) })
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

// PID is the id of the server's process.
func (s *Server) PID() int { return s.command.Process.Pid }

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

func (t *tail) Text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.data)
}

// lastLine is what a person would look at first: the line that says why. A Go
// program that panics says it before the stacks.
func (t *tail) lastLine() string {
	lines := bytes.Split(bytes.TrimSpace([]byte(t.Text())), []byte("\n"))
	for _, line := range lines {
		if bytes.HasPrefix(line, []byte("panic:")) || bytes.HasPrefix(line, []byte("fatal error:")) || bytes.HasPrefix(line, []byte("WARNING: DATA RACE")) {
			return string(line)
		}
	}
	return string(lines[len(lines)-1])
}
