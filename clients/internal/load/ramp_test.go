package load

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"connbench/clients/control"
	"connbench/clients/internal/engine"
)

// door is an engine that lets some connects pass, and on which the others are refused.
type door struct {
	wire
	places int
}

func (d *door) Open(i int, from, to netip.AddrPort) engine.Failure {
	if d.places == 0 {
		return engine.Failure{Phase: control.PhaseConnect, Err: unix.ECONNREFUSED}
	}
	d.places--
	return d.wire.Open(i, from, to)
}

func (d *door) Close(int) {}

func (p *peers) Forget(int) {}

// A server that holds as many connections as it may refuses the next ones, and may still be
// answering those before: a ramp that ends for the refusals waits for them, and one that is
// told to stop does so for a second.
func TestRampEndsAfterThoseUnderWay(t *testing.T) {
	const places, timeout = 5, 20
	for name, test := range map[string]struct {
		stopped bool  // the ramp is told to stop
		answers int64 // when the server answers, in nanoseconds after the ramp's end
		by      string
		open    int
	}{
		"refused":                {false, (timeout - 1) * second, control.StoppedByServer, places},
		"stopped":                {true, second - 1, control.StoppedByStop, places},
		"stopped, answered late": {true, second, control.StoppedByStop, 0},
	} {
		e := &door{places: places}
		table, _ := newTable(t, e, 200)
		ramp := begin(t, table, Job{Command: control.Command{Op: "ramp", Connections: 200, TimeoutSeconds: timeout}, Now: future, Workers: 1, All: 200})
		now := future
		for range 100 { // turns, each of which begins some connects
			if _, done := ramp.Step(now, false); done {
				t.Fatalf("%s: done while connections are under way", name)
			}
		}
		next, done := ramp.Step(now, test.stopped)
		if done || next <= now {
			t.Fatalf("%s: done %v, next in %d ns", name, done, next-now)
		}
		now += test.answers
		if _, done = ramp.Step(now, test.stopped); done != (test.open == 0) {
			t.Errorf("%s: done %v before the answers", name, done)
		}
		if !done {
			table.Deliver()
			if _, done = ramp.Step(now, test.stopped); !done {
				t.Errorf("%s: not done when all are answered", name)
			}
		}
		if r := table.Tally.Take(); table.Open() != test.open || r.StoppedBy != test.by {
			t.Errorf("%s: %d are open, stopped by %q", name, table.Open(), r.StoppedBy)
		}
	}
}
