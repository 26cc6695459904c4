package worker

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"connbench/clients/control"
	"connbench/clients/internal/peer"
)

// One message that a server swallows is one message without an answer. It makes no
// later echo corrupt, in this load or the next one, however short the messages are.
func TestSwallowedMessage(t *testing.T) {
	for _, size := range []int{1, 7, 8, 40, 70_000} {
		var messages atomic.Int64
		server := peer.Start(t, hostIPv4, func(_ int, c *peer.Conn) {
			if c.Upgrade() != nil {
				return
			}
			for _, frame := range c.Frames() {
				if messages.Add(1) != 15 {
					c.Send(peer.Encode(ws.OpBinary, frame.Payload))
				}
			}
		})
		s := newTable(t, 10, setup{}, server.Address)
		rampTo(t, s, 10)
		echo := control.Command{Op: "echo", RatePerSecond: 1000, PayloadBytes: size, Seconds: 0.1}
		report := run(t, s, echo)
		expect(t, report, control.Result{
			Open: 10, Offered: 100, Sent: 100, Delivered: 99, Unanswered: 1,
			Failures: []control.Failure{{Phase: "echo", Error: "timeout", Count: 1}},
		})
		if n := total(report.Latency); n != 100 {
			t.Errorf("%d bytes: %d latencies, want 100", size, n)
		}
		expect(t, run(t, s, echo), control.Result{Open: 10, Offered: 100, Sent: 100, Delivered: 100})
		report = run(t, s, control.Command{Op: "saturate", InFlight: 30, PayloadBytes: size, Seconds: 0.05})
		n := answered(report.Result)
		expect(t, report, control.Result{Open: 10, Offered: n, Sent: n, Delivered: n})
		expect(t, run(t, s, control.Command{Op: "census", PayloadBytes: size}), control.Result{Open: 10, Offered: 10, Sent: 10, Delivered: 10})
	}
}

// In a closed loop another message takes the place of one that is passed over.
func TestSwallowedInAClosedLoop(t *testing.T) {
	var swallowed atomic.Int64
	server := peer.Start(t, hostIPv4, func(_ int, c *peer.Conn) {
		if c.Upgrade() != nil {
			return
		}
		for k, frame := range c.Frames() {
			if k == 4 {
				swallowed.Add(1)
				continue
			}
			c.Send(peer.Encode(ws.OpBinary, frame.Payload))
		}
	})
	s := newTable(t, 3, setup{}, server.Address)
	rampTo(t, s, 3)
	report := run(t, s, control.Command{Op: "saturate", InFlight: 12, PayloadBytes: 20, Seconds: 0.2, TimeoutSeconds: medium})
	n := answered(report.Result)
	expect(t, report, control.Result{
		Open: 3, Offered: n + 3, Sent: n + 3, Delivered: n, Unanswered: 3,
		Failures: []control.Failure{{Phase: "echo", Error: "timeout", Count: 3}},
	})
	if got := total(report.Latency); got != n+3 || n < 20 {
		t.Errorf("%d latencies of %d messages", got, n+3)
	}
}

// An echo that comes twice answers nothing the second time, and takes the place of no
// other.
func TestRepeatedEcho(t *testing.T) {
	server := peer.Start(t, hostIPv4, func(n int, c *peer.Conn) {
		if c.Upgrade() != nil {
			return
		}
		var first []byte
		for k, frame := range c.Frames() {
			answer := peer.Encode(ws.OpBinary, frame.Payload)
			if k == 0 {
				first = answer
			}
			if k == 1 && n == 0 {
				c.Send(first) // while the second is outstanding
			}
			c.Send(answer)
		}
	})
	s := newTable(t, 2, setup{}, server.Address)
	rampTo1(t, s, 1)
	rampTo1(t, s, 2)
	report := run(t, s, control.Command{Op: "echo", RatePerSecond: 100, PayloadBytes: 20, Seconds: 0.04})
	expect(t, report, control.Result{
		Open: 2, Offered: 4, Sent: 4, Delivered: 4, Corrupt: 1,
		Failures: []control.Failure{{Phase: "echo", Error: "mismatch", Count: 1}},
	})
}

// What comes back when the load's time is over is late, and counted separately.
func TestLateAnswers(t *testing.T) {
	server := peer.Start(t, hostIPv4, peer.Echo)
	for n, op := range []control.Op{"echo", "ping", "saturate"} {
		server := server
		if op == "ping" {
			server = peer.Start(t, hostIPv4, func(_ int, c *peer.Conn) {
				if c.Upgrade() != nil {
					return
				}
				for _, frame := range c.Frames() {
					c.Send(peer.Encode(ws.OpPong, frame.Payload))
				}
			})
		}
		s := newTable(t, 4, setup{sources: source(n + 1)}, server.Address)
		rampTo(t, s, 4)
		job := jobOf(s, control.Command{Op: op, RatePerSecond: 80, InFlight: 8, PayloadBytes: 8, Seconds: 0.1, TimeoutSeconds: 3600})
		job.Start -= int64(time.Minute)
		report, err := Run(s, job, func() bool { return false }, func(int, int64) {})
		if err != nil {
			t.Fatal(err)
		}
		if r := report.Result; r.Offered != 8 || r.Late != 8 || r.Delivered != 0 || r.Unanswered != 0 {
			t.Errorf("%s: %d offered, %d late, %d delivered, %d unanswered; want 8, 8, 0, 0", op, r.Offered, r.Late, r.Delivered, r.Unanswered)
		}
		if n := total(report.Latency); n != 8 {
			t.Errorf("%s: %d latencies", op, n)
		}
	}
}

// Most of the messages have no answer: they are in the histogram, with the age that
// they have at the end, and so no percentile is one of the survivors.
func TestNoPercentilesOfSurvivors(t *testing.T) {
	var messages atomic.Int64
	server := peer.Start(t, hostIPv4, func(_ int, c *peer.Conn) {
		if c.Upgrade() != nil {
			return
		}
		for _, frame := range c.Frames() {
			if messages.Add(1) <= 20 {
				c.Send(peer.Encode(ws.OpBinary, frame.Payload))
			}
		}
	})
	s := newTable(t, 10, setup{}, server.Address)
	rampTo(t, s, 10)
	report := run(t, s, control.Command{Op: "echo", RatePerSecond: 2000, PayloadBytes: 20, Seconds: 0.1, TimeoutSeconds: medium})
	expect(t, report, control.Result{
		Open: 10, Offered: 200, Sent: 200, Delivered: 20, Unanswered: 180,
		Failures: []control.Failure{{Phase: "echo", Error: "timeout", Count: 180}},
	})
	old := atLeast(medium, report.Latency)
	if n := total(report.Latency); n != 200 || old < 180 {
		t.Errorf("%d latencies, %d of them at least the timeout; want 200 and 180", n, old)
	}
}

// Messages on connections that die have no answer either: those sent, those that the
// engine had not taken and those due later.
func TestUnansweredOnLostConnections(t *testing.T) {
	server := peer.Start(t, hostIPv4, func(n int, c *peer.Conn) {
		if c.Upgrade() != nil {
			return
		}
		if n == 0 {
			c.Next()
			c.Reset()
			return
		}
		c.Echo()
	})
	s := newTable(t, 2, setup{}, server.Address)
	rampTo1(t, s, 1)
	rampTo1(t, s, 2)
	for _, command := range []control.Command{
		{Op: "echo", RatePerSecond: 200, PayloadBytes: 9, Seconds: 0.1},
		{Op: "echo", RatePerSecond: 200, PayloadBytes: 9, Seconds: 0.1},
	} {
		before := s.Open()
		report := run(t, s, command)
		r := report.Result
		want := int64(0)
		if before == 2 {
			want = 10
		}
		if r.Offered != 20 || answered(r) != 20-want || r.Unanswered != want || total(report.Latency) != 20 {
			t.Errorf("%d were open: %d offered, %d answered, %d unanswered, %d latencies", before, r.Offered, answered(r), r.Unanswered, total(report.Latency))
		}
	}
}

// Time that was waited while the load lasted is not busy; the common start and the
// wait for the last answers are no part of the load.
func TestBusy(t *testing.T) {
	for name, c := range map[string]struct {
		waits        [][4]int64 // from, to, began and ended at that time
		began, ended int64
		want         float64
	}{
		"never waited":            {nil, 100, 200, 1},
		"always waited":           {[][4]int64{{100, 200, 100, 200}}, 100, 200, 0},
		"before and after":        {[][4]int64{{0, 110, 100, 200}, {130, 140, 100, 200}, {190, 900, 100, 200}}, 100, 200, 0.7},
		"only before and after":   {[][4]int64{{0, 100, 100, 200}, {200, 900, 100, 200}}, 100, 200, 1},
		"the end moves":           {[][4]int64{{0, 100, 0, 0}, {110, 130, 100, 105}, {150, 160, 100, 150}, {200, 900, 100, 200}}, 100, 200, 0.7},
		"it moves a last time":    {[][4]int64{{100, 150, 100, 100}}, 100, 200, 0.5},
		"nothing happened":        {[][4]int64{{0, 100, 0, 0}}, 0, 0, 0},
		"stopped before its time": {[][4]int64{{100, 150, 100, 1000}}, 100, 200, 0.5},
	} {
		var w waits
		for _, x := range c.waits {
			w.add(x[0], x[1], x[2], x[3])
		}
		if got := w.busy(c.began, c.ended); got != c.want {
			t.Errorf("%s: busy is %g, want %g", name, got, c.want)
		}
	}
}

// The order of answers is that of the messages; the first one that is passed over is
// found whatever comes in pieces.
func TestSwallowedAmongPieces(t *testing.T) {
	server := peer.Start(t, hostIPv4, func(_ int, c *peer.Conn) {
		if c.Upgrade() != nil {
			return
		}
		for k, frame := range c.Frames() {
			if k%5 == 2 {
				continue
			}
			for piece := range slices.Chunk(peer.Encode(ws.OpBinary, frame.Payload), 3) {
				c.Send(piece)
			}
		}
	})
	s := newTable(t, 2, setup{}, server.Address)
	rampTo(t, s, 2)
	expect(t, run(t, s, control.Command{Op: "echo", RatePerSecond: 200, PayloadBytes: 21, Seconds: 0.1, TimeoutSeconds: medium}), control.Result{
		Open: 2, Offered: 20, Sent: 20, Delivered: 16, Unanswered: 4,
		Failures: []control.Failure{{Phase: "echo", Error: "timeout", Count: 4}},
	})
}
