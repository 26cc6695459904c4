package load

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"connbench/clients/addresses"
	"connbench/clients/control"
	"connbench/clients/internal/connections"
	"connbench/clients/internal/engine"
	"connbench/clients/internal/protocol"
)

// wire is an engine on which a connect succeeds at once.
type wire struct {
	engine.Engine
	events []func(engine.Handler)
}

func (w *wire) StateBytes() int { return 0 }
func (w *wire) Open(i int, _, _ netip.AddrPort) engine.Failure {
	w.events = append(w.events, func(h engine.Handler) { h.Opened(i) })
	return engine.Failure{}
}

func (w *wire) Deliver(h engine.Handler) {
	for _, event := range w.events {
		event(h)
	}
	w.events = nil
}

// peers is a protocol whose peers answer when the test has them do so.
type peers struct {
	protocol.Protocol
	handler protocol.Handler
	sent    map[int][][]byte // by connection, not answered
	apart   bool             // connection 0 publishes, and the others hear
}

func (p *peers) Open(i int)                 { p.handler.Opened(i) }
func (p *peers) Prepare(protocol.Kind, int) {}
func (p *peers) Unfinished(int) bool        { return false }
func (p *peers) Role(i int) (bool, bool)    { return !p.apart || i == 0, !p.apart || i > 0 }
func (p *peers) Send(i int, payload []byte, _ uint64) bool {
	p.sent[i] = append(p.sent[i], slices.Clone(payload))
	return true
}

// answer has the peer of connection i answer the k-th message that waits, and forget
// those before.
func (p *peers) answer(i, k int) {
	message := p.sent[i][k]
	p.sent[i] = p.sent[i][k+1:]
	p.handler.Received(i, protocol.Piece{Kind: protocol.Data, Payload: message, Last: true})
}

// newPeers returns a table with open connections to peers.
func newPeers(t *testing.T, open int) (*connections.Table, *peers) {
	t.Helper()
	table, p := newTable(t, &wire{}, open)
	for i := range open {
		if f := table.Connect(i, 0); f.Err != nil {
			t.Fatal(f)
		}
	}
	table.Deliver()
	table.Tally.Take()
	return table, p
}

// newTable returns a table with room for connections to peers, over an engine.
func newTable(t *testing.T, e engine.Engine, capacity int) (*connections.Table, *peers) {
	t.Helper()
	tuples, err := addresses.NewTuples([]string{"127.1.0.1"}, []string{"127.0.0.1:9"}, addresses.PortRange{First: 1, Last: 100}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &peers{sent: map[int][][]byte{}}
	table := connections.New(connections.Config{
		Engine: e,
		Protocol: protocol.Definition{New: func(c protocol.Config) protocol.Protocol {
			p.handler = c.Handler
			return p
		}},
		Share: tuples.Share(0, 1), Targets: tuples.Targets(), Capacity: capacity, Seed: 1,
	})
	return table, p
}

// begin begins a load of one worker.
func begin(t *testing.T, table *connections.Table, job Job) Load {
	t.Helper()
	definition, err := Loads.Find(string(job.Op))
	if err != nil {
		t.Fatal(err)
	}
	l, err := definition.Begin(table, job)
	if err != nil {
		t.Fatal(err)
	}
	table.Tell(l)
	return l
}

// ages are the times in a report's histogram that are a second or more, in seconds.
func ages(r connections.Report) (list []string) {
	for _, c := range r.Latency {
		if c[0] >= int64(time.Second) {
			list = append(list, fmt.Sprintf("%d × %.1f", c[1], float64(c[0])/1e9))
		}
	}
	return list
}

const (
	second = int64(time.Second)
	future = int64(1) << 60 // so that answers are in time, however late the clock
)

// Of an open loop's messages one is swallowed, one corrupt, and two are never
// answered: three enter the histogram with the age that they have at the end.
func TestAgesInAnOpenLoop(t *testing.T) {
	table, p := newPeers(t, 2)
	l := begin(t, table, Job{Command: control.Command{
		Op: "echo", Connections: 2, RatePerSecond: 1, PayloadBytes: 16, Seconds: 8, TimeoutSeconds: 20,
	}, Start: future})
	for k := range int64(8) { // message k, due at k s, goes to connection k mod 2
		if next, done := l.Step(future+k*second, false); done || next <= future+k*second {
			t.Fatalf("at %d s: next at %d s, done %t", k, (next-future)/second, done)
		}
	}
	p.answer(0, 0)       // 0
	p.answer(0, 1)       // 4; message 2 was swallowed
	p.sent[1][0][3] ^= 1 // 1 is corrupt
	p.answer(1, 0)
	p.answer(1, 0) // 3
	p.answer(1, 0) // 5; 6 and 7 have no answer
	end := future + 28*second
	if _, done := l.Step(end-1, false); done {
		t.Error("done before the timeout of what has no answer")
	}
	if _, done := l.Step(end, false); !done {
		t.Error("not done after the timeout")
	}
	l.End(end, false)
	table.EndMessages(true)
	r := table.Tally.Take()
	if r.Offered != 8 || r.Sent != 8 || r.Delivered != 4 || r.Late != 0 || r.Corrupt != 1 || r.Unanswered != 3 {
		t.Errorf("%+v", r.Result)
	}
	if got, want := ages(r), []string{"1 × 21.0", "1 × 22.0", "1 × 26.0"}; !slices.Equal(got, want) {
		t.Errorf("ages %q, want %q", got, want)
	}
	if r.Began != future || r.Ended != future+8*second {
		t.Errorf("from %d to %d", r.Began, r.Ended)
	}
}

// A load that is stopped leaves nothing unanswered: nobody can say what would have
// come.
func TestStoppedLoadsHaveNoAges(t *testing.T) {
	for _, op := range []control.Op{"echo", "saturate", "census"} {
		table, _ := newPeers(t, 2)
		l := begin(t, table, Job{Command: control.Command{
			Op: op, Connections: 2, RatePerSecond: 1, InFlight: 2, PayloadBytes: 16, Seconds: 8, TimeoutSeconds: 20,
		}, Start: future})
		l.Step(future+second, false)
		if _, done := l.Step(future+2*second, true); !done {
			t.Errorf("%s: not done", op)
		}
		l.End(future+2*second, true)
		table.EndMessages(false)
		if r := table.Tally.Take(); r.Offered == 0 || r.Unanswered != 0 || len(r.Latency) != 0 || len(r.Failures) != 0 {
			t.Errorf("%s: %+v, %v", op, r.Result, r.Latency)
		}
	}
}

// In a closed loop the age is that since a message was sent.
func TestAgesInAClosedLoop(t *testing.T) {
	table, p := newPeers(t, 2)
	l := begin(t, table, Job{Command: control.Command{
		Op: "saturate", Connections: 2, InFlight: 4, PayloadBytes: 16, Seconds: 8, TimeoutSeconds: 20,
	}, Start: future})
	l.Step(future, false)
	p.answer(0, 1) // the first was swallowed; two more are sent, at a time of the clock
	p.sent[1] = nil
	l.End(future+30*second, false)
	table.EndMessages(true)
	r := table.Tally.Take()
	if r.Delivered != 1 || r.Unanswered != r.Offered-1 {
		t.Errorf("%+v", r.Result)
	}
	if got := ages(r); len(got) == 0 || got[0] != "3 × 30.0" {
		t.Errorf("ages %q, want three of 30 s", got)
	}
}

// In a census the age is that since a connection was asked. One that is never asked
// counts, and has none.
func TestAgesInACensus(t *testing.T) {
	table, p := newPeers(t, 90)
	l := begin(t, table, Job{Command: control.Command{Op: "census", Connections: 90, PayloadBytes: 16, TimeoutSeconds: 20}, Start: future})
	l.Step(future, false) // asks 64
	for i := range 64 {
		if i%16 != 0 {
			p.answer(i, 0)
		}
	}
	l.End(future+7*second, false)
	table.EndMessages(true)
	r := table.Tally.Take()
	if r.Offered != 90 || r.Sent != 64 || r.Delivered != 60 || r.Unanswered != 30 {
		t.Errorf("%+v", r.Result)
	}
	if got, want := ages(r), []string{"4 × 7.0"}; !slices.Equal(got, want) {
		t.Errorf("ages %q, want %q", got, want)
	}
}
