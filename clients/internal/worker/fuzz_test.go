package worker

import (
	"bufio"
	"bytes"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"connbench/clients/addresses"
	"connbench/clients/control"
	"connbench/clients/internal/connections"
	"connbench/clients/internal/engine"
	"connbench/clients/internal/peer"
)

// scripted is an engine without a network: what is sent is taken as far as the
// script says, and what comes is what the script says.
type scripted struct {
	table   *connections.Table
	script  []byte
	next    []func(h engine.Handler)
	open    [fuzzed]bool
	request [fuzzed][]byte // of the handshake
}

const fuzzed = 3

func (e *scripted) take() (b byte) {
	if len(e.script) > 0 {
		b, e.script = e.script[0], e.script[1:]
	}
	return b
}

func (e *scripted) Open(i int, _, _ netip.AddrPort) engine.Failure {
	if e.open[i] {
		panic("opened twice")
	}
	e.open[i], e.request[i] = true, nil
	e.next = append(e.next, func(h engine.Handler) {
		if e.open[i] {
			h.Opened(i)
		}
	})
	return engine.Failure{}
}

func (e *scripted) Send(i int, p []byte) (int, error) {
	if !e.open[i] {
		panic("sent on a connection that is not open")
	}
	opening := e.table.At(i).Phase == connections.Opening
	switch b := e.take(); {
	case b == 255:
		return 0, unix.EPIPE
	case b > 200:
		n := len(p) / 2
		if opening {
			e.request[i] = append(e.request[i], p[:n]...)
		}
		e.next = append(e.next, func(h engine.Handler) {
			if e.open[i] {
				h.Writable(i)
			}
		})
		return n, nil
	}
	if opening {
		e.request[i] = append(e.request[i], p...)
	}
	return len(p), nil
}

func (e *scripted) Overdue(int) engine.Failure { return engine.Failure{Err: control.Timeout} }
func (e *scripted) Close(i int)                { e.open[i] = false }
func (e *scripted) StateBytes() int            { return 1 }
func (e *scripted) Release()                   {}

// Wait ends the command with the script.
func (e *scripted) Wait(time.Duration) (bool, error) { return len(e.script) == 0, nil }

func (e *scripted) Deliver(h engine.Handler) {
	next := e.next
	e.next = nil
	for _, event := range next {
		event(h)
	}
	i := int(e.take()) % fuzzed
	if !e.open[i] {
		return
	}
	switch n := e.take(); {
	case e.table.At(i).Phase == connections.Connecting:
	case n == 255:
		e.open[i] = false
		h.Closed(i, engine.Failure{Err: control.Closed})
	case n == 254 && e.table.At(i).Phase == connections.Opening:
		request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(e.request[i])))
		if err != nil {
			return // not all of it has been taken
		}
		h.Data(i, []byte(peer.Answer(request.Header.Get("Sec-WebSocket-Key"))))
	default:
		n := min(int(n), len(e.script))
		data := e.script[:n]
		e.script = e.script[n:]
		if n > 0 {
			h.Data(i, data)
		}
	}
}

// FuzzSwarm: whatever comes from servers and engine, the books are in order.
func FuzzSwarm(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\xfe\x01\xfe\x02\xfe\x00\x02\x89\x00\x01\x05\x82\x03abc\xd0\x00\x01\x88"), uint8(0))
	f.Add([]byte("\xfe\xfe\xfe\xfe\xfe\xfe\x00\xfe\x01\xfe\x02\xfe"), uint8(1))
	f.Add([]byte("\x00\xfe\x00\xfe\x00\xfe\x00\x04\x82\x7e\x00\x7d\x00\xff"), uint8(2))
	commands := []control.Op{"echo", "saturate", "census", "hold", "close", "ping"}
	plan, err := addresses.NewTuples([]string{"127.1.0.1"}, []string{"127.0.0.1:1"}, addresses.PortRange{First: 1, Last: 100}, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, script []byte, which uint8) {
		e := &scripted{script: script}
		s := connections.New(configOf(e, plan.Share(0, 1), plan, fuzzed, ""))
		e.table = s
		books := func(r connections.Report) {
			count := 0
			for i := range fuzzed {
				phase := s.At(i).Phase
				if phase == connections.Open {
					count++
				}
				if (phase != connections.Free) != e.open[i] {
					t.Fatalf("connection %d: phase %d, open in the engine: %t", i, phase, e.open[i])
				}
			}
			if count != s.Open() || r.Open != count {
				t.Fatalf("%d are open; counted %d, reported %d", count, s.Open(), r.Open)
			}
			if answered(r.Result)+r.Corrupt > r.Sent && r.Lost == 0 || r.Sent > r.Offered || total(r.Latency) > answered(r.Result)+r.Unanswered+int64(r.Opened) {
				t.Fatalf("%+v", r.Result)
			}
			if sumOf(r.Failures) < int64(r.Lost) {
				t.Fatalf("%d lost, failures %v", r.Lost, r.Failures)
			}
			if n := held(s); count == 0 && n != 0 || n > 5*fuzzed {
				t.Fatalf("%d entries are left over, with %d connections", n, count)
			}
		}
		r := runUntil(t, s, control.Command{Op: "ramp", Connections: fuzzed, Window: fuzzed}, func() bool { return true })
		books(r)
		opened := r.Open
		r = runUntil(t, s, control.Command{
			Op: commands[int(which)%len(commands)], RatePerSecond: 1e9, InFlight: 5, PayloadBytes: 3, Seconds: 1e-6,
		}, func() bool { return true })
		books(r)
		if r.Open+r.Lost+r.Closed != opened {
			t.Fatalf("%d were open; %d are, %d lost, %d closed", opened, r.Open, r.Lost, r.Closed)
		}
	})
}
