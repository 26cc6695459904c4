package worker

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/gobwas/ws"

	"connbench/clients/control"
	"connbench/clients/internal/engine"
	"connbench/clients/internal/peer"
)

// refused is an engine that calls after when its connects have been refused some times.
type refused struct {
	engine.Engine
	times int
	after func()
}

func (r *refused) Deliver(h engine.Handler) { r.Engine.Deliver(refusals{h, r}) }

// refusals notices refused connects.
type refusals struct {
	engine.Handler
	*refused
}

func (r refusals) Closed(i int, why engine.Failure) {
	if why.Err == syscall.ECONNREFUSED {
		if r.times--; r.times == 0 {
			r.after()
		}
	}
	r.Handler.Closed(i, why)
}

// serveAgain serves on the address of a server that has been closed.
func serveAgain(t *testing.T, address string) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Error(err)
		return
	}
	server := peer.Serve(listener, peer.Echo)
	t.Cleanup(server.Close)
}

// All clients come back when the server has been started again, at once or after a pause,
// whether they notice its end during the load or before it.
func TestRestart(t *testing.T) {
	const n, times = 50, 80
	for name, test := range map[string]struct {
		command control.Command
		before  bool
	}{
		"at once":                {control.Command{}, false},
		"with a backoff":         {control.Command{Options: backoff(t, 0.02)}, false},
		"noticed before":         {control.Command{}, true},
		"few connects at a time": {control.Command{Window: 3}, false},
	} {
		t.Run(name, func(t *testing.T) {
			server := peer.Start(t, hostIPv4, peer.Echo)
			s := newTable(t, n, setup{wrap: func(e engine.Engine) engine.Engine {
				return &refused{e, times, func() { serveAgain(t, server.Address) }}
			}}, server.Address)
			rampTo(t, s, n)
			server.Close()
			for test.before && s.Open() > 0 {
				if _, err := s.Wait(-1); err != nil {
					t.Fatal(err)
				}
				s.Deliver()
			}
			test.command.Op, test.command.Seconds = "restart", long
			r := run(t, s, test.command)
			if r.Open != n || r.Opened != n || r.Lost != n || r.Closed != 0 || r.Offered != n || r.Delivered != n || r.Unanswered != 0 || total(r.Latency) != n {
				t.Errorf("%+v", r.Result)
			}
			if got := failed(r.Result, control.PhaseConnect); got < times {
				t.Errorf("%d connects failed, want %d and more: %v", got, times, r.Failures)
			}
			expect(t, run(t, s, control.Command{Op: "census", PayloadBytes: 9}), control.Result{Open: n, Offered: n, Sent: n, Delivered: n})
		})
	}
}

// failed counts the failures of a phase.
func failed(r control.Result, phase control.Phase) (n int64) {
	for _, f := range r.Failures {
		if f.Phase == phase {
			n += f.Count
		}
	}
	return n
}

// A server that is not started again ends the load when its time is over, and one that goes on
// as if nothing had happened does too.
func TestRestartThatNeverIs(t *testing.T) {
	const n = 5
	server := peer.Start(t, hostIPv4, peer.Echo)
	s := newTable(t, n, setup{}, server.Address)
	rampTo(t, s, n)
	if r := run(t, s, control.Command{Op: "restart", Seconds: short}); r.Open != n || r.Offered != 0 || total(r.Latency) != 0 {
		t.Errorf("nothing was restarted: %+v", r.Result)
	}
	server.Close()
	if r := run(t, s, control.Command{Op: "restart", Seconds: short}); r.Open != 0 || r.Offered != n || r.Delivered != 0 || r.Unanswered != n || total(r.Latency) != n {
		t.Errorf("nobody came back: %+v", r.Result)
	}
}

// returning echoes, and answers those that come back only when some messages have been echoed.
func returning(t *testing.T, n, messages int) *peer.Server {
	var connects atomic.Int64
	var echoed sync.WaitGroup
	echoed.Add(messages)
	left := atomic.Int64{}
	left.Store(int64(messages))
	return peer.Start(t, hostIPv4, func(_ int, c *peer.Conn) {
		if connects.Add(1) > int64(n) {
			echoed.Wait()
		}
		if c.Upgrade() != nil {
			return
		}
		for _, f := range c.Frames() {
			if c.Send(peer.Encode(f.Opcode, f.Payload)) != nil {
				return
			}
			if f.Opcode == ws.OpBinary && left.Add(-1) >= 0 {
				echoed.Done()
			}
		}
	})
}

// Those that stay send messages for as long as the others are on their way back.
func TestStayers(t *testing.T) {
	const n, leave, messages = 10, 4, 30
	server := returning(t, n, messages)
	s := newTable(t, n, setup{}, server.Address)
	rampTo(t, s, n)
	command := control.Command{Op: "stayers", Connections: leave, RatePerSecond: 500, PayloadBytes: 20, Seconds: long, Options: []byte(`{"drop": true}`)}
	r := run(t, s, command)
	if r.Open != n || r.Offered < messages || r.Delivered+r.Late != r.Offered || r.Corrupt+r.Unanswered != 0 || r.Lost != 0 || total(r.Latency) != r.Offered {
		t.Errorf("%+v", r.Result)
	}
	if r.Counts[control.CountDropped] != leave || r.Counts[control.CountBack] != leave {
		t.Errorf("counts %v, want %d dropped and back", r.Counts, leave)
	}
	if seconds := float64(r.Ended-r.Began) / 1e9; seconds >= long {
		t.Errorf("it took %g s, want it to end when all were back", seconds)
	}
	expect(t, run(t, s, control.Command{Op: "census", PayloadBytes: 9}), control.Result{Open: n, Offered: n, Sent: n, Delivered: n})
}

// Without a storm, the same connections send messages.
func TestStayersBefore(t *testing.T) {
	server := peer.Start(t, hostIPv4, peer.Echo)
	s := newTable(t, 10, setup{}, server.Address)
	rampTo(t, s, 10)
	expect(t, run(t, s, control.Command{Op: "stayers", Connections: 4, RatePerSecond: 500, PayloadBytes: 20, Seconds: 0.1}),
		control.Result{Open: 10, Offered: 50, Sent: 50, Delivered: 50})
	expect(t, run(t, s, control.Command{Op: "stayers", RatePerSecond: 500, PayloadBytes: 20, Seconds: 0.01}), control.Result{Open: 10})
}

// What never comes back ends the storm when its time is over, and does not count as messages.
func TestStayersAlone(t *testing.T) {
	const n, leave = 10, 4
	var connects atomic.Int64
	server := peer.Start(t, hostIPv4, func(k int, c *peer.Conn) {
		if connects.Add(1) > n {
			io.Copy(io.Discard, c)
			return
		}
		peer.Echo(k, c)
	})
	s := newTable(t, n, setup{}, server.Address)
	rampTo(t, s, n)
	r := run(t, s, control.Command{Op: "stayers", Connections: leave, RatePerSecond: 100, PayloadBytes: 20, Seconds: short, Options: []byte(`{"drop": true}`)})
	if r.Open != n-leave || r.Offered != 30 || r.Delivered+r.Late != 30 || r.Unanswered != 0 || r.Counts[control.CountDropped] != leave || r.Counts[control.CountBack] != 0 {
		t.Errorf("%+v", r.Result)
	}
}
