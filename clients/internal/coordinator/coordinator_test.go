package coordinator

import (
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"connbench/clients/control"
	"connbench/clients/internal/peer"
	"connbench/clients/internal/swarmtest"
	"connbench/clients/internal/worker"
	"connbench/clients/stack/stacktest"
)

// The test's own program is the swarm, too: coordinator and worker.
const (
	// Limits of descriptors that the processes set themselves.
	coordinatorLimit = "TEST_COORDINATOR_NOFILE"
	workerLimit      = "TEST_WORKER_NOFILE"
	// dropPrivilege makes workers drop CAP_NET_ADMIN.
	dropPrivilege = "TEST_WORKER_WITHOUT_NET_ADMIN"
)

func TestMain(m *testing.M) {
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == swarmtest.Argument:
		limitDescriptors(coordinatorLimit)
		err = Coordinate(os.Stdin, os.Stdout)
	case len(os.Args) == 2 && os.Args[1] == worker.Argument:
		limitDescriptors(workerLimit)
		if os.Getenv(dropPrivilege) != "" {
			dropNetAdmin()
		}
		err = worker.Main()
	default:
		os.Exit(stacktest.Main(m)) // for the packet engine's tests
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// dropNetAdmin drops CAP_NET_ADMIN.
func dropNetAdmin() {
	runtime.LockOSThread() // worker.Main stays on this thread
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	err := unix.Capget(&header, &data[0])
	data[0].Effective &^= 1 << unix.CAP_NET_ADMIN
	data[0].Permitted &^= 1 << unix.CAP_NET_ADMIN
	if err == nil {
		err = unix.Capset(&header, &data[0])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "capset:", err)
		os.Exit(1)
	}
}

func limitDescriptors(variable string) {
	if text := os.Getenv(variable); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err == nil {
			err = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: n})
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s=%s: %v\n", variable, text, err)
			os.Exit(1)
		}
	}
}

// Where descriptors are few, several processes are one swarm.
func TestSplitOverProcesses(t *testing.T) {
	a, b := peer.Start(t, "127.0.0.1", peer.Echo), peer.Start(t, "127.0.0.1", peer.Echo)
	s := swarmtest.Start(t, coordinatorLimit+"=100")
	const connections = 500 // of 100 - 32 a process
	configured := s.Configure(connections, a.Address, b.Address)
	if configured.Processes != 8 {
		t.Fatalf("%d processes, want 8", configured.Processes)
	}
	pids := s.Workers()
	if len(pids) != 8 {
		t.Fatalf("workers are %v, want 8", pids)
	}
	for _, pid := range pids {
		if session, err := unix.Getsid(pid); session != pid {
			t.Errorf("worker %d is in session %d, %v; want one of its own", pid, session, err)
		}
	}

	ramp := s.Do(control.Command{Op: "ramp", Connections: connections, Window: 40})
	swarmtest.ExpectCounts(t, ramp, control.Result{Open: connections, Opened: connections})
	if n := swarmtest.TotalOf(t, ramp.Latency); n != connections {
		t.Errorf("%d handshakes in the histogram, want %d", n, connections)
	}
	if a.Open() != connections/2 || b.Open() != connections/2 {
		t.Errorf("%d and %d connections at the targets", a.Open(), b.Open())
	}
	u := ramp.Usage
	if ramp.Processes != 8 || ramp.Seconds <= 0 || u.UserSeconds+u.SystemSeconds <= 0 || u.RSSBytes < 8<<20 || u.Busy <= 0 || u.Busy > 1 || u.StateBytesPerConnection == 0 || u.LagMaxSeconds < u.LagP99Seconds || u.LagP99Seconds <= 0 {
		t.Errorf("%d processes, %g s, usage %+v", ramp.Processes, ramp.Seconds, u)
	}

	if n := swarmtest.TotalOf(t, ramp.Lag); n == 0 || u.LagP50Seconds > u.LagP99Seconds {
		t.Errorf("%d lags, %+v", n, u)
	}
	if u.RunDelaySeconds == nil || *u.RunDelayMaxSeconds > *u.RunDelaySeconds || *u.RunDelayMaxSeconds < *u.RunDelaySeconds/8 {
		t.Errorf("run delays %v and %v", u.RunDelaySeconds, u.RunDelayMaxSeconds)
	}

	hold := s.Do(control.Command{Op: "hold", Seconds: 1})
	swarmtest.ExpectCounts(t, hold, control.Result{Open: connections})
	if hold.Seconds < 1 || len(s.Progress) == 0 || s.Progress[0].Open != connections {
		t.Errorf("hold: %g s, progress %+v", hold.Seconds, s.Progress)
	}

	echo := s.Do(control.Command{Op: "echo", RatePerSecond: 4000, PayloadBytes: 20, Seconds: 0.5})
	swarmtest.ExpectCounts(t, echo, control.Result{Open: connections, Offered: 2000, Sent: 2000, Delivered: 2000})
	if n, lag := swarmtest.TotalOf(t, echo.Latency), swarmtest.TotalOf(t, echo.Lag); n != 2000 || lag != 2000 || echo.Seconds != 0.5 {
		t.Errorf("echo: %d latencies, %d lags, %g s", n, lag, echo.Seconds)
	}

	saturate := s.Do(control.Command{Op: "saturate", InFlight: 5, PayloadBytes: 20, Seconds: 0.2})
	n := saturate.Delivered + saturate.Late
	swarmtest.ExpectCounts(t, saturate, control.Result{Open: connections, Offered: n, Sent: n, Delivered: n})
	if n < 5 || swarmtest.TotalOf(t, saturate.Latency) != n {
		t.Errorf("saturate: %d delivered, %d latencies", n, swarmtest.TotalOf(t, saturate.Latency))
	}

	swarmtest.ExpectCounts(t, s.Do(control.Command{Op: "census", PayloadBytes: 20}),
		control.Result{Open: connections, Offered: connections, Sent: connections, Delivered: connections})
	swarmtest.ExpectCounts(t, s.Do(control.Command{Op: "close", Connections: 123}), control.Result{Open: 123, Closed: connections - 123})
	swarmtest.ExpectCounts(t, s.Do(control.Command{Op: "ramp", Connections: 200, RatePerSecond: 5000}), control.Result{Open: 200, Opened: 77})
	swarmtest.ExpectCounts(t, s.Do(control.Command{Op: "close", Connections: 199}), control.Result{Open: 199, Closed: 1})

	s.ExpectExit(0)
	swarmtest.ExpectGone(t, pids)
	swarmtest.Eventually(t, "all connections gone from the servers", func() bool { return a.Open()+b.Open() == 0 })
}

// Fewer connections take turns than there are workers, and some more than that.
func TestEchoOverSome(t *testing.T) {
	var talked atomic.Int64
	server := peer.Start(t, "127.0.0.1", func(_ int, c *peer.Conn) {
		if c.Upgrade() != nil {
			return
		}
		for k, frame := range c.Frames() {
			if k == 0 {
				talked.Add(1)
			}
			c.Send(peer.Encode(ws.OpBinary, frame.Payload))
		}
	})
	s := swarmtest.Start(t, coordinatorLimit+"=100")
	s.Configure(500, server.Address) // 8 workers
	s.Do(control.Command{Op: "ramp", Connections: 300, Window: 40})
	for _, some := range []int64{3, 50} { // those of the first are among the second
		echo := s.Do(control.Command{Op: "echo", Connections: int(some), RatePerSecond: 1000, PayloadBytes: 20, Seconds: 0.4})
		if echo.Offered < 390 || echo.Offered > 410 || echo.Delivered+echo.Late != echo.Offered || talked.Load() != some {
			t.Errorf("%d of 300: %d offered, %d delivered, %d talked", some, echo.Offered, echo.Delivered+echo.Late, talked.Load())
		}
	}
	s.ExpectExit(0)
}

// One worker publishes, and the connections of all get it: over HTTP all but the one that publishes.
func TestBroadcastOverProcesses(t *testing.T) {
	const n, messages = 20, 10
	for _, hear := range slices.Concat([]string{""}, control.Hearings) {
		members, config := int64(n), swarmtest.Configuration(n, peer.Start(t, "127.0.0.1", (&peer.Hub{}).Handle).Address)
		if hear != "" {
			web := httptest.NewServer(peer.NewBoard())
			defer web.Close()
			members, config = n-1, swarmtest.Configuration(n, web.Listener.Addr().String())
			config.Protocol, config.Hear = control.ProtocolHTTP, hear
		}
		config.Processes = 3
		s := swarmtest.Start(t)
		s.Do(control.Command{Op: control.OpConfigure, Config: config})
		s.Do(control.Command{Op: "ramp", Connections: n, Window: 10})
		result := s.Do(control.Command{
			Op: "broadcast", PayloadBytes: 32, RatePerSecond: 50, Seconds: messages / 50.0,
			Options: []byte(`{"run": 1}`),
		})
		if result.Offered != members*messages || result.Sent != messages || result.Delivered+result.Late != members*messages || result.Unanswered != 0 {
			t.Errorf("%q: %d offered, %d sent, %d received", hear, result.Offered, result.Sent, result.Delivered+result.Late)
		}
		for k, spread := range result.Spread {
			if spread.Received != members || spread.Nanoseconds <= 0 {
				t.Errorf("%q: message %d: %+v", hear, k, spread)
			}
		}
		if len(result.Spread) != messages {
			t.Errorf("%q: %d messages", hear, len(result.Spread))
		}
		s.ExpectExit(0)
	}
}

// As many workers as a million connections need with 20,000 descriptors each.
func TestFiftyFourWorkers(t *testing.T) {
	server := peer.Start(t, "127.0.0.1", peer.Echo)
	s := swarmtest.Start(t, coordinatorLimit+"=194") // 54 workers of 162 connections
	configured := s.Configure(54*162, server.Address)
	if configured.Processes != 54 {
		t.Fatalf("%d processes, want 54", configured.Processes)
	}
	t.Logf("configured after %.3f s", configured.Seconds)
	swarmtest.ExpectCounts(t, s.Do(control.Command{Op: "ramp", Connections: 540, Window: 100}), control.Result{Open: 540, Opened: 540})
	swarmtest.ExpectCounts(t, s.Do(control.Command{Op: "census", PayloadBytes: 4}), control.Result{Open: 540, Offered: 540, Sent: 540, Delivered: 540})
}

// No worker outlives its coordinator, nor a connection its worker.
func TestCoordinatorIsKilled(t *testing.T) {
	server := peer.Start(t, "127.0.0.1", peer.Echo)
	s := swarmtest.Start(t, coordinatorLimit+"=100")
	s.Configure(150, server.Address)
	s.Do(control.Command{Op: "ramp", Connections: 150, Window: 10})
	s.Send(control.Command{Op: "hold", Seconds: 3600})
	pids := s.Workers()
	if len(pids) != 3 {
		t.Fatalf("workers are %v, want 3", pids)
	}
	if err := s.Process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	swarmtest.ExpectGone(t, pids)
	swarmtest.Eventually(t, "all connections gone from the server", func() bool { return server.Open() == 0 })
}

func TestWorkerIsKilled(t *testing.T) {
	server := peer.Start(t, "127.0.0.1", peer.Echo)
	for _, idle := range []bool{false, true} {
		s := swarmtest.Start(t, coordinatorLimit+"=100")
		s.Configure(150, server.Address)
		pids := s.Workers()
		if !idle {
			s.Send(control.Command{Op: "hold", Seconds: 3600})
			swarmtest.Eventually(t, "progress", func() bool { return (<-s.Events).Kind == control.KindProgress })
		}
		if err := syscall.Kill(pids[1], syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if idle {
			s.Send(control.Command{Op: "hold", Seconds: 3600})
		}
		if event := s.Last(); event.Kind != control.KindError || event.Trouble != control.TroubleEnded || !strings.Contains(event.Error, "worker 2: signal: killed") {
			t.Errorf("%+v", event)
		}
		s.Send(control.Command{Op: "census", TimeoutSeconds: 1})
		if event := s.Last(); event.Kind != control.KindError || !strings.Contains(event.Error, "started anew") {
			t.Errorf("%+v", event)
		}
		s.ExpectExit(0)
		swarmtest.ExpectGone(t, pids)
	}
}

func TestStop(t *testing.T) {
	server := peer.Start(t, "127.0.0.1", func(n int, c *peer.Conn) {
		if n < 60 {
			peer.Echo(n, c)
			return
		}
		c.Request() // and no answer
		c.Next()
	})
	s := swarmtest.Start(t, coordinatorLimit+"=80") // 48 connections a process
	s.Configure(150, server.Address)
	s.Send(control.Command{Op: control.OpStop}) // nothing runs: ignored
	s.Do(control.Command{Op: "ramp", Connections: 60, Window: 10})

	stopAfterProgress := func(command control.Command) *control.Result {
		t.Helper()
		s.Send(command)
		swarmtest.Eventually(t, "progress", func() bool { return (<-s.Events).Kind == control.KindProgress })
		s.Send(control.Command{Op: control.OpStop})
		event := s.Last()
		if event.Kind != control.KindDone || event.Op != command.Op {
			t.Fatalf("%+v", event)
		}
		return event.Result
	}
	hold := stopAfterProgress(control.Command{Op: "hold", Seconds: 3600})
	swarmtest.ExpectCounts(t, hold, control.Result{Open: 60})
	if hold.Seconds > 1800 {
		t.Errorf("the hold took %g s", hold.Seconds)
	}
	ramp := stopAfterProgress(control.Command{Op: "ramp", Connections: 100, Window: 10, TimeoutSeconds: 3600})
	swarmtest.ExpectCounts(t, ramp, control.Result{Open: 60, StoppedBy: control.StoppedByStop})
	// With a window for two of the workers, the others have not even begun.
	ramp = stopAfterProgress(control.Command{Op: "ramp", Connections: 100, Window: 2, TimeoutSeconds: 3600})
	if ramp.StoppedBy != control.StoppedByStop {
		t.Errorf("%+v", ramp)
	}
	echo := stopAfterProgress(control.Command{Op: "echo", RatePerSecond: 1000, PayloadBytes: 4, Seconds: 3600, TimeoutSeconds: 3600})
	if echo.Delivered == 0 || echo.Delivered > echo.Sent || echo.Sent > echo.Offered || len(echo.Failures) > 0 {
		t.Errorf("%+v", echo)
	}
	// What the stop cut off does not come in the way of what follows.
	swarmtest.ExpectCounts(t, s.Do(control.Command{Op: "census", PayloadBytes: 9}), control.Result{Open: 60, Offered: 60, Sent: 60, Delivered: 60})
}

// Commands that come while another runs wait for it.
func TestCommandsInARow(t *testing.T) {
	server := peer.Start(t, "127.0.0.1", peer.Echo)
	s := swarmtest.Start(t)
	s.Send(control.Command{Op: control.OpConfigure, Config: swarmtest.Configuration(20, server.Address)})
	s.Send(control.Command{Op: "ramp", Connections: 20, Window: 2, TimeoutSeconds: 60})
	s.Send(control.Command{Op: "hold", Seconds: 0.3})
	s.Send(control.Command{Op: "census", TimeoutSeconds: 60})
	for _, op := range []control.Op{control.OpConfigure, "ramp", "hold", "census"} {
		if event := s.Last(); event.Kind != control.KindDone || event.Op != op {
			t.Errorf("%s: %+v", op, event)
		}
	}
}

// The end of input ends the swarm, whatever it does.
func TestEndOfInput(t *testing.T) {
	server := peer.Start(t, "127.0.0.1", peer.Echo)
	s := swarmtest.Start(t)
	s.Configure(50, server.Address)
	s.Do(control.Command{Op: "ramp", Connections: 50, Window: 10})
	pids := s.Workers()
	s.Send(control.Command{Op: "hold", Seconds: 3600})
	swarmtest.Eventually(t, "progress", func() bool { return (<-s.Events).Kind == control.KindProgress })
	s.ExpectExit(0)
	swarmtest.ExpectGone(t, pids)
	swarmtest.Eventually(t, "all connections gone from the server", func() bool { return server.Open() == 0 })
}

// The window is that of the whole swarm, even where it is smaller than the
// number of workers.
func TestWindowSmallerThanWorkers(t *testing.T) {
	var unfinished peer.Unfinished
	server := peer.Start(t, "127.0.0.1", unfinished.Echo)
	s := swarmtest.Start(t, coordinatorLimit+"=50") // 18 connections a process, six processes at most
	s.Configure(100, server.Address)
	swarmtest.ExpectCounts(t, s.Do(control.Command{Op: "ramp", Connections: 100, Window: 2}), control.Result{Open: 100, Opened: 100})
	if most := unfinished.Most(); most > 2 {
		t.Errorf("%d were unfinished at a time, want at most 2", most)
	}
}

// A worker that runs out of descriptors is a limit of the client.
func TestDescriptorsRunOut(t *testing.T) {
	server := peer.Start(t, "127.0.0.1", peer.Echo)
	s := swarmtest.Start(t, workerLimit+"=40")
	configured := s.Configure(200, server.Address)
	ramp := s.Do(control.Command{Op: "ramp", Connections: 200, Window: 10})
	if ramp.StoppedBy != control.StoppedByClient || ramp.Open == 0 || ramp.Open > 40*configured.Processes {
		t.Errorf("stopped by %q with %d open in %d processes", ramp.StoppedBy, ramp.Open, configured.Processes)
	}
	if len(ramp.Failures) != 1 || ramp.Failures[0].Phase != "socket" || ramp.Failures[0].Error != "EMFILE" {
		t.Errorf("failures %v", ramp.Failures)
	}
	swarmtest.ExpectCounts(t, s.Do(control.Command{Op: "census"}),
		control.Result{Open: ramp.Open, Offered: int64(ramp.Open), Sent: int64(ramp.Open), Delivered: int64(ramp.Open)})
}

// All tuples there are can be used, whichever worker has them.
func TestPortsRunOut(t *testing.T) {
	server := peer.Start(t, "127.0.0.1", peer.Echo)
	s := swarmtest.Start(t, coordinatorLimit+"=50") // 18 connections a process
	config := swarmtest.Configuration(100, server.Address)
	config.Sources, config.FirstPort, config.LastPort = []string{"127.2.0.1", "127.2.0.2"}, 20000, 20024
	s.Do(control.Command{Op: control.OpConfigure, Config: config})
	ramp := s.Do(control.Command{Op: "ramp", Connections: 100, Window: 10})
	swarmtest.ExpectCounts(t, ramp, control.Result{
		Open: 50, Opened: 50, StoppedBy: control.StoppedByClient,
		Failures: []control.Failure{{Phase: "bind", Error: "EADDRNOTAVAIL", Count: 50}},
	})
}

func TestServerFails(t *testing.T) {
	server := peer.Start(t, "127.0.0.1", func(n int, c *peer.Conn) {
		c.Request()
		c.Send([]byte("HTTP/1.1 503 Busy\r\n\r\n"))
	})
	s := swarmtest.Start(t, coordinatorLimit+"=100")
	s.Configure(300, server.Address)
	ramp := s.Do(control.Command{Op: "ramp", Connections: 300, Window: 20})
	if ramp.StoppedBy != control.StoppedByServer || ramp.Opened != 0 {
		t.Errorf("stopped by %q, %d opened", ramp.StoppedBy, ramp.Opened)
	}
	if len(ramp.Failures) != 1 || ramp.Failures[0].Error != "rejected" || ramp.Failures[0].Count > 200 {
		t.Errorf("failures %v", ramp.Failures)
	}
}

// What cannot be carried out is said in one line, and the swarm goes on.
func TestErrors(t *testing.T) {
	with := func(change func(*control.Config)) control.Command {
		config := swarmtest.Configuration(10, "127.0.0.1:9")
		change(config)
		return control.Command{Op: control.OpConfigure, Config: config}
	}
	s := swarmtest.Start(t, coordinatorLimit+"=60")
	for _, c := range []struct {
		command control.Command
		want    string
	}{
		{control.Command{Op: "ramp", Connections: 1}, "the first command has to be configure"},
		{control.Command{Op: control.OpConfigure}, "config is missing"},
		{with(func(c *control.Config) { c.Engine = "magic" }), `unknown engine "magic"; there are: socket, packet`},
		{with(func(c *control.Config) { c.Connections = 0 }), "connections: 0 is not positive"},
		{with(func(c *control.Config) { c.Targets = nil }), "targets: none given"},
		{with(func(c *control.Config) { c.Sources = []string{"192.0.2.1"} }), "source 192.0.2.1 is not an address of this host"},
		{with(func(c *control.Config) { c.Targets = []string{"192.0.2.1:9"} }), "target 192.0.2.1:9 cannot be reached from source 127.2.0.1"},
		{with(func(c *control.Config) { c.CPUs = []int{0, 4095} }), "cpus: 4095 is not among those"},
		{with(func(c *control.Config) { c.FirstPort, c.LastPort = 9, 5 }), "source ports 9 to 5: not a range"},
		{with(func(c *control.Config) { c.Connections = 1000 }), "with RLIMIT_NOFILE 60, 1000 connections need 36 processes, and 9 can be held together"},
		{with(func(*control.Config) {}), ""},
		{with(func(*control.Config) {}), "done already"},
		{control.Command{Op: "dance"}, `unknown command "dance"`},
		{control.Command{Op: "ramp", Connections: 11, Window: 1, TimeoutSeconds: 1}, "connections must be between 0 and the 10 of configure, not 11"},
		{control.Command{Op: "ramp", Connections: 10, TimeoutSeconds: 1}, "rate_per_second or window must be positive"},
		{control.Command{Op: "ramp", Connections: 10, RatePerSecond: 5, Window: -1, TimeoutSeconds: 1}, "neither negative"},
		{control.Command{Op: "ramp", Connections: 10, Window: 1}, "timeout_seconds must be positive"},
		{control.Command{Op: "hold"}, "seconds must be positive"},
		{control.Command{Op: "echo", RatePerSecond: 1, Seconds: 1, TimeoutSeconds: 1}, "no connection is open"},
		{control.Command{Op: "echo", Seconds: 1, TimeoutSeconds: 1}, "rate_per_second must be positive"},
		{control.Command{Op: "ping", RatePerSecond: 1, PayloadBytes: 126, Seconds: 1, TimeoutSeconds: 1}, "payload_bytes must be between 0 and 125"},
		{control.Command{Op: "saturate", Seconds: 1, TimeoutSeconds: 1}, "in_flight must be positive"},
		{control.Command{Op: "broadcast", Connections: 3, RatePerSecond: 1, PayloadBytes: 8, Seconds: 1, TimeoutSeconds: 1}, "connections must be 0"},
		{control.Command{Op: "broadcast", RatePerSecond: 1, PayloadBytes: 7, Seconds: 1, TimeoutSeconds: 1}, "payload_bytes must be at least 8"},
		{control.Command{Op: "broadcast", RatePerSecond: 101, PayloadBytes: 8, Seconds: 100, TimeoutSeconds: 1}, "makes more than 10000 messages"},
		{control.Command{Op: "census", PayloadBytes: -1, TimeoutSeconds: 1}, "payload_bytes must be between"},
		{control.Command{Op: "close", Connections: -1, TimeoutSeconds: 1}, "connections must be between"},
		{control.Command{Op: "census", TimeoutSeconds: 1}, ""},
	} {
		s.Send(c.command)
		event := s.Last()
		if event.Op != c.command.Op || !strings.Contains(event.Error, c.want) || (event.Kind == control.KindError) != (c.want != "") || strings.Contains(event.Error, "\n") {
			t.Errorf("%+v: %+v; want an error with %q", c.command, event, c.want)
		}
	}
	for _, line := range []string{"{", `{"op":"hold","second":1}`, "[]"} {
		s.SendLine(line)
		if event := s.Last(); event.Kind != control.KindError || !strings.HasPrefix(event.Error, "command ") {
			t.Errorf("%s: %+v", line, event)
		}
	}
	s.ExpectExit(0)
}

func TestTooFewDescriptors(t *testing.T) {
	s := swarmtest.Start(t, coordinatorLimit+"=20")
	s.Send(control.Command{Op: control.OpConfigure, Config: swarmtest.Configuration(1, "127.0.0.1:9")})
	if event := s.Last(); event.Kind != control.KindError || !strings.Contains(event.Error, "RLIMIT_NOFILE is 20, and every process needs more") {
		t.Errorf("%+v", event)
	}
}

// All processes keep to the CPUs they are given.
func TestBoundToCPUs(t *testing.T) {
	all, err := usableCPUs(nil)
	if err != nil {
		t.Fatal(err)
	}
	cpus := all[len(all)-1:]
	server := peer.Start(t, "127.0.0.1", peer.Echo)
	s := swarmtest.Start(t, coordinatorLimit+"=60")
	config := swarmtest.Configuration(60, server.Address)
	config.CPUs = cpus
	if n := s.Do(control.Command{Op: control.OpConfigure, Config: config}).Processes; n != 3 {
		t.Fatalf("%d processes, want 3", n)
	}
	s.Do(control.Command{Op: "ramp", Connections: 60, Window: 10})
	for _, pid := range append(s.Workers(), s.Process.Process.Pid) {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		if err != nil || len(threads) == 0 {
			t.Fatalf("threads of %d: %v, %v", pid, threads, err)
		}
		for _, thread := range threads {
			tid, err := strconv.Atoi(filepath.Base(thread))
			if err != nil {
				t.Fatal(err)
			}
			var set unix.CPUSet
			if err := unix.SchedGetaffinity(tid, &set); err != nil {
				t.Fatal(err)
			}
			if set.Count() != 1 || !set.IsSet(cpus[0]) {
				t.Errorf("thread %d of process %d may use %d CPUs", tid, pid, set.Count())
			}
		}
	}
}

// BenchmarkMemory reports the resident memory of one worker of the program itself,
// not of its test, with 15,000 connections: as a whole, and what it grew by.
func BenchmarkMemory(b *testing.B) {
	const connections = 15_000
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		b.Fatal(err)
	}
	if limit.Max < connections+1000 {
		b.Skipf("RLIMIT_NOFILE is %d; %d connections need more", limit.Max, connections)
	}
	all, err := usableCPUs(nil)
	if err != nil {
		b.Fatal(err)
	}
	program := filepath.Join(b.TempDir(), "swarm")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, "connbench/clients/swarm").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	var whole, grown, state float64
	for b.Loop() {
		server := peer.Start(b, "127.0.0.1", peer.Echo)
		s := swarmtest.StartProgram(b, exec.Command(program))
		config := swarmtest.Configuration(connections, server.Address)
		config.CPUs = all[:1]
		s.Do(control.Command{Op: control.OpConfigure, Config: config})
		pids := s.Workers()
		if len(pids) != 1 {
			b.Fatalf("%d workers", len(pids))
		}
		empty := resident(b, pids[0])
		result := s.Do(control.Command{Op: "ramp", Connections: connections, Window: 100})
		if result.Open != connections {
			b.Fatalf("%+v", result)
		}
		full := resident(b, pids[0])
		whole += float64(full) / connections
		grown += float64(full-empty) / connections
		state = float64(result.Usage.StateBytesPerConnection)
		s.ExpectExit(0)
		server.Close()
	}
	n := float64(b.N)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(state, "state-B/conn")
	b.ReportMetric(whole/n, "rss-B/conn")
	b.ReportMetric(grown/n, "rss-growth-B/conn")
}

func resident(t testing.TB, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}
