package worker

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"connbench/clients/addresses"
	"connbench/clients/control"
	"connbench/clients/internal/clock"
	"connbench/clients/internal/connections"
	"connbench/clients/internal/engine"
	"connbench/clients/internal/latency"
	"connbench/clients/internal/load"
	"connbench/clients/internal/peer"
	"connbench/clients/internal/protocol"
	"connbench/clients/internal/protocol/websocket"
)

const (
	// long is a timeout that is never reached, short one that is; medium is reached
	// by those that do not answer, and by nobody else on a slow machine.
	long   = 60.0
	medium = 3.0
	short  = 0.3
)

// setup says what a test's swarm differs in.
type setup struct {
	sources     []string
	first, last int
	wake        int
	wrap        func(engine.Engine) engine.Engine
	opening     control.Opening
	pushes      bool
	protocol    string // "": WebSocket
	compression string
	hear        string
}

func newTable(t testing.TB, capacity int, s setup, targets ...string) *connections.Table {
	t.Helper()
	if s.sources == nil {
		s.sources = sourcesIPv4()
	}
	if s.first == 0 {
		s.first, s.last = 20000, 40000
	}
	if s.wake == 0 {
		s.wake = -1
	}
	plan, err := addresses.NewTuples(s.sources, targets, addresses.PortRange{First: s.first, Last: s.last}, nil)
	if err != nil {
		t.Fatal(err)
	}
	share := plan.Slice(0, 1)
	e := newEngine(t, share, capacity, s.wake)
	if s.wrap != nil {
		e = s.wrap(e)
	}
	config := configOf(e, share, plan, capacity, s.protocol)
	config.Opening, config.Pushes, config.Compression, config.Hear = s.opening, s.pushes, s.compression, s.hear
	table := connections.New(config)
	t.Cleanup(table.Release)
	return table
}

func configOf(e engine.Engine, share addresses.Share, tuples *addresses.Tuples, capacity int, name string) connections.Config {
	definition, err := protocol.Protocols.Find(cmp.Or(name, control.ProtocolWebSocket))
	if err != nil {
		panic(err)
	}
	return connections.Config{
		Engine: e, Protocol: definition, Share: share, Targets: tuples.Targets(), Capacity: capacity, Seed: 1,
	}
}

// jobOf is the job of the only worker.
func jobOf(s *connections.Table, command control.Command) load.Job {
	if command.TimeoutSeconds == 0 {
		command.TimeoutSeconds = long
	}
	definition, err := load.Loads.Find(string(command.Op))
	if err == nil && definition.Active && command.Connections == 0 {
		command.Connections = s.Open()
	}
	return load.Job{Command: command, Start: clock.Now(), Workers: 1}
}

// answered is the number of messages that were answered, in time or late.
func answered(r control.Result) int64 { return r.Delivered + r.Late }

// held is the number of entries that the protocol keeps of connections in the middle
// of something.
func held(s *connections.Table) int { return s.Protocol().(*websocket.Protocol).Held() }

func run(t testing.TB, s *connections.Table, command control.Command) connections.Report {
	t.Helper()
	return runUntil(t, s, command, func() bool { return false })
}

func runUntil(t testing.TB, s *connections.Table, command control.Command, interrupted func() bool) connections.Report {
	t.Helper()
	report, err := Run(s, jobOf(s, command), interrupted, func(int, int64) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Failures {
		if !slices.Contains(control.FailureKinds(), f.Kind()) {
			t.Errorf("%q is not in the list of failures", f.Kind())
		}
	}
	return report
}

func rampTo(t testing.TB, s *connections.Table, connections int) {
	t.Helper()
	report := run(t, s, control.Command{Op: "ramp", Connections: connections, Window: 50})
	expect(t, report, control.Result{Open: connections, Opened: connections})
}

// expect compares the counts of a report, failures included, with those wanted. What
// was late counts as delivered: it depends on the host.
func expect(t testing.TB, got connections.Report, want control.Result) {
	t.Helper()
	counts := func(r control.Result) string {
		r.Latency, r.Usage, r.Seconds, r.Processes, r.ReceivedBytes = "", control.Usage{}, 0, 0, 0
		r.Delivered, r.Late = r.Delivered+r.Late, 0
		slices.SortFunc(r.Failures, func(a, b control.Failure) int {
			return strings.Compare(a.Kind().String(), b.Kind().String())
		})
		return fmt.Sprintf("%+v", r)
	}
	if g, w := counts(got.Result), counts(want); g != w {
		t.Errorf("got  %s\nwant %s", g, w)
	}
}

func total(counts []latency.Count) (n int64) {
	for _, c := range counts {
		n += c[1]
	}
	return n
}

// atLeast is the number of times that are not shorter than so many seconds, as far as a
// histogram distinguishes them: the bound counts with all that share its bucket.
func atLeast(seconds float64, counts []latency.Count) (n int64) {
	bound := latency.NewRecorder()
	bound.Record(int64(seconds * 1e9))
	lowest := bound.Take()[0][0]
	for _, c := range counts {
		if c[0] >= lowest {
			n += c[1]
		}
	}
	return n
}

// eventually waits for something that other goroutines or the kernel bring about.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after a minute, still not: %s", what)
		}
	}
}

// journal is what servers saw, by name.
type journal struct {
	mutex  sync.Mutex
	counts map[string]int
}

func (j *journal) add(what string) int {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	if j.counts == nil {
		j.counts = map[string]int{}
	}
	j.counts[what]++
	return j.counts[what]
}

func (j *journal) count(what string) int {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	return j.counts[what]
}

// A whole life, over two targets: what the swarm counts is what the servers saw.
func TestLife(t *testing.T) {
	for _, host := range []string{hostIPv4, hostIPv6} {
		t.Run(host, func(t *testing.T) {
			var seen journal
			serve := func(target string) func(int, *peer.Conn) {
				return func(_ int, c *peer.Conn) {
					if c.Upgrade() != nil {
						return
					}
					seen.add(target)
					for {
						frame, err := c.Next()
						if err != nil {
							seen.add("gone")
							return
						}
						switch frame.Opcode {
						case ws.OpBinary:
							seen.add(fmt.Sprint("message of ", len(frame.Payload)))
						case ws.OpPing:
							seen.add(fmt.Sprint("ping of ", len(frame.Payload)))
							frame.Opcode = ws.OpPong
						case ws.OpClose:
							seen.add(fmt.Sprint("close ", peer.CloseCode(frame.Payload)))
						}
						c.Send(peer.Encode(frame.Opcode, frame.Payload))
					}
				}
			}
			a, b := peer.Start(t, host, serve("a")), peer.Start(t, host, serve("b"))
			from := setup{}
			if host == hostIPv6 {
				from.sources = sourcesIPv6()
			}
			s := newTable(t, 300, from, a.Address, b.Address)

			report := run(t, s, control.Command{Op: "ramp", Connections: 200, Window: 20})
			expect(t, report, control.Result{Open: 200, Opened: 200})
			if n := total(report.Latency); n != 200 {
				t.Errorf("%d handshakes in the histogram, want 200", n)
			}
			eventually(t, "100 connections at each target", func() bool { return seen.count("a") == 100 && seen.count("b") == 100 })
			expect(t, run(t, s, control.Command{Op: "ramp", Connections: 300, RatePerSecond: 2000}),
				control.Result{Open: 300, Opened: 100})
			expect(t, run(t, s, control.Command{Op: "hold", Seconds: 0.05}), control.Result{Open: 300})

			report = run(t, s, control.Command{Op: "echo", RatePerSecond: 5000, PayloadBytes: 33, Seconds: 0.2})
			expect(t, report, control.Result{Open: 300, Offered: 1000, Sent: 1000, Delivered: 1000})
			if n, lag := total(report.Latency), total(report.Lag); n != 1000 || lag != 1000 {
				t.Errorf("%d latencies and %d lags, want 1000", n, lag)
			}
			if n := seen.count("message of 33"); n != 1000 {
				t.Errorf("the servers saw %d messages, want 1000", n)
			}

			report = run(t, s, control.Command{Op: "ping", RatePerSecond: 5000, PayloadBytes: 8, Seconds: 0.2})
			expect(t, report, control.Result{Open: 300, Offered: 1000, Sent: 1000, Delivered: 1000})
			if n, m, lag := seen.count("ping of 8"), total(report.Latency), total(report.Lag); n != 1000 || m != 1000 || lag != 1000 {
				t.Errorf("pings: the servers saw %d, %d latencies and %d lags; want 1000", n, m, lag)
			}

			for _, inFlight := range []int{7, 300, 1000} {
				before := seen.count("message of 0")
				report = run(t, s, control.Command{Op: "saturate", InFlight: inFlight, Seconds: 0.1})
				n := answered(report.Result)
				expect(t, report, control.Result{Open: 300, Offered: n, Sent: n, Delivered: n})
				if n < int64(inFlight) || total(report.Latency) != n || int64(seen.count("message of 0")-before) != n {
					t.Errorf("%d in flight: %d delivered, %d latencies, the servers saw %d",
						inFlight, n, total(report.Latency), seen.count("message of 0")-before)
				}
			}

			report = run(t, s, control.Command{Op: "census", PayloadBytes: 126})
			expect(t, report, control.Result{Open: 300, Offered: 300, Sent: 300, Delivered: 300})
			if n, m := seen.count("message of 126"), total(report.Latency); n != 300 || m != 300 {
				t.Errorf("census: the servers saw %d messages, %d latencies; want 300", n, m)
			}

			if n := sockets(t, s, established); n != 300 {
				t.Errorf("the kernel has %d of the clients' sockets, want 300", n)
			}
			expect(t, run(t, s, control.Command{Op: "close", Connections: 120}), control.Result{Open: 120, Closed: 180})
			eventually(t, "180 connections gone from the servers", func() bool { return a.Open()+b.Open() == 120 })
			expect(t, run(t, s, control.Command{Op: "ramp", Connections: 150, Window: 5}), control.Result{Open: 150, Opened: 30})
			expect(t, run(t, s, control.Command{Op: "close"}), control.Result{Closed: 150})
			eventually(t, "all connections gone from the servers", func() bool { return a.Open()+b.Open() == 0 })
			if n := seen.count("close 1000"); n != 330 {
				t.Errorf("the servers saw %d close frames, want 330", n)
			}
			// Those would take tuples from the next trial.
			if left := sockets(t, s, timeWait); left != 0 {
				t.Errorf("%d of the clients' sockets are left in TIME_WAIT", left)
			}
			if n := held(s); n != 0 {
				t.Errorf("%d entries are left over", n)
			}
		})
	}
}

// States of a socket in /proc/net/tcp (include/net/tcp_states.h).
const (
	established = "01"
	timeWait    = "06"
)

// sockets counts the clients' sockets in a state, or where they have none those of
// the servers.
func sockets(t *testing.T, s *connections.Table, state string) (n int) {
	t.Helper()
	ours := map[string]bool{}
	for i := range s.Capacity() {
		tuple := s.Tuple(i)
		if overPackets {
			tuple.From, tuple.To = tuple.To, tuple.From
		}
		ours[procAddress(tuple.From)+" "+procAddress(tuple.To)] = true
	}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(table)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line) // sl, local, remote, state
			if len(fields) > 3 && fields[3] == state && ours[fields[1]+" "+fields[2]] {
				n++
			}
		}
	}
	return n
}

// procAddress writes an address as /proc/net/tcp does: in words of the host's
// byte order.
func procAddress(at netip.AddrPort) (text string) {
	for word := range slices.Chunk(at.Addr().AsSlice(), 4) {
		text += fmt.Sprintf("%08X", binary.NativeEndian.Uint32(word))
	}
	return fmt.Sprintf("%s:%04X", text, at.Port())
}

// Every way in which a handshake fails is counted under its name, and ends the
// ramp before long.
func TestHandshakesThatFail(t *testing.T) {
	answerWith := func(edit func(answer string) string) func(int, *peer.Conn) {
		return func(_ int, c *peer.Conn) {
			answer, err := c.Request()
			if err != nil {
				return // the ramp has ended, and the client is gone
			}
			c.Send([]byte(edit(answer)))
			c.Next() // until the client is gone
		}
	}
	for _, c := range []struct {
		name   string
		handle func(int, *peer.Conn)
		phase  control.Phase
		err    control.Error
	}{
		{"wrong accept", answerWith(func(string) string { return peer.Answer("another") }), "handshake", "bad accept"},
		{"status 400", answerWith(func(string) string { return "HTTP/1.1 400 Bad Request\r\n\r\n" }), "handshake", "rejected"},
		{"no HTTP", answerWith(func(string) string { return "220 mail\r\n" }), "handshake", "bad answer"},
		{"endless answer", answerWith(func(string) string { return "HTTP/1.1 101 X\r\n" + strings.Repeat("A: b\r\n", 2000) }), "handshake", "bad answer"},
		{"nothing", answerWith(func(string) string { return "" }), "handshake", "timeout"},
		{"half an answer", answerWith(func(answer string) string { return answer[:50] }), "handshake", "timeout"},
		{"end of stream", func(_ int, c *peer.Conn) { c.Request() }, "handshake", "closed"},
		{"reset", func(_ int, c *peer.Conn) { c.Request(); c.Reset() }, "handshake", "ECONNRESET"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := peer.Start(t, hostIPv4, c.handle)
			s := newTable(t, 500, setup{}, server.Address)
			timeout := long
			if c.err == "timeout" {
				timeout = short
			}
			report := run(t, s, control.Command{Op: "ramp", Connections: 500, Window: 40, TimeoutSeconds: timeout})
			if c.err == control.Timeout {
				// On a busy machine the kernel's acknowledgement takes as long as the timeout.
				report.Failures = slices.DeleteFunc(report.Failures, func(f control.Failure) bool { return f.Error == control.Unacknowledged })
			}
			var n int64
			if len(report.Failures) == 1 {
				n = report.Failures[0].Count
			}
			var counts map[string]int64
			if c.err == control.Rejected {
				counts = map[string]int64{control.CountStatus + "400": n}
			}
			expect(t, report, control.Result{
				StoppedBy: control.StoppedByServer,
				Failures:  []control.Failure{{Phase: c.phase, Error: c.err, Count: n}},
				Counts:    counts,
			})
			if n == 0 || n > 100+40 {
				t.Errorf("%d failures; want some, and no more than patience and window", n)
			}
			eventually(t, "all connections gone from the server", func() bool { return server.Open() == 0 })
			if n := held(s); n != 0 {
				t.Errorf("%d entries are left over", n)
			}
		})
	}
}

func TestConnectRefused(t *testing.T) {
	server := peer.Start(t, hostIPv4, peer.Echo)
	server.StopListening()
	s := newTable(t, 500, setup{}, server.Address)
	report := run(t, s, control.Command{Op: "ramp", Connections: 500, Window: 10})
	var n int64
	if len(report.Failures) == 1 {
		n = report.Failures[0].Count
	}
	expect(t, report, control.Result{
		StoppedBy: control.StoppedByServer,
		Failures:  []control.Failure{{Phase: "connect", Error: "ECONNREFUSED", Count: n}},
	})
	if n <= 100 || n > 100+10 {
		t.Errorf("%d failures; want more than the patience, by no more than the window", n)
	}
}

// A full accept queue drops SYNs: connects hang.
func TestConnectTimesOut(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: netip.MustParseAddr(hostIPv4).As4()}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("%s:%d", hostIPv4, name.(*unix.SockaddrInet4).Port)
	s := newTable(t, 20, setup{}, address)
	report := run(t, s, control.Command{Op: "ramp", Connections: 20, Window: 20, TimeoutSeconds: short})
	if report.StoppedBy != control.StoppedByServer || report.Opened != 0 {
		t.Errorf("stopped by %q, %d opened", report.StoppedBy, report.Opened)
	}
	if !slices.ContainsFunc(report.Failures, func(f control.Failure) bool { return f.Phase == "connect" && f.Error == "timeout" }) {
		t.Errorf("no connect timed out: %v", report.Failures)
	}
}

// The listener's filter, which its connections inherit, lets in what is as short as
// SYNs and ACKs are.
func TestRequestsAreLost(t *testing.T) {
	listener := peer.Listen(t, hostIPv4)
	const longestHeader = 60
	peer.Filter(t, listener,
		unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_LEN},
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K, K: longestHeader, Jt: 1},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: math.MaxUint32},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0})
	s := newTable(t, 4, setup{}, listener.Addr().String())
	report := run(t, s, control.Command{Op: "ramp", Connections: 4, Window: 4, TimeoutSeconds: short})
	expect(t, report, control.Result{
		StoppedBy: control.StoppedByServer,
		Failures:  []control.Failure{{Phase: "handshake", Error: "unacknowledged", Count: sumOf(report.Failures)}},
	})
}

func sumOf(failures []control.Failure) (n int64) {
	for _, f := range failures {
		n += f.Count
	}
	return n
}

// Failures between successes are made up for.
func TestSomeHandshakesFail(t *testing.T) {
	var seen journal
	server := peer.Start(t, hostIPv4, func(n int, c *peer.Conn) {
		if n%4 == 1 {
			seen.add("rejected")
			c.Request()
			c.Send([]byte("HTTP/1.1 503 Busy\r\n\r\n"))
			return
		}
		peer.Echo(n, c)
	})
	s := newTable(t, 100, setup{}, server.Address)
	report := run(t, s, control.Command{Op: "ramp", Connections: 100, Window: 10})
	expect(t, report, control.Result{
		Open: 100, Opened: 100,
		Failures: []control.Failure{{Phase: "handshake", Error: "rejected", Count: int64(seen.count("rejected"))}},
		Counts:   map[string]int64{control.CountStatus + "503": int64(seen.count("rejected"))},
	})
	expect(t, run(t, s, control.Command{Op: "census", PayloadBytes: 8}), control.Result{Open: 100, Offered: 100, Sent: 100, Delivered: 100})
}

// A server that closes what it has just opened does not keep the ramp going for
// ever.
func TestServerThatClosesWhatItOpens(t *testing.T) {
	server := peer.Start(t, hostIPv4, func(_ int, c *peer.Conn) { c.Upgrade() })
	s := newTable(t, 5000, setup{}, server.Address)
	report := run(t, s, control.Command{Op: "ramp", Connections: 5000, Window: 20})
	if report.StoppedBy != control.StoppedByServer || report.Lost < 900 || report.Opened != report.Lost+report.Open {
		t.Errorf("stopped by %q, %d opened, %d lost, %d open", report.StoppedBy, report.Opened, report.Lost, report.Open)
	}
}

func TestServerThatStopsListening(t *testing.T) {
	var server *peer.Server
	var seen journal
	ready := make(chan bool)
	server = peer.Start(t, hostIPv4, func(n int, c *peer.Conn) {
		<-ready
		if seen.add("accepted") == 50 {
			server.StopListening()
		}
		peer.Echo(n, c)
	})
	close(ready)
	s := newTable(t, 1000, setup{}, server.Address)
	report := run(t, s, control.Command{Op: "ramp", Connections: 1000, Window: 5})
	if report.StoppedBy != control.StoppedByServer || report.Opened < 45 || report.Opened == 1000 || report.Open != report.Opened {
		t.Errorf("stopped by %q, %d opened, %d open", report.StoppedBy, report.Opened, report.Open)
	}
	if !slices.ContainsFunc(report.Failures, func(f control.Failure) bool { return f.Phase == "connect" && f.Error == "ECONNREFUSED" }) {
		t.Errorf("nothing was refused: %v", report.Failures)
	}
}

// The limit of ports is reached, and is not tried again for ever.
func TestPortsRunOut(t *testing.T) {
	server := peer.Start(t, hostIPv4, peer.Echo)
	s := newTable(t, 12, setup{sources: source(1), first: 20000, last: 20007}, server.Address)
	report := run(t, s, control.Command{Op: "ramp", Connections: 12, Window: 3})
	expect(t, report, control.Result{
		Open: 8, Opened: 8, StoppedBy: control.StoppedByClient,
		Failures: []control.Failure{{Phase: "bind", Error: "EADDRNOTAVAIL", Count: 4}},
	})
	expect(t, run(t, s, control.Command{Op: "census", PayloadBytes: 8}), control.Result{Open: 8, Offered: 8, Sent: 8, Delivered: 8})
	expect(t, run(t, s, control.Command{Op: "close"}), control.Result{Closed: 8})
	expect(t, run(t, s, control.Command{Op: "ramp", Connections: 8, Window: 3}), control.Result{Open: 8, Opened: 8})
}

// outOfDescriptors is an engine that has some for connections, and says when there
// is none left.
type outOfDescriptors struct {
	engine.Engine
	left int
	none chan struct{}
}

func (e *outOfDescriptors) Open(i int, from, to netip.AddrPort) engine.Failure {
	if e.left == 0 {
		close(e.none)
		return engine.Failure{Phase: control.PhaseSocket, Err: unix.EMFILE}
	}
	e.left--
	return e.Engine.Open(i, from, to)
}

// A limit of this side is told with all connections that it allows, also those that
// the server had not answered yet.
func TestDescriptorsRunOut(t *testing.T) {
	none := make(chan struct{})
	server := peer.Start(t, hostIPv4, func(n int, c *peer.Conn) {
		<-none
		peer.Echo(n, c)
	})
	wrap := func(e engine.Engine) engine.Engine { return &outOfDescriptors{e, 8, none} }
	s := newTable(t, 12, setup{wrap: wrap}, server.Address)
	expect(t, run(t, s, control.Command{Op: "ramp", Connections: 12, Window: 12}), control.Result{
		Open: 8, Opened: 8, StoppedBy: control.StoppedByClient,
		Failures: []control.Failure{{Phase: "socket", Error: "EMFILE", Count: 1}},
	})
}

// Ports that somebody else has are passed over, and counted.
func TestPortsOfOthers(t *testing.T) {
	needSockets(t)
	server := peer.Start(t, hostIPv4, peer.Echo)
	// One is listened on; from another there is a connection to the same target.
	listener, err := net.Listen("tcp", "127.1.0.1:20003")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dialer := net.Dialer{
		LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 1, 0, 1), Port: 20005},
		Control: func(_, _ string, raw syscall.RawConn) (err error) {
			raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
			return err
		},
	}
	conn, err := dialer.Dial("tcp", server.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	s := newTable(t, 6, setup{sources: []string{"127.1.0.1"}, first: 20000, last: 20007}, server.Address)
	report := run(t, s, control.Command{Op: "ramp", Connections: 6, Window: 3})
	expect(t, report, control.Result{
		Open: 6, Opened: 6,
		Failures: []control.Failure{
			{Phase: "bind", Error: "EADDRINUSE", Count: 1},
			{Phase: "connect", Error: "EADDRNOTAVAIL", Count: 1},
		},
	})
}

// A listener on the wildcard address has its port with every source address. Such
// ports, wherever they lie, do not keep the ramp from those that are free.
func TestPortsOfWildcardListeners(t *testing.T) {
	needSockets(t)
	const connections, apart = 2000, 8 // with 254 addresses, tuple 2,000 has the eighth port
	server := peer.Start(t, hostIPv4, peer.Echo)
	first := 0
	for first == 0 {
		one, err := net.Listen("tcp4", "0.0.0.0:0")
		if err != nil {
			t.Fatal(err)
		}
		defer one.Close()
		port := one.Addr().(*net.TCPAddr).Port
		if two, err := net.Listen("tcp4", fmt.Sprintf("0.0.0.0:%d", port+apart)); err == nil {
			defer two.Close()
			first = port
		}
	}
	s := newTable(t, connections, setup{first: first, last: first + 2*apart}, server.Address)
	report := run(t, s, control.Command{Op: "ramp", Connections: connections, Window: 100})
	if report.Open != connections || report.StoppedBy != "" {
		t.Errorf("%d connections of %d are open, stopped by %q; %v", report.Open, connections, report.StoppedBy, report.Failures)
	}
}

// foreign is an engine on a host where all tuples are somebody else's but some.
type foreign struct {
	engine.Engine
	free func(from netip.AddrPort) bool
}

func (e *foreign) Open(i int, from, to netip.AddrPort) engine.Failure {
	if !e.free(from) {
		return engine.Failure{Phase: control.PhaseBind, Err: unix.EADDRINUSE}
	}
	return e.Engine.Open(i, from, to)
}

// As long as there are free tuples, they are found, be there ever so few; and where
// there is none, the ramp says so in the end.
func TestFewTuplesAreFree(t *testing.T) {
	server := peer.Start(t, hostIPv4, peer.Echo)
	for name, test := range map[string]struct {
		setup
		free     func(from netip.AddrPort) bool
		open     int
		failures int64
	}{
		"one": {setup{sources: source(1), first: 20000, last: 29999},
			func(from netip.AddrPort) bool { return from.Port() == 27777 }, 1, 9999},
		"none": {setup{sources: source(1), first: 20000, last: 29999},
			func(netip.AddrPort) bool { return false }, 0, 10000},
		"none of very many": {setup{},
			func(netip.AddrPort) bool { return false }, 0, 1<<20 + 1},
	} {
		test.wrap = func(e engine.Engine) engine.Engine { return &foreign{e, test.free} }
		s := newTable(t, 3, test.setup, server.Address)
		report := run(t, s, control.Command{Op: "ramp", Connections: 3, Window: 3})
		if report.Open != test.open || report.StoppedBy != control.StoppedByClient || len(report.Failures) != 1 || report.Failures[0].Count != test.failures {
			t.Errorf("%s: %d connections are open, stopped by %q; %v", name, report.Open, report.StoppedBy, report.Failures)
		}
	}
}

// A socket that connects to itself is no server.
func TestNoConnectionToItself(t *testing.T) {
	needSockets(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := netip.MustParseAddrPort(listener.Addr().String())
	listener.Close()
	port := int(address.Port())
	s := newTable(t, 1, setup{sources: []string{"127.0.0.1"}, first: port, last: port}, address.String())
	expect(t, run(t, s, control.Command{Op: "ramp", Connections: 1, Window: 1}), control.Result{
		StoppedBy: control.StoppedByClient,
		Failures:  []control.Failure{{Phase: "bind", Error: "EADDRINUSE", Count: 1}},
	})
}

// One byte at a time, with a ping right behind the handshake's answer and in the
// middle of messages, which come in fragments: all is right, and the pings are
// answered.
func TestServerOfSinglebytes(t *testing.T) {
	const connections, messages = 10, 40
	var seen journal
	server := peer.Start(t, hostIPv4, func(_ int, c *peer.Conn) {
		trickle := func(p []byte) {
			for i := range p {
				c.Send(p[i : i+1])
			}
		}
		answer, err := c.Request()
		if err != nil {
			return
		}
		trickle([]byte(answer))
		c.Send(slices.Concat(peer.Encode(ws.OpPing, []byte("first"))))
		for _, frame := range c.Frames() {
			switch frame.Opcode {
			case ws.OpPong:
				seen.add("pong " + string(frame.Payload))
			case ws.OpBinary:
				half := len(frame.Payload) / 2
				start := ws.MustCompileFrame(ws.NewFrame(ws.OpBinary, false, frame.Payload[:half]))
				end := ws.MustCompileFrame(ws.NewFrame(ws.OpContinuation, true, frame.Payload[half:]))
				trickle(slices.Concat(start, peer.Encode(ws.OpPing, []byte("second")), end))
			}
		}
	})
	s := newTable(t, connections, setup{}, server.Address)
	rampTo(t, s, connections)
	expect(t, run(t, s, control.Command{Op: "echo", RatePerSecond: 1000, PayloadBytes: 21, Seconds: 0.04}),
		control.Result{Open: connections, Offered: messages, Sent: messages, Delivered: messages})
	hold := func() { run(t, s, control.Command{Op: "hold", Seconds: 0.01}) }
	eventually(t, "all pings answered", func() bool {
		hold()
		return seen.count("pong first") == connections && seen.count("pong second") == messages
	})
}

// A server that pings and never reads does not make us keep all the answers.
func TestPingsWithoutEnd(t *testing.T) {
	server := peer.Start(t, hostIPv4, func(_ int, c *peer.Conn) {
		if c.Upgrade() != nil {
			return
		}
		pings := bytes.Repeat(peer.Encode(ws.OpPing, make([]byte, 125)), 1000)
		for c.Send(pings) == nil {
		}
	})
	s := newTable(t, 1, setup{}, server.Address)
	rampTo(t, s, 1)
	held := func() int {
		expect(t, run(t, s, control.Command{Op: "hold", Seconds: 0.01}), control.Result{Open: 1})
		return s.Protocol().(*websocket.Protocol).Unsent(0)
	}
	eventually(t, "no buffer has room for more answers", func() bool { return held() > 0 })
	for range 20 {
		if n := held(); n == 0 || n > 1024+200 {
			t.Errorf("%d bytes of answers are kept, want some, and no more than 1024 and one", n)
		}
	}
}

// Connections that end by themselves are counted as lost, by what ended them.
// Pongs are verified: those in pieces are put together, those that nobody asked
// for are nobody's, and where one answers several pings (RFC 6455 section 5.5.3)
// the others count as not answered.
func TestPongs(t *testing.T) {
	server := peer.Start(t, hostIPv4, func(n int, c *peer.Conn) {
		if c.Upgrade() != nil {
			return
		}
		pings := 0
		for _, frame := range c.Frames() {
			if frame.Opcode != ws.OpPing {
				c.Send(peer.Encode(frame.Opcode, frame.Payload))
				continue
			}
			pings++
			pong := peer.Encode(ws.OpPong, frame.Payload)
			switch n {
			case 0: // another's
				frame.Payload[0]++
				c.Send(peer.Encode(ws.OpPong, frame.Payload))
			case 1: // byte by byte, with one that nobody asked for before it
				c.Send(peer.Encode(ws.OpPong, []byte("hello")))
				for _, b := range pong {
					c.Send([]byte{b})
				}
			case 2: // every other one
				if pings%2 == 0 {
					c.Send(pong)
				}
			default:
				c.Send(pong)
			}
		}
	})
	s := newTable(t, 4, setup{}, server.Address)
	for n := range 4 {
		rampTo1(t, s, n+1)
	}
	report := run(t, s, control.Command{Op: "ping", RatePerSecond: 400, PayloadBytes: 8, Seconds: 0.1, TimeoutSeconds: medium})
	expect(t, report, control.Result{
		Open: 4, Offered: 40, Sent: 40, Delivered: 25, Unanswered: 15,
		Failures: []control.Failure{{Phase: "ping", Error: "timeout", Count: 15}},
	})
	if n := total(report.Latency); n != 40 {
		t.Errorf("%d latencies", n)
	}
	// None of that is held against the messages that follow.
	expect(t, run(t, s, control.Command{Op: "census", PayloadBytes: 8}), control.Result{Open: 4, Offered: 4, Sent: 4, Delivered: 4})
}

// A message instead of a pong is an echo of nothing.
func TestMessageForPing(t *testing.T) {
	server := peer.Start(t, hostIPv4, func(_ int, c *peer.Conn) {
		c.Upgrade()
		for _, frame := range c.Frames() {
			c.Send(peer.Encode(ws.OpBinary, frame.Payload))
		}
	})
	s := newTable(t, 1, setup{}, server.Address)
	rampTo(t, s, 1)
	report := run(t, s, control.Command{Op: "ping", RatePerSecond: 100, PayloadBytes: 8, Seconds: 0.01})
	expect(t, report, control.Result{
		Offered: 1, Sent: 1, Corrupt: 1, Lost: 1, Unanswered: 1, Failures: []control.Failure{{Phase: "echo", Error: "mismatch", Count: 1}},
	})
}

// rampTo1 opens one connection more.
func rampTo1(t *testing.T, s *connections.Table, connections int) {
	t.Helper()
	expect(t, run(t, s, control.Command{Op: "ramp", Connections: connections, Window: 1}), control.Result{Open: connections, Opened: 1})
}

func TestLost(t *testing.T) {
	begin := make(chan bool)
	server := peer.Start(t, hostIPv4, func(n int, c *peer.Conn) {
		if c.Upgrade() != nil {
			return
		}
		if n >= 6 {
			c.Echo()
			return
		}
		<-begin
		switch n {
		case 0, 1: // end of stream
		case 2:
			c.Reset()
		case 3, 4:
			c.Send(peer.Encode(ws.OpClose, []byte{0x03, 0xe9}))
			c.Next()
		case 5:
			c.Send([]byte("\x83\x00")) // a reserved opcode
			c.Next()
		}
	})
	s := newTable(t, 20, setup{}, server.Address)
	rampTo(t, s, 20)
	close(begin)
	var lost int
	sum := map[control.Failure]int64{}
	eventually(t, "six connections lost", func() bool {
		report := run(t, s, control.Command{Op: "hold", Seconds: 0.02})
		lost += report.Lost
		for _, f := range report.Failures {
			sum[control.Failure{Phase: f.Phase, Error: f.Error}] += f.Count
		}
		return lost >= 6
	})
	want := map[control.Failure]int64{
		{Phase: "open", Error: "closed"}:     4,
		{Phase: "open", Error: "ECONNRESET"}: 1,
		{Phase: "open", Error: "bad frame"}:  1,
	}
	if fmt.Sprint(sum) != fmt.Sprint(want) || s.Open() != 14 {
		t.Errorf("%d open, failures %v; want 14, %v", s.Open(), sum, want)
	}
	// The next command makes do with those that are left.
	expect(t, run(t, s, control.Command{Op: "census"}), control.Result{Open: 14, Offered: 14, Sent: 14, Delivered: 14})
	expect(t, run(t, s, control.Command{Op: "ramp", Connections: 20, Window: 5}), control.Result{Open: 20, Opened: 6})
}

// Losses between two commands belong to the next one.
func TestLostWhileIdle(t *testing.T) {
	begin := make(chan bool)
	server := peer.Start(t, hostIPv4, func(n int, c *peer.Conn) {
		if c.Upgrade() == nil && n > 0 {
			c.Echo()
		}
		<-begin
	})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s := newTable(t, 5, setup{wake: int(r.Fd())}, server.Address)
	rampTo(t, s, 5)
	close(begin)
	go func() {
		eventually(t, "the server to have closed one", func() bool { return server.Open() == 4 })
		w.Close() // wakes
	}()
	if err := Idle(s); err != nil {
		t.Fatal(err)
	}
	expect(t, run(t, s, control.Command{Op: "census"}), control.Result{
		Open: 4, Lost: 1, Offered: 4, Sent: 4, Delivered: 4,
		Failures: []control.Failure{{Phase: "open", Error: "closed", Count: 1}},
	})
}

// Echoes that are not what was sent are counted one by one.
func TestCorruptEchoes(t *testing.T) {
	for name, corrupt := range map[string]func(p []byte) []byte{
		"a bit":   func(p []byte) []byte { p[len(p)-1] ^= 0x10; return peer.Encode(ws.OpBinary, p) },
		"shorter": func(p []byte) []byte { return peer.Encode(ws.OpBinary, p[:len(p)-1]) },
		"longer":  func(p []byte) []byte { return peer.Encode(ws.OpBinary, append(p, 0)) },
		"empty":   func([]byte) []byte { return peer.Encode(ws.OpBinary, nil) },
		"text":    func(p []byte) []byte { return peer.Encode(ws.OpText, p) },
	} {
		t.Run(name, func(t *testing.T) {
			var messages atomic.Int64
			server := peer.Start(t, hostIPv4, func(_ int, c *peer.Conn) {
				if c.Upgrade() != nil {
					return
				}
				for _, frame := range c.Frames() {
					answer := peer.Encode(ws.OpBinary, frame.Payload)
					if messages.Add(1)%10 == 0 {
						answer = corrupt(frame.Payload)
					}
					c.Send(answer)
				}
			})
			s := newTable(t, 10, setup{}, server.Address)
			rampTo(t, s, 10)
			report := run(t, s, control.Command{Op: "echo", RatePerSecond: 2000, PayloadBytes: 20, Seconds: 0.1})
			expect(t, report, control.Result{
				Open: 10, Offered: 200, Sent: 200, Delivered: 180, Corrupt: 20,
				Failures: []control.Failure{{Phase: "echo", Error: "mismatch", Count: 20}},
			})
			if n := total(report.Latency); n != 180 {
				t.Errorf("%d latencies, want 180", n)
			}
			report = run(t, s, control.Command{Op: "saturate", InFlight: 4, PayloadBytes: 20, Seconds: 0.1})
			if all := answered(report.Result) + report.Corrupt; report.Corrupt != (messages.Load())/10-20 || all != report.Sent || all != messages.Load()-200 {
				t.Errorf("%d corrupt, %d delivered, %d sent; the server saw %d", report.Corrupt, answered(report.Result), report.Sent, messages.Load()-200)
			}
		})
	}
}

// The echo of another connection's message is not an echo.
func TestCrossTalk(t *testing.T) {
	var mutex sync.Mutex
	held := map[int][]byte{} // the last message of each connection
	server := peer.Start(t, hostIPv4, func(n int, c *peer.Conn) {
		if c.Upgrade() != nil {
			return
		}
		for _, frame := range c.Frames() {
			answer := make([]byte, len(frame.Payload))
			mutex.Lock()
			for other, message := range held {
				if other != n {
					answer = message
				}
			}
			held[n] = frame.Payload
			mutex.Unlock()
			c.Send(peer.Encode(ws.OpBinary, answer))
		}
	})
	s := newTable(t, 3, setup{}, server.Address)
	rampTo(t, s, 3)
	expect(t, run(t, s, control.Command{Op: "echo", RatePerSecond: 300, PayloadBytes: 16, Seconds: 0.1}), control.Result{
		Open: 3, Offered: 30, Sent: 30, Corrupt: 30,
		Failures: []control.Failure{{Phase: "echo", Error: "mismatch", Count: 30}},
	})
}

// An echo that nobody sent for ends the connection.
func TestEchoOfNothing(t *testing.T) {
	server := peer.Start(t, hostIPv4, func(n int, c *peer.Conn) {
		if c.Upgrade() != nil {
			return
		}
		frame, err := c.Next()
		if err != nil {
			return
		}
		answer := peer.Encode(ws.OpBinary, frame.Payload)
		if n == 0 {
			answer = slices.Concat(answer, answer)
		}
		c.Send(answer)
		c.Echo()
	})
	s := newTable(t, 4, setup{}, server.Address)
	rampTo(t, s, 4)
	expect(t, run(t, s, control.Command{Op: "census", PayloadBytes: 5}), control.Result{
		Open: 3, Lost: 1, Offered: 4, Sent: 4, Delivered: 4, Corrupt: 1,
		Failures: []control.Failure{{Phase: "echo", Error: "mismatch", Count: 1}},
	})
}

// Connections that never answer are found by the census, however many they are.
func TestSilentConnections(t *testing.T) {
	const connections = 1200
	server := peer.Start(t, hostIPv4, func(n int, c *peer.Conn) {
		if c.Upgrade() != nil {
			return
		}
		if n%3 == 0 {
			for {
				if _, err := c.Next(); err != nil {
					return
				}
			}
		}
		c.Echo()
	})
	s := newTable(t, connections, setup{}, server.Address)
	rampTo(t, s, connections)
	expect(t, run(t, s, control.Command{Op: "census", PayloadBytes: 5, TimeoutSeconds: medium}), control.Result{
		Open: connections, Offered: connections, Sent: connections, Delivered: connections - connections/3, Unanswered: connections / 3,
		Failures: []control.Failure{{Phase: "echo", Error: "timeout", Count: connections / 3}},
	})
	report := run(t, s, control.Command{Op: "echo", RatePerSecond: 10000, PayloadBytes: 5, Seconds: 0.24, TimeoutSeconds: medium})
	if report.Offered != 2400 || answered(report.Result) != 1600 || report.Failures[0].Count != 800 {
		t.Errorf("%d of %d delivered, failures %v", answered(report.Result), report.Offered, report.Failures)
	}
}

// A server that has stopped answering altogether does not make the census last
// for a timeout per window.
func TestCensusOfTheDead(t *testing.T) {
	server := peer.Start(t, hostIPv4, func(_ int, c *peer.Conn) {
		c.Upgrade()
		for range c.Frames() { // until the client ends
		}
	})
	s := newTable(t, 1050, setup{}, server.Address)
	rampTo(t, s, 1050)
	expect(t, run(t, s, control.Command{Op: "census", PayloadBytes: 5, TimeoutSeconds: medium}), control.Result{
		Open: 1050, Offered: 1050, Sent: 1000, Unanswered: 1050,
		Failures: []control.Failure{{Phase: "echo", Error: "timeout", Count: 1000}},
	})
}

// Of five connections two take turns; that another one ends is no message lost.
func TestEchoOverSome(t *testing.T) {
	const rate, seconds, some = 400, 0.1, 2
	var talked atomic.Int64
	begun := make(chan bool)
	server := peer.Start(t, hostIPv4, func(_ int, c *peer.Conn) {
		if c.Upgrade() != nil {
			return
		}
		next := make(chan peer.Frame)
		go func() {
			defer close(next)
			for _, frame := range c.Frames() {
				next <- frame
			}
		}()
		select {
		case frame, ok := <-next:
			if !ok {
				return
			}
			if talked.Add(1) == some {
				close(begun)
			}
			for ; ok; frame, ok = <-next {
				c.Send(peer.Encode(ws.OpBinary, frame.Payload))
			}
		case <-begun: // the idle ones leave
			c.Close()
			for range next {
			}
		}
	})
	s := newTable(t, 5, setup{}, server.Address)
	rampTo(t, s, 5)
	report := run(t, s, control.Command{Op: "echo", Connections: some, RatePerSecond: rate, PayloadBytes: 20, Seconds: seconds})
	if r := report.Result; r.Offered != rate*seconds || answered(r) != r.Offered {
		t.Errorf("%d offered, %d delivered, want %v", r.Offered, answered(r), rate*seconds)
	}
	if talked.Load() != some {
		t.Errorf("%d connections talked, want %d", talked.Load(), some)
	}
}

// Echoes that come after their load has ended are neither right nor wrong; those
// of the next load are.
func TestLateEchoes(t *testing.T) {
	release := make(chan bool)
	server := peer.Start(t, hostIPv4, func(_ int, c *peer.Conn) {
		if c.Upgrade() != nil {
			return
		}
		var held []byte
		for range 3 {
			frame, err := c.Next()
			if err != nil {
				return
			}
			held = append(held, peer.Encode(ws.OpBinary, frame.Payload)...)
		}
		c.Send(held[:len(held)-2]) // the last one's end comes in the next load
		<-release
		c.Send(held[len(held)-2:])
		c.Echo()
	})
	s := newTable(t, 5, setup{}, server.Address)
	rampTo(t, s, 5)
	report := run(t, s, control.Command{Op: "echo", RatePerSecond: 150, PayloadBytes: 40, Seconds: 0.1, TimeoutSeconds: medium})
	expect(t, report, control.Result{
		Open: 5, Offered: 15, Sent: 15, Delivered: 10, Unanswered: 5,
		Failures: []control.Failure{{Phase: "echo", Error: "timeout", Count: 5}},
	})
	close(release)
	expect(t, run(t, s, control.Command{Op: "census", PayloadBytes: 7}), control.Result{Open: 5, Offered: 5, Sent: 5, Delivered: 5})
}

// Messages larger than all buffers are sent on when there is room; a pong waits
// for the end of its connection's message.
func TestPartialSends(t *testing.T) {
	size, readBuffer := 6<<20, 16<<10
	if overTLS {
		readBuffer = 256 << 10 // a record is as large as the other, and comes slowly then
	}
	if overPackets {
		// More than its buffers take, too; and without SACK it is slow with a receiver
		// that drops what it has no memory for.
		size = 256 << 10
	}
	var pongs atomic.Int64
	server := peer.Start(t, hostIPv4, func(_ int, c *peer.Conn) {
		if c.Upgrade() != nil {
			return
		}
		c.TCP().SetReadBuffer(readBuffer)
		for {
			// Before anything of the message is read, while the client is in the
			// middle of sending it.
			if c.Send(peer.Encode(ws.OpPing, []byte("now"))) != nil {
				return
			}
			for _, frame := range c.Frames() {
				if frame.Opcode == ws.OpPong && string(frame.Payload) == "now" {
					pongs.Add(1)
				}
				if frame.Opcode == ws.OpBinary {
					c.Send(peer.Encode(ws.OpBinary, frame.Payload))
					break
				}
			}
		}
	})
	s := newTable(t, 2, setup{}, server.Address)
	rampTo(t, s, 2)
	expect(t, run(t, s, control.Command{Op: "echo", RatePerSecond: 80, PayloadBytes: size, Seconds: 0.1}),
		control.Result{Open: 2, Offered: 8, Sent: 8, Delivered: 8})
	expect(t, run(t, s, control.Command{Op: "census", PayloadBytes: size}),
		control.Result{Open: 2, Offered: 2, Sent: 2, Delivered: 2})
	report := run(t, s, control.Command{Op: "saturate", InFlight: 4, PayloadBytes: size, Seconds: 0.1})
	n := answered(report.Result)
	expect(t, report, control.Result{Open: 2, Offered: n, Sent: n, Delivered: n})
	eventually(t, "all pings answered", func() bool {
		run(t, s, control.Command{Op: "hold", Seconds: 0.01})
		return pongs.Load() >= 10+n
	})
}

// A worker that the host held up for a whole phase sends its messages all the
// same: that nothing was sent would say something of the server.
func TestSaturateThatComesLate(t *testing.T) {
	server := peer.Start(t, hostIPv4, peer.Echo)
	s := newTable(t, 4, setup{}, server.Address)
	rampTo(t, s, 4)
	command := control.Command{Op: "saturate", InFlight: 3, PayloadBytes: 8, Seconds: 0.1, TimeoutSeconds: long}
	late := jobOf(s, command)
	late.Start -= int64(time.Minute)
	report, err := Run(s, late, func() bool { return false }, func(int, int64) {})
	if err != nil {
		t.Fatal(err)
	}
	if report.Offered != 3 || answered(report.Result) != 3 {
		t.Errorf("%d of %d messages were delivered, want 3 of 3", answered(report.Result), report.Offered)
	}
}

// A server that stops reading in the middle of a message has lost it, and the
// connection can carry no other.
func TestServerThatStopsReading(t *testing.T) {
	end := make(chan bool)
	server := peer.Start(t, hostIPv4, func(_ int, c *peer.Conn) {
		if c.Upgrade() == nil {
			<-end
		}
	})
	defer close(end)
	for _, op := range []control.Op{"echo", "saturate", "census"} {
		s := newTable(t, 2, setup{}, server.Address)
		rampTo(t, s, 2)
		command := control.Command{Op: op, RatePerSecond: 20, InFlight: 2, PayloadBytes: largest, Seconds: 0.1, TimeoutSeconds: short}
		if op == "census" {
			command.RatePerSecond = 0 // all are asked before the first has had its time
		}
		report := run(t, s, command)
		expect(t, report, control.Result{
			Lost: 2, Offered: 2, Unanswered: 2,
			Failures: []control.Failure{{Phase: "send", Error: "timeout", Count: 2}},
		})
	}
}

const largest = 16 << 20

// Connections that die under a load: the messages due on them count as offered,
// and are not waited for.
func TestConnectionsDieUnderLoad(t *testing.T) {
	var seen journal
	server := peer.Start(t, hostIPv4, func(n int, c *peer.Conn) {
		if c.Upgrade() != nil {
			return
		}
		if n%2 == 0 {
			c.Next()
			c.Reset()
			return
		}
		c.Echo()
	})
	newTable := func() *connections.Table {
		s := newTable(t, 20, setup{sources: source(seen.add("swarm"))}, server.Address)
		rampTo(t, s, 20)
		return s
	}
	report := run(t, newTable(), control.Command{Op: "echo", RatePerSecond: 1000, PayloadBytes: 5, Seconds: 0.4})
	if report.Offered != 400 || answered(report.Result) != 200 || report.Lost != 10 || report.Open != 10 || report.Sent < 210 {
		t.Errorf("%d offered, %d sent, %d delivered, %d lost, %d open; want 400, at least 210, 200, 10, 10",
			report.Offered, report.Sent, answered(report.Result), report.Lost, report.Open)
	}

	report = run(t, newTable(), control.Command{Op: "saturate", InFlight: 15, PayloadBytes: 5, Seconds: 0.2})
	if report.Lost != 10 || report.Sent != answered(report.Result)+10 || answered(report.Result) < 15 {
		t.Errorf("%d sent, %d delivered, %d lost", report.Sent, answered(report.Result), report.Lost)
	}
	report = run(t, newTable(), control.Command{Op: "census", PayloadBytes: 5})
	if report.Lost != 10 || answered(report.Result) != 10 || report.Open != 10 {
		t.Errorf("%d delivered, %d lost, %d open", answered(report.Result), report.Lost, report.Open)
	}
}

// A close frame that is not answered is waited for no longer than told.
func TestCloseWithoutAnswer(t *testing.T) {
	server := peer.Start(t, hostIPv4, func(n int, c *peer.Conn) {
		if c.Upgrade() != nil {
			return
		}
		switch n % 4 {
		case 0:
			c.Echo()
		case 1: // gone without a word
			c.Next()
		case 2:
			c.Next()
			c.Send(peer.Encode(ws.OpBinary, []byte("still here")))
			c.Next()
		case 3:
			c.Next()
			c.Send([]byte("\x83\x00"))
			c.Next()
		}
	})
	s := newTable(t, 40, setup{}, server.Address)
	rampTo(t, s, 40)
	expect(t, run(t, s, control.Command{Op: "close", TimeoutSeconds: medium}), control.Result{
		Closed: 40,
		Failures: []control.Failure{
			{Phase: "close", Error: "closed", Count: 10},
			{Phase: "close", Error: "timeout", Count: 10},
			{Phase: "close", Error: "bad frame", Count: 10},
		},
	})
	eventually(t, "all connections gone from the server", func() bool { return server.Open() == 0 })
}

// Every command ends when told, and says what it has.
func TestStop(t *testing.T) {
	for _, command := range []control.Command{
		{Op: "ramp", Connections: 20, Window: 5},
		{Op: "hold", Seconds: long},
		{Op: "echo", RatePerSecond: 1000, PayloadBytes: 5, Seconds: long},
		{Op: "saturate", InFlight: 5, PayloadBytes: 5, Seconds: long},
	} {
		t.Run(string(command.Op), func(t *testing.T) {
			server := peer.Start(t, hostIPv4, func(n int, c *peer.Conn) {
				if n < 10 {
					peer.Echo(n, c)
					return
				}
				c.Request() // and no answer
				c.Next()
			})
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			s := newTable(t, 20, setup{wake: int(r.Fd())}, server.Address)
			rampTo(t, s, 10)
			w.Close()
			report := runUntil(t, s, command, func() bool { return true })
			if report.Ended-report.Began > int64(long*1e9/2) {
				t.Errorf("it took %v", time.Duration(report.Ended-report.Began))
			}
			wantBy := ""
			if command.Op == "ramp" {
				wantBy = control.StoppedByStop
			}
			if report.StoppedBy != wantBy || len(report.Failures) != 0 {
				t.Errorf("stopped by %q, failures %v", report.StoppedBy, report.Failures)
			}
		})
	}
}

// Latency counts from the intended time: what a server holds up shows in full.
func TestLatencyIsFromTheIntendedTime(t *testing.T) {
	const stall = 200 * time.Millisecond
	server := peer.Start(t, hostIPv4, func(_ int, c *peer.Conn) {
		if c.Upgrade() != nil {
			return
		}
		for first := true; ; first = false {
			frame, err := c.Next()
			if err != nil {
				return
			}
			if first {
				time.Sleep(stall) // the stall under test
			}
			c.Send(peer.Encode(ws.OpBinary, frame.Payload))
		}
	})
	s := newTable(t, 1, setup{}, server.Address)
	rampTo(t, s, 1)
	report := run(t, s, control.Command{Op: "echo", RatePerSecond: 100, PayloadBytes: 5, Seconds: 0.2})
	h := latency.New()
	h.Add(report.Latency)
	if h.Total() != 20 || h.Max() < int64(stall) {
		t.Errorf("%d latencies, longest %v; want 20, %v", h.Total(), time.Duration(h.Max()), stall)
	}
	// Message k was due k · 10 ms after the first, and came no sooner than it.
	if half := h.Quantile(0.5); half < int64(stall)/2-int64(20*time.Millisecond) {
		t.Errorf("half of the latencies are below %v, as if they had not waited", time.Duration(half))
	}
}

// A ramp is no faster than told.
func TestRampIsPaced(t *testing.T) {
	server := peer.Start(t, hostIPv4, peer.Echo)
	s := newTable(t, 50, setup{}, server.Address)
	report := run(t, s, control.Command{Op: "ramp", Connections: 50, RatePerSecond: 250})
	expect(t, report, control.Result{Open: 50, Opened: 50})
	// The first is due at once, and what one stall held up may be made up for.
	if least := 49*int64(4*time.Millisecond) - int64(20*time.Millisecond); report.Ended-report.Began < least {
		t.Errorf("it took %v, want at least %v", time.Duration(report.Ended-report.Began), time.Duration(least))
	}
}

// The window bounds what is unfinished.
func TestRampWindow(t *testing.T) {
	const window = 7
	var unfinished peer.Unfinished
	server := peer.Start(t, hostIPv4, unfinished.Echo)
	s := newTable(t, 200, setup{}, server.Address)
	expect(t, run(t, s, control.Command{Op: "ramp", Connections: 200, Window: window}), control.Result{Open: 200, Opened: 200})
	if most := unfinished.Most(); most > window {
		t.Errorf("%d were unfinished at a time, want at most %d", most, window)
	}
}

func TestStateIsSmall(t *testing.T) {
	s := newTable(t, 1, setup{}, "127.0.0.1:1")
	most := 48
	if overTLS {
		most = 264
	}
	if n := s.StateBytes(); n > most {
		t.Errorf("%d bytes are kept for a connection, want at most %d", n, most)
	}
}
