// Package swarmtest drives whole swarms in tests.
package swarmtest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"connbench/clients/control"
)

// Swarm is a coordinator in a process of its own, with its workers.
type Swarm struct {
	t       testing.TB
	Process *exec.Cmd
	in      io.WriteCloser
	// Events are the swarm's events, unless Last or Do wait for them.
	Events chan control.Event
	// Progress are the progress events of the last command.
	Progress []control.Event
}

// Argument makes a test's own program the coordinator. Its TestMain sees to that.
const Argument = "coordinate"

// Start starts a swarm. environment holds NAME=VALUE.
func Start(t testing.TB, environment ...string) *Swarm {
	t.Helper()
	return StartProgram(t, exec.Command("/proc/self/exe", Argument), environment...)
}

// StartProgram starts a program that is a swarm.
func StartProgram(t testing.TB, program *exec.Cmd, environment ...string) *Swarm {
	t.Helper()
	s := &Swarm{t: t, Events: make(chan control.Event), Process: program}
	s.Process.Env = append(os.Environ(), environment...)
	s.Process.Stderr = os.Stderr
	var err error
	if s.in, err = s.Process.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := s.Process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Process.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan bool)
	go func() {
		defer close(s.Events)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 4<<20)
		for lines.Scan() {
			var event control.Event
			if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
				t.Errorf("event %q: %v", lines.Text(), err)
			}
			select {
			case s.Events <- event:
			case <-ended:
			}
		}
	}()
	t.Cleanup(func() {
		close(ended)
		s.in.Close()
		s.Process.Process.Kill()
		s.Process.Wait()
	})
	return s
}

// Send sends a command.
func (s *Swarm) Send(command control.Command) {
	s.t.Helper()
	if err := json.NewEncoder(s.in).Encode(command); err != nil {
		s.t.Fatal(err)
	}
}

// SendLine sends a line that may be no command.
func (s *Swarm) SendLine(line string) {
	s.t.Helper()
	if _, err := fmt.Fprintln(s.in, line); err != nil {
		s.t.Fatal(err)
	}
}

// Last waits for the last event of a command.
func (s *Swarm) Last() control.Event {
	s.t.Helper()
	deadline := time.After(2 * time.Minute)
	s.Progress = nil
	for {
		select {
		case event, ok := <-s.Events:
			switch {
			case !ok:
				s.t.Fatal("the swarm ended")
			case event.Kind == control.KindProgress:
				s.Progress = append(s.Progress, event)
			default:
				return event
			}
		case <-deadline:
			s.t.Fatal("no answer for two minutes")
		}
	}
}

// Do carries out a command that is to succeed.
func (s *Swarm) Do(command control.Command) *control.Result {
	s.t.Helper()
	if command.TimeoutSeconds == 0 {
		command.TimeoutSeconds = 60
	}
	s.Send(command)
	event := s.Last()
	if event.Kind != control.KindDone || event.Op != command.Op {
		s.t.Fatalf("%s: %+v", command.Op, event)
	}
	if event.Open != event.Result.Open {
		s.t.Errorf("%s: %d open in the event, %d in the result", command.Op, event.Open, event.Result.Open)
	}
	return event.Result
}

// Configure carries out the first command.
func (s *Swarm) Configure(connections int, targets ...string) *control.Result {
	s.t.Helper()
	return s.Do(control.Command{Op: control.OpConfigure, Config: Configuration(connections, targets...)})
}

// Configuration is a configuration with the kernel's sockets on the loopback.
func Configuration(connections int, targets ...string) *control.Config {
	return &control.Config{
		Engine: "socket", Targets: targets, Sources: []string{"127.2.0.0/24"},
		FirstPort: 20000, LastPort: 40000, Connections: connections, Seed: 1,
	}
}

// Workers returns the process numbers of the workers.
func (s *Swarm) Workers() (pids []int) {
	s.t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.Process.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue // a thread that has ended
		}
		for field := range strings.FieldsSeq(string(text)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				s.t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// ExpectGone waits until processes are no more.
func ExpectGone(t testing.TB, pids []int) {
	t.Helper()
	Eventually(t, "workers gone", func() bool {
		return !slices.ContainsFunc(pids, func(pid int) bool {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			return err == nil && !strings.Contains(string(stat), ") Z ")
		})
	})
}

// ExpectExit ends the swarm's input, and has it exit with a status.
func (s *Swarm) ExpectExit(status int) {
	s.t.Helper()
	s.in.Close()
	done := make(chan error, 1)
	go func() {
		for range s.Events {
		}
		done <- s.Process.Wait()
	}()
	select {
	case err := <-done:
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			s.t.Fatal(err)
		}
		if got := s.Process.ProcessState.ExitCode(); got != status {
			s.t.Errorf("exit status %d, want %d", got, status)
		}
	case <-time.After(time.Minute):
		s.t.Error("a minute after the end of its input, the swarm still runs")
	}
}

// Eventually waits for something that other processes bring about.
func Eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after a minute, still not: %s", what)
		}
	}
}

// TotalOf returns the number of times in a histogram.
func TotalOf(t testing.TB, histogram string) int64 {
	t.Helper()
	h, err := hdrhistogram.Decode([]byte(histogram))
	if err != nil {
		t.Fatal(err)
	}
	return h.TotalCount()
}

// ExpectCounts compares the counts of a result, without usage and times. What was late
// counts as delivered: it depends on the host.
func ExpectCounts(t testing.TB, got *control.Result, want control.Result) {
	t.Helper()
	counts := *got
	counts.Latency, counts.Lag, counts.Usage, counts.Seconds, counts.Processes = "", "", control.Usage{}, 0, 0
	counts.Delivered, counts.Late, counts.ReceivedBytes = counts.Delivered+counts.Late, 0, 0
	if g, w := fmt.Sprintf("%+v", counts), fmt.Sprintf("%+v", want); g != w {
		t.Errorf("got  %s\nwant %s", g, w)
	}
}
