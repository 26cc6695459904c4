package load

import (
	"encoding/json"
	"testing"

	"golang.org/x/sys/unix"

	"connbench/clients/addresses"
	"connbench/clients/control"
	"connbench/clients/internal/connections"
	"connbench/clients/internal/engine"
)

func (d *door) Pause(int) {}

// doors returns a table with open connections, which can be lost and left unread, and an engine
// that refuses all others.
func doors(t *testing.T, open int) (*connections.Table, *peers) {
	t.Helper()
	table, p := newTable(t, &door{places: open}, open)
	for i := range open {
		if f := table.Connect(i, 0); f.Err != nil {
			t.Fatal(f)
		}
	}
	table.Deliver()
	table.Tally.Take()
	return table, p
}

// Slow peers that are lost are counted by their manner.
func TestSlowPeersThatAreLost(t *testing.T) {
	table, p := doors(t, 3)
	for i, manner := range []connections.Manner{connections.Unreading, connections.Dribbling, connections.Dribbling} {
		if err := table.Slow(i, manner); err != nil {
			t.Fatal(err)
		}
		p.handler.Failed(i, engine.Failure{Err: unix.ECONNRESET})
	}
	r := table.Tally.Take()
	if r.Counts[control.CountUnreadLost] != 1 || r.Counts[control.CountDribblingLost] != 2 || r.Lost != 0 || len(r.Failures) > 0 {
		t.Errorf("%+v", r.Result)
	}
}

// A worker with one connection has it publish, whatever share reads nothing.
func TestBroadcastOfOneConnection(t *testing.T) {
	for open, unread := range map[int]int64{1: 0, 2: 1} {
		table, p := doors(t, open)
		options, err := json.Marshal(control.BroadcastOptions{Run: 1, UnreadShare: 0.25})
		if err != nil {
			t.Fatal(err)
		}
		l := begin(t, table, Job{Command: control.Command{
			Op: "broadcast", PayloadBytes: 16, RatePerSecond: 1, Seconds: 2, TimeoutSeconds: 20, Options: options,
		}, Start: future, First: true})
		l.Step(future+lead+second, false)
		l.End(future+lead+2*second, false)
		if r := table.Tally.Take(); len(p.sent[0]) == 0 || r.Counts[control.CountUnread] != unread {
			t.Errorf("of %d connections, %d messages were sent, and %v", open, len(p.sent[0]), r.Counts)
		}
	}
}

// Where one connection publishes and the others hear, nobody takes its place when it is lost.
func TestBroadcastWithoutPublisher(t *testing.T) {
	table, p := doors(t, 3)
	p.apart = true
	l := begin(t, table, Job{Command: control.Command{
		Op: "broadcast", PayloadBytes: 16, RatePerSecond: 1, Seconds: 3, TimeoutSeconds: 20, Options: control.OptionsOf(control.BroadcastOptions{Run: 1}),
	}, Start: future, First: true})
	l.Step(future+lead, false)
	p.handler.Failed(0, engine.Failure{Err: unix.ECONNRESET})
	l.Step(future+lead+2*second, false)
	l.End(future+lead+3*second, false)
	r := table.Tally.Take()
	if len(p.sent) != 1 || len(p.sent[0]) != 1 || r.Sent != 1 || r.Offered != 2*3 || r.Unanswered != 2*3 || r.Lost != 1 || r.Counts[control.CountMute] != 1 {
		t.Errorf("%d connections sent, %+v", len(p.sent), r.Result)
	}
}

// Connections that are refused while the server is restarted keep their four-tuples.
func TestRestartKeepsTuples(t *testing.T) {
	const open = 3
	table, p := doors(t, open)
	var before []addresses.Tuple
	for i := range open {
		before = append(before, table.Tuple(i))
	}
	l := begin(t, table, Job{Command: control.Command{Op: "restart", Seconds: 20, TimeoutSeconds: 20}, Start: future, Now: future})
	for i := range open {
		p.handler.Failed(i, engine.Failure{Err: unix.ECONNRESET})
	}
	for try := range int64(5) {
		now := future + try*downPause
		if next, done := l.Step(now, false); done || next < now {
			t.Fatalf("next at %d ms, done %t", (next-now)/1e6, done)
		}
	}
	for i := range open {
		if got := table.Tuple(i); got != before[i] {
			t.Errorf("connection %d has moved from %v to %v", i, before[i], got)
		}
	}
	var tries int64
	for _, f := range table.Tally.Take().Failures {
		if f.Phase == control.PhaseConnect {
			tries += int64(f.Count)
		}
	}
	if tries != 5*open {
		t.Errorf("%d tries, want five of each", tries)
	}
}
