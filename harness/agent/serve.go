package agent

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"connbench/harness/agent/children"
	"connbench/harness/agent/lines"
	"connbench/harness/agent/network"
	"connbench/harness/agent/observed"
	"connbench/harness/agent/programs"
	"connbench/harness/probe"
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

// Serve answers requests from in on out until in ends or the agent is told to end
// (SIGTERM, SIGHUP), then kills every process that it started.
func Serve(in io.Reader, out io.Writer, options Options) error {
	if options.Alone {
		claim, err := claimHost(options.Patience)
		if err != nil {
			return err
		}
		defer claim.Close()
	}
	// A word to a harness that was killed must not end the agent before it has
	// cleaned up: with somebody to hear of the signal, the write just fails.
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
	told := make(chan os.Signal, 1)
	signal.Notify(told, unix.SIGTERM, unix.SIGHUP)
	reader, err := probe.Open()
	if err != nil {
		return err
	}
	if err := raiseDescriptorLimit(); err != nil {
		return err
	}
	s := &server{reader: reader, out: json.NewEncoder(out), carried: map[string]bool{}}
	s.children, err = children.New(reader.NewGroup, func(news children.News) { s.send(message{News: news}) })
	if err != nil {
		return err
	}
	defer s.children.Close()
	return s.serve(in, options.Silence, told)
}

// serve carries out requests until in ends, is silent for too long (0 is never), or the
// agent is told to end.
func (s *server) serve(in io.Reader, silence time.Duration, told <-chan os.Signal) error {
	heard, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() { ended <- s.receive(in, heard) }()
	var overdue <-chan time.Time
	quiet := time.NewTimer(silence)
	defer quiet.Stop()
	if silence > 0 {
		overdue = quiet.C
	}
	for {
		select {
		case <-heard:
			quiet.Reset(silence)
		case err := <-ended:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("agent: reading a request: %w", err)
		case signal := <-told:
			return fmt.Errorf("agent: ended by a signal: %s", signal)
		case <-overdue:
			return fmt.Errorf("agent: nothing heard from the harness for %s", silence)
		}
	}
}

// receive carries out the requests that it reads, until in ends.
func (s *server) receive(in io.Reader, heard chan<- struct{}) error {
	from := bufio.NewReaderSize(in, 1<<16)
	for {
		line, err := lines.Read(from, longestMessage)
		if err != nil {
			return err
		}
		var r request
		if err := json.Unmarshal(line, &r); err != nil {
			return err
		}
		select {
		case heard <- struct{}{}:
		default: // it knows already
		}
		if methods[r.Do].aside {
			go s.answer(r)
		} else {
			s.answer(r)
		}
	}
}

// answer carries out a request and replies.
func (s *server) answer(r request) {
	m := message{ID: r.ID}
	h, known := methods[r.Do]
	err := fmt.Errorf("agent: unknown request %q", r.Do)
	if known {
		var reply any
		if reply, err = h.do(s, r.With); err == nil {
			m.With, err = json.Marshal(reply)
		}
	}
	if err != nil {
		m.Error = err.Error()
		errors.As(err, &m.Errno)
	}
	s.send(m)
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

// server is an agent at work.
type server struct {
	reader   *probe.Reader
	children *children.Set

	outLock sync.Mutex
	out     *json.Encoder

	incoming  programs.Incoming
	carried   map[string]bool // paths of the programs of this run
	listeners network.Listeners
	observed  observed.Set
}

// send ignores errors: a harness that cannot be written to has closed our input
// too, and that ends the agent.
func (s *server) send(m message) {
	s.outLock.Lock()
	defer s.outLock.Unlock()
	s.out.Encode(m)
}
