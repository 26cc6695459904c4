package worker

import (
	"encoding/json"
	"io"
	"strconv"
	"sync/atomic"
	"testing"

	"connbench/clients/control"
	"connbench/clients/internal/peer"
)

// backoff are the options with one.
func backoff(t *testing.T, seconds float64) json.RawMessage {
	t.Helper()
	text, err := json.Marshal(control.ComebackOptions{BackoffSeconds: seconds})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// All connections are dropped and come back, at once or after a pause, in a window or without
// one. Each answers then.
func TestStorm(t *testing.T) {
	const n = 300
	for name, command := range map[string]control.Command{
		"at once":        {},
		"in a window":    {Window: 7},
		"with a backoff": {Options: backoff(t, 0.2)},
	} {
		server := peer.Start(t, hostIPv4, peer.Echo)
		s := newTable(t, n, setup{}, server.Address)
		rampTo(t, s, n)
		command.Op, command.Seconds = "storm", long
		report := run(t, s, command)
		expect(t, report, control.Result{Open: n, Opened: n, Closed: n, Offered: n, Delivered: n})
		if got := total(report.Latency); got != n {
			t.Errorf("%s: %d latencies, want %d", name, got, n)
		}
		expect(t, run(t, s, control.Command{Op: "census", PayloadBytes: 9}), control.Result{Open: n, Offered: n, Sent: n, Delivered: n})
	}
}

// A part of the connections takes part, and the others stay.
func TestStormOfAPart(t *testing.T) {
	server := peer.Start(t, hostIPv4, peer.Echo)
	s := newTable(t, 10, setup{}, server.Address)
	rampTo(t, s, 10)
	expect(t, run(t, s, control.Command{Op: "storm", Connections: 4, Seconds: long}),
		control.Result{Open: 10, Opened: 4, Closed: 4, Offered: 4, Delivered: 4})
}

// What a server refuses is tried again until it is back; every refusal is counted.
func TestStormIsRefusedAtFirst(t *testing.T) {
	const n, refused = 20, 15
	var connects atomic.Int64
	server := peer.Start(t, hostIPv4, func(_ int, c *peer.Conn) {
		if k := connects.Add(1); k > n && k <= n+refused {
			c.Request()
			c.Send([]byte("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"))
			io.Copy(io.Discard, c)
			return
		}
		peer.Echo(0, c)
	})
	for k, options := range []json.RawMessage{nil, backoff(t, 0.05)} {
		connects.Store(0)
		s := newTable(t, n, setup{sources: source(k + 1)}, server.Address)
		rampTo(t, s, n)
		report := run(t, s, control.Command{Op: "storm", Seconds: long, Options: options})
		want := control.Result{Open: n, Opened: n, Closed: n, Offered: n, Delivered: n, Failures: []control.Failure{{Phase: "handshake", Error: control.Rejected, Count: refused}}}
		report.Counts = nil
		expect(t, report, want)
	}
}

// A server that takes back only some ends the storm when its time is over: the others are
// counted as not back, with their age.
func TestStormThatNeverComesBack(t *testing.T) {
	const n, back = 20, 5
	var connects atomic.Int64
	server := peer.Start(t, hostIPv4, func(_ int, c *peer.Conn) {
		if connects.Add(1) > n+back {
			io.Copy(io.Discard, c) // mute
			return
		}
		peer.Echo(0, c)
	})
	s := newTable(t, n, setup{}, server.Address)
	rampTo(t, s, n)
	report := run(t, s, control.Command{Op: "storm", Seconds: medium})
	if report.Open != back || report.Offered != n || report.Delivered != back || report.Unanswered != n-back || total(report.Latency) != n {
		t.Errorf("%d of %d are back, %d not, %d latencies; want %d, %d", report.Delivered, report.Offered, report.Unanswered, total(report.Latency), back, n-back)
	}
	if old := atLeast(medium, report.Latency); old != n-back {
		t.Errorf("%d are counted as older than the storm, want %d", old, n-back)
	}
}

// Connections are replaced at a rate, one after the other, more often than there are, and the
// others stay.
func TestChurn(t *testing.T) {
	const n, due = 10, 40
	server := peer.Start(t, hostIPv4, peer.Echo)
	s := newTable(t, n, setup{}, server.Address)
	rampTo(t, s, n)
	report := run(t, s, control.Command{Op: "churn", RatePerSecond: 200, Seconds: 0.2})
	// On a busy machine one may still be on its way back when it is due again.
	if report.Open != n || report.Offered > due || report.Offered < n || report.Delivered+report.Late != report.Offered || report.Unanswered != 0 || int64(report.Opened) != report.Offered || len(report.Failures) > 0 {
		t.Errorf("%+v", report.Result)
	}
	if got := total(report.Latency); got != report.Offered {
		t.Errorf("%d latencies, want %d", got, report.Offered)
	}
	expect(t, run(t, s, control.Command{Op: "census", PayloadBytes: 9}), control.Result{Open: n, Offered: n, Sent: n, Delivered: n})
}

// One churn goes on where the one before has stopped: each connection has its turn.
func TestChurnsGoOn(t *testing.T) {
	const n = 10
	var replaced journal
	server := peer.Start(t, hostIPv4, func(k int, c *peer.Conn) {
		peer.Echo(k, c)
		replaced.add(strconv.Itoa(k))
	})
	s := newTable(t, n, setup{}, server.Address)
	for k := range n {
		rampTo1(t, s, k+1)
	}
	for k := range 2 {
		expect(t, run(t, s, control.Command{Op: "churn", RatePerSecond: 100, Seconds: 0.05}),
			control.Result{Open: n, Opened: 5, Closed: 5, Offered: 5, Delivered: 5})
		for i := range n {
			name, want := strconv.Itoa(i), 0
			if i < 5*(k+1) {
				want = 1
			}
			eventually(t, "the server has seen it end", func() bool { return replaced.count(name) >= want })
			if got := replaced.count(name); got != want {
				t.Errorf("after churn %d, connection %d was replaced %d times, want %d", k+1, i, got, want)
			}
		}
	}
}

// What the server does not take back is missing, and the churn ends.
func TestChurnWithoutReturn(t *testing.T) {
	const n = 10
	var connects atomic.Int64
	server := peer.Start(t, hostIPv4, func(_ int, c *peer.Conn) {
		if connects.Add(1) > n {
			io.Copy(io.Discard, c)
			return
		}
		peer.Echo(0, c)
	})
	s := newTable(t, n, setup{}, server.Address)
	rampTo(t, s, n)
	report := run(t, s, control.Command{Op: "churn", RatePerSecond: 100, Seconds: 0.05, TimeoutSeconds: short})
	if report.Open != n-5 || report.Offered != 5 || report.Delivered != 0 || report.Unanswered != 5 {
		t.Errorf("%+v", report.Result)
	}
}

// A census can be asked at a rate: it takes as long as that makes it.
func TestCensusAtARate(t *testing.T) {
	server := peer.Start(t, hostIPv4, peer.Echo)
	s := newTable(t, 11, setup{}, server.Address)
	rampTo(t, s, 11)
	report := run(t, s, control.Command{Op: "census", PayloadBytes: 9, RatePerSecond: 50})
	expect(t, report, control.Result{Open: 11, Offered: 11, Sent: 11, Delivered: 11})
	if seconds := float64(report.Ended-report.Began) / 1e9; seconds < 0.2 {
		t.Errorf("11 answers at 50 a second took %g s", seconds)
	}
}
