package lifecycle

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"math"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"connbench/servers/contract"
)

// patience bounds every wait of these tests.
const patience = 20 * time.Second

// process is a run of the lifecycle under a test's hands.
type process struct {
	t      *testing.T
	stdin  *io.PipeWriter
	stdout *bufio.Scanner
	stderr strings.Builder // to be read after the end
	status chan int
}

func launch(t *testing.T, args []string, start func(contract.Options) (Server, error)) *process {
	in, stdin := io.Pipe()
	stdout, out := io.Pipe()
	p := &process{t: t, stdin: stdin, stdout: bufio.NewScanner(stdout), status: make(chan int, 1)}
	go func() {
		status := run(append([]string{"/path/to/server"}, args...), in, out, &p.stderr, start)
		out.Close()
		p.status <- status
	}()
	t.Cleanup(func() { stdin.Close() })
	return p
}

func (p *process) answer(v any) {
	p.t.Helper()
	if !p.stdout.Scan() {
		p.t.Fatal("no answer")
	}
	if err := json.Unmarshal(p.stdout.Bytes(), v); err != nil {
		p.t.Fatalf("%s: %v", p.stdout.Bytes(), err)
	}
}

func (p *process) expectEnd(status int, complaint string) {
	p.t.Helper()
	select {
	case got := <-p.status:
		if got != status {
			p.t.Errorf("status %d, want %d", got, status)
		}
	case <-time.After(patience):
		p.t.Fatal("does not end")
	}
	if got := p.stderr.String(); got != complaint {
		p.t.Errorf("standard error: %q, want %q", got, complaint)
	}
}

func serve(contract.Options) (Server, error) {
	return Server{Addresses: []string{"127.0.0.1:1"}, Connections: func() int64 { return 42 }}, nil
}

func TestQuestions(t *testing.T) {
	p := launch(t, nil, serve)
	var ready contract.Ready
	p.answer(&ready)
	if !ready.Ready || len(ready.Addresses) != 1 || ready.Addresses[0] != "127.0.0.1:1" {
		t.Errorf("ready: %+v", ready)
	}
	var first, settled contract.Stats
	io.WriteString(p.stdin, "stats\n")
	p.answer(&first)
	io.WriteString(p.stdin, "nonsense\nsettle\n")
	p.answer(&settled)
	if first.Connections != 42 || settled.Connections != 42 {
		t.Errorf("connections: %d, %d", first.Connections, settled.Connections)
	}
	if *settled.GCCycles <= *first.GCCycles {
		t.Errorf("settle collected nothing: %d and %d cycles", *first.GCCycles, *settled.GCCycles)
	}
	p.stdin.Close()
	p.expectEnd(exitDone, "server: unknown question \"nonsense\": \"stats\" and \"settle\" are known\n")
}

// TestStatsSeeWhatIsThere holds the figures against memory and goroutines that
// the test makes.
func TestStatsSeeWhatIsThere(t *testing.T) {
	const (
		bytes      = 64 << 20
		goroutines = 1000
	)
	settle()
	before := stats(0)
	ballast := make([]byte, bytes)
	release := make(chan struct{})
	for range goroutines {
		go func() { <-release }()
	}
	settle()
	after := stats(0)
	close(release)
	for name, grown := range map[string][2]int64{
		"heap in use": {*after.HeapInUseBytes - *before.HeapInUseBytes, bytes},
		"live heap":   {*after.HeapLiveBytes - *before.HeapLiveBytes, bytes},
		"goroutines":  {*after.Goroutines - *before.Goroutines, goroutines},
		"stack":       {*after.StackBytes - *before.StackBytes, goroutines * 1024},
	} {
		// Other tests' remains may go meanwhile: nine tenths must show.
		if grown[0] < grown[1]*9/10 {
			t.Errorf("%s grew by %d, want %d", name, grown[0], grown[1])
		}
	}
	if *after.UserSeconds+*after.SystemSeconds <= 0 || *after.GCPauseSeconds <= 0 || *after.GCCPUSeconds <= 0 {
		t.Errorf("no time spent: %+v", after)
	}
	if *after.GCCPUSeconds > *after.UserSeconds+*after.SystemSeconds {
		t.Errorf("collections took more than the process: %+v", after)
	}
	runtime.KeepAlive(ballast)
}

func TestCollectionsNeverTakeMoreThanTheProcess(t *testing.T) {
	var g gcTime
	for i, step := range []struct {
		collecting, busy, cpu float64
		want                  float64
	}{
		{2, 10, 1, 0.2},
		{2, 10, 1.5, 0.2},             // no collection since
		{7_480, 7_490, 211, 209.6440}, // 302 servers on two CPUs, taken together
		{7_481, 7_490, 212, 209.6440}, // no busy time in which it can have been
		{7_481, 7_590, 213, 209.6440},
		{7_500, 7_595, 214, 210.6440}, // more collecting than busy
		{7_400, 7_600, 215, 210.6440}, // a runtime that goes back
	} {
		got := g.add(runtimeTimes{step.collecting, step.busy}, step.cpu)
		if math.Abs(got-step.want) > 0.001 {
			t.Errorf("step %d: %v s, want %v", i, got, step.want)
		}
		if got > step.cpu {
			t.Errorf("step %d: %v s of %v", i, got, step.cpu)
		}
	}
}

func TestSigterm(t *testing.T) {
	p := launch(t, nil, serve)
	p.answer(new(contract.Ready))
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.expectEnd(exitDone, "")
}

func TestFailures(t *testing.T) {
	p := launch(t, []string{"--loops", "0"}, serve)
	p.expectEnd(exitUsage, "server: --loops: 0 is not positive\n")

	p = launch(t, []string{"--loop", "1"}, serve)
	p.expectEnd(exitUsage, "server: flag provided but not defined: -loop\n")

	p = launch(t, nil, func(contract.Options) (Server, error) { return Server{}, errors.New("port taken") })
	p.expectEnd(exitFailed, "server: port taken\n")

	p = launch(t, nil, func(o contract.Options) (Server, error) {
		server, err := serve(o)
		failed := make(chan error, 1)
		failed <- errors.New("broken")
		server.Failed = failed
		return server, err
	})
	p.answer(new(contract.Ready))
	p.expectEnd(exitFailed, "server: broken\n")
}
