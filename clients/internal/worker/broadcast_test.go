package worker

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/gobwas/ws"

	"connbench/clients/control"
	"connbench/clients/internal/clock"
	"connbench/clients/internal/load"
	"connbench/clients/internal/peer"
)

// broadcasters are the numbers of connections and of messages of the tests below.
const (
	broadcastTo = 10
	broadcasts  = 20
)

// hear takes part in a broadcast of 20 messages as the worker that publishes, if first.
func hear(t *testing.T, hub *peer.Hub, first bool) control.Result {
	t.Helper()
	server := peer.Start(t, hostIPv4, hub.Handle)
	s := newTable(t, broadcastTo, setup{}, server.Address)
	rampTo(t, s, broadcastTo)
	report, err := Run(s, broadcastJob(1, first), func() bool { return false }, func(int, int64) {})
	if err != nil {
		t.Fatal(err)
	}
	// What comes after the end is no harm, and a census still counts all.
	expect(t, run(t, s, control.Command{Op: "census", PayloadBytes: 16, Options: optionsOf(t, control.CensusOptions{Ping: true})}),
		control.Result{Open: report.Open, Offered: int64(report.Open), Sent: int64(report.Open), Delivered: int64(report.Open)})
	if held(s) > 0 {
		t.Errorf("%d entries are held of connections at rest", held(s))
	}
	return report.Result
}

func broadcastJob(run uint32, first bool) load.Job {
	options, err := json.Marshal(control.BroadcastOptions{Run: run})
	if err != nil {
		panic(err)
	}
	return load.Job{
		Command: control.Command{Op: "broadcast", PayloadBytes: 64, RatePerSecond: 100, Seconds: broadcasts / 100.0, TimeoutSeconds: 3, Options: options},
		Start:   clock.Now(), First: first, Hosts: 1, Workers: 1,
	}
}

func TestBroadcast(t *testing.T) {
	t.Parallel()
	whole := func(_, _ int, frame []byte) []byte { return frame }
	for _, test := range []struct {
		name                          string
		spoil                         func(n, k int, frame []byte) []byte
		received, unanswered, corrupt int64
		repeated                      int64
		lost                          int
	}{
		{name: "perfect", spoil: whole, received: 200},
		{name: "one connection in ten gets nothing", received: 180, unanswered: 20, spoil: func(n, _ int, frame []byte) []byte {
			if n == 3 {
				return nil
			}
			return frame
		}},
		{name: "some messages skip some connections", received: 160, unanswered: 40, spoil: func(n, k int, frame []byte) []byte {
			if (n+k)%5 == 0 {
				return nil
			}
			return frame
		}},
		{name: "stops after 15 messages", received: 150, unanswered: 50, spoil: func(_, k int, frame []byte) []byte {
			if k >= 15 {
				return nil
			}
			return frame
		}},
		{name: "every fourth twice", received: 200, repeated: 50, spoil: func(_, k int, frame []byte) []byte {
			if k%4 == 0 {
				return append(bytes.Clone(frame), frame...)
			}
			return frame
		}},
		{name: "one wrong byte at one connection", received: 199, corrupt: 1, spoil: func(n, k int, frame []byte) []byte {
			if n == 5 && k == 7 {
				frame = bytes.Clone(frame)
				frame[len(frame)-1]++
			}
			return frame
		}},
		{name: "two fragments", received: 200, spoil: func(_, _ int, frame []byte) []byte {
			first := peer.Encode(ws.OpBinary, frame[2:7])
			first[0] &^= 0x80
			return append(first, peer.Encode(ws.OpContinuation, frame[7:])...)
		}},
		{name: "something else", received: 190, corrupt: 1, unanswered: 10, lost: 1, spoil: func(n, k int, frame []byte) []byte {
			if n == 2 && k == 10 {
				return peer.Encode(ws.OpBinary, []byte("0123456789"))
			}
			return frame
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := hear(t, &peer.Hub{Spoil: test.spoil}, true)
			if r.Offered != broadcastTo*broadcasts || r.Sent != broadcasts || r.Delivered+r.Late != test.received ||
				r.Corrupt != test.corrupt || r.Counts[control.CountRepeated] != test.repeated || r.Lost != test.lost {
				t.Errorf("%d offered, %d sent, %d received, %d corrupt, %d repeated, %d lost", r.Offered, r.Sent, r.Delivered+r.Late, r.Corrupt, r.Counts[control.CountRepeated], r.Lost)
			}
			if got := r.Unanswered; got != test.unanswered {
				t.Errorf("%d unanswered, want %d", got, test.unanswered)
			}
			var received int64
			for k, s := range r.Spread {
				if received += s.Received; s.Received > 0 && s.Nanoseconds <= 0 {
					t.Errorf("message %d reached %d after %d ns", k, s.Received, s.Nanoseconds)
				}
			}
			if len(r.Spread) != broadcasts || received != test.received {
				t.Errorf("%d messages reached %d connections", len(r.Spread), received)
			}
		})
	}
}

// A worker that does not publish waits for what others do: here, for nothing.
func TestBroadcastOfNobody(t *testing.T) {
	t.Parallel()
	if r := hear(t, &peer.Hub{}, false); r.Sent != 0 || r.Offered != broadcastTo*broadcasts || r.Unanswered != r.Offered {
		t.Errorf("%d sent, %d of %d unanswered", r.Sent, r.Unanswered, r.Offered)
	}
}

// When the connection that publishes is lost, the next one goes on.
func TestBroadcastOutlivesPublisher(t *testing.T) {
	t.Parallel()
	r := hear(t, &peer.Hub{Spoil: func(n, k int, frame []byte) []byte {
		if n == 0 && k == 9 {
			return peer.Encode(ws.OpClose, nil)
		}
		return frame
	}}, true)
	if want := int64(9*broadcasts + 9); r.Sent != broadcasts || r.Delivered+r.Late != want || r.Lost != 1 || r.Unanswered != broadcasts-9 {
		t.Errorf("%d sent, %d received of %d, %d unanswered, %d lost", r.Sent, r.Delivered+r.Late, want, r.Unanswered, r.Lost)
	}
}

// A message that comes before this worker has begun is counted as early, and one of a broadcast
// that has ended is ignored.
func TestBroadcastOutOfTime(t *testing.T) {
	t.Parallel()
	hub := &peer.Hub{}
	server := peer.Start(t, hostIPv4, hub.Handle)
	second := peer.Start(t, hostIPv4, func(n int, c *peer.Conn) { hub.Handle(n+100, c) })
	early, other := newTable(t, 3, setup{}, server.Address), newTable(t, 3, setup{}, second.Address)
	rampTo(t, early, 3)
	rampTo(t, other, 3)
	never := func() bool { return false }
	if _, err := Run(other, broadcastJob(1, true), never, func(int, int64) {}); err != nil {
		t.Fatal(err)
	}
	report := run(t, early, control.Command{Op: "hold", Seconds: 0.1})
	if n := report.Counts[control.CountEarly]; n != 3*broadcasts || report.Open != 3 || report.Corrupt != 0 {
		t.Errorf("%d early of %d, %d open, %d corrupt", n, 3*broadcasts, report.Open, report.Corrupt)
	}
	if _, err := Run(early, broadcastJob(2, false), never, func(int, int64) {}); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(other, broadcastJob(1, true), never, func(int, int64) {}); err != nil {
		t.Fatal(err)
	}
	if report = run(t, early, control.Command{Op: "hold", Seconds: 0.1}); report.Counts != nil || report.Open != 3 {
		t.Errorf("%v, %d open", report.Counts, report.Open)
	}
}
