package worker

import (
	"testing"

	"connbench/clients/control"
	"connbench/clients/internal/connections"
	"connbench/clients/internal/peer"
)

// hoarder echoes messages, and keeps for a peer that does not read whatever it sends.
func hoarder(_ int, c *peer.Conn) {
	if c.Upgrade() != nil {
		return
	}
	unsent := make(chan []byte, 1<<16)
	defer close(unsent)
	go func() {
		for b := range unsent {
			c.Send(b)
		}
	}()
	for _, f := range c.Frames() {
		unsent <- peer.Encode(f.Opcode, f.Payload)
	}
}

// slowly runs the load "slow" on 40 connections. Four of them read nothing and send up to flood
// bytes each, four send one byte at a time.
func slowly(t *testing.T, handle func(int, *peer.Conn), flood int64) (*connections.Table, control.Result) {
	t.Helper()
	server := peer.Start(t, hostIPv4, handle)
	s := newTable(t, 40, setup{}, server.Address)
	rampTo(t, s, 40)
	return s, run(t, s, control.Command{
		Op: "slow", PayloadBytes: 4096, RatePerSecond: 500, Seconds: 0.5, TimeoutSeconds: long,
		Options: optionsOf(t, control.SlowOptions{UnreadShare: 0.1, FloodBytes: flood, DribbleShare: 0.1, DribbleSeconds: 0.01}),
	}).Result
}

func TestSlowPeers(t *testing.T) {
	needPlain(t) // the other layers cannot leave a connection unread
	t.Parallel()
	for _, test := range []struct {
		name   string
		handle func(int, *peer.Conn)
		flood  int64
		all    bool // of it is taken
		lost   int64
	}{
		{name: "stops reading", flood: 16 << 20, handle: func(_ int, c *peer.Conn) {
			c.TCP().SetReadBuffer(64 << 10)
			c.TCP().SetWriteBuffer(64 << 10)
			peer.Echo(0, c)
		}},
		{name: "hoards", flood: 64 << 10, handle: hoarder, all: true},
		{name: "drops", flood: 16 << 20, lost: 4, handle: func(n int, c *peer.Conn) {
			if c.Upgrade() != nil {
				return
			}
			for k, f := range c.Frames() {
				if k == 10 && len(f.Payload) == 4096 { // more than any other sends
					c.Reset()
					return
				}
				c.Send(peer.Encode(f.Opcode, f.Payload))
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s, r := slowly(t, test.handle, test.flood)
			if r.Offered != 250 || r.Delivered+r.Late != 250 || r.Sent != 250 || r.Unanswered != 0 || r.Corrupt != 0 || r.Lost != 0 || len(r.Failures) > 0 {
				t.Errorf("of the others: %d offered, %d sent, %d delivered, %d unanswered, %d lost, %v", r.Offered, r.Sent, r.Delivered+r.Late, r.Unanswered, r.Lost, r.Failures)
			}
			if r.Counts[control.CountUnread] != 4 || r.Counts[control.CountDribbling] != 4 || r.Counts[control.CountUnreadLost] != test.lost || r.Open != 40-int(test.lost) {
				t.Errorf("%v, %d open", r.Counts, r.Open)
			}
			if bytes := r.Counts[control.CountUnreadBytes]; bytes <= 0 || (bytes > 2*test.flood) != test.all {
				t.Errorf("%d bytes of 4 times %d are taken", bytes, test.flood)
			}
			// They are gone with the next command, and the others are as before.
			expect(t, run(t, s, control.Command{Op: "census", PayloadBytes: 16}), control.Result{Open: 32, Offered: 32, Sent: 32, Delivered: 32})
			if held(s) > 0 {
				t.Errorf("%d entries are held of connections at rest", held(s))
			}
		})
	}
}

// A peer that dribbles sends what others send, a byte at a time.
func TestDribble(t *testing.T) {
	t.Parallel()
	var sizes []int
	done := make(chan bool)
	server := peer.Start(t, hostIPv4, func(n int, c *peer.Conn) {
		if c.Upgrade() != nil {
			return
		}
		if n == 0 {
			c.Echo()
			return
		}
		b := make([]byte, 4096)
		for {
			read, err := c.Read(b)
			if err != nil {
				close(done)
				return
			}
			sizes = append(sizes, read)
		}
	})
	s := newTable(t, 2, setup{}, server.Address)
	run(t, s, control.Command{Op: "ramp", Connections: 1, Window: 1})
	run(t, s, control.Command{Op: "ramp", Connections: 2, Window: 1})
	run(t, s, control.Command{
		Op: "slow", PayloadBytes: 64, RatePerSecond: 10, Seconds: 0.3, TimeoutSeconds: long,
		Options: optionsOf(t, control.SlowOptions{DribbleShare: 0.5, DribbleSeconds: 0.02}),
	})
	run(t, s, control.Command{Op: "hold", Seconds: 0.01})
	<-done
	total := 0
	for _, n := range sizes {
		total += n
	}
	if total < 3 || total > 16 || len(sizes) < 3 {
		t.Errorf("%d bytes came in pieces of %v", total, sizes)
	}
}

// Who reads nothing is not expected to get a broadcast, and nobody else misses any.
func TestBroadcastToSomeWhoDoNotRead(t *testing.T) {
	needPlain(t) // the other layers cannot leave a connection unread
	t.Parallel()
	hub := &peer.Hub{}
	server := peer.Start(t, hostIPv4, hub.Handle)
	s := newTable(t, broadcastTo, setup{}, server.Address)
	rampTo(t, s, broadcastTo)
	job := broadcastJob(1, true)
	job.Options = optionsOf(t, control.BroadcastOptions{Run: 1, UnreadShare: 0.2})
	report, err := Run(s, job, func() bool { return false }, func(int, int64) {})
	if err != nil {
		t.Fatal(err)
	}
	if r := report.Result; r.Offered != 8*broadcasts || r.Delivered+r.Late != 8*broadcasts || r.Unanswered != 0 || r.Counts[control.CountUnread] != 2 || r.Open != broadcastTo {
		t.Errorf("%d offered, %d received, %d unanswered, %v", r.Offered, r.Delivered+r.Late, r.Unanswered, r.Counts)
	}
}
