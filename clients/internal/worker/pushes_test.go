package worker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"connbench/clients/control"
	"connbench/clients/internal/peer"
)

// greeting comes with the answer to the handshake.
const greeting = "welcome"

// chatter is a server that greets, and sends three messages of its own accord before it
// answers one: text, a fragmented one and one that comes byte by byte. answer makes the
// answer.
func chatter(answer func(f peer.Frame) []byte) func(int, *peer.Conn) {
	return func(_ int, c *peer.Conn) {
		upgrade, err := c.Request()
		if err != nil {
			return
		}
		c.Send(append([]byte(upgrade), peer.Encode(ws.OpText, []byte(greeting))...))
		for _, f := range c.Frames() {
			switch f.Opcode {
			case ws.OpText, ws.OpBinary:
				c.Send(peer.Encode(ws.OpText, []byte("0123456789")))
				first := peer.Encode(ws.OpBinary, []byte("01234"))
				first[0] &^= 0x80 // not the last of its message
				c.Send(append(first, peer.Encode(ws.OpContinuation, []byte("56789"))...))
				for _, b := range peer.Encode(ws.OpBinary, bytes.Repeat([]byte{'x'}, 10)) {
					c.Send([]byte{b})
				}
				c.Send(answer(f))
			case ws.OpPing:
				c.Send(peer.Encode(ws.OpText, []byte("0123456789")))
				c.Send(peer.Encode(ws.OpPong, f.Payload))
			case ws.OpClose:
				c.Send(peer.Encode(ws.OpClose, f.Payload))
			}
		}
	}
}

// pushed are the counts of so many messages and bytes.
func pushed(messages, bytes int64) map[string]int64 {
	return map[string]int64{control.CountPushed: messages, control.CountPushedBytes: bytes}
}

// optionsOf are options as a command has them.
func optionsOf(t *testing.T, value any) json.RawMessage {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// What a server sends of its own accord is counted, to the byte, and never corrupt.
func TestPushes(t *testing.T) {
	const n = 20
	server := peer.Start(t, hostIPv4, chatter(func(f peer.Frame) []byte { return peer.Encode(f.Opcode, f.Payload) }))
	s := newTable(t, n, setup{pushes: true}, server.Address)
	expect(t, run(t, s, control.Command{Op: "ramp", Connections: n, Window: 5}),
		control.Result{Open: n, Opened: n, Counts: pushed(n, n*int64(len(greeting)))})
	expect(t, run(t, s, control.Command{Op: "census", PayloadBytes: 16}),
		control.Result{Open: n, Offered: n, Sent: n, Delivered: n, Counts: pushed(3*n, 30*n)})
	expect(t, run(t, s, control.Command{Op: "census", PayloadBytes: 16, Options: optionsOf(t, control.CensusOptions{Ping: true})}),
		control.Result{Open: n, Offered: n, Sent: n, Delivered: n, Counts: pushed(n, 10*n)})
	// Answers that are shorter than what tells messages apart.
	expect(t, run(t, s, control.Command{Op: "echo", PayloadBytes: 4, RatePerSecond: 200, Seconds: 0.2}),
		control.Result{Open: n, Offered: 40, Sent: 40, Delivered: 40, Counts: pushed(3*40, 30*40)})
	if held(s) > 0 {
		t.Errorf("%d entries are held of connections at rest", held(s))
	}
}

// A question in the server's own language is answered by the message that it expects, and by
// no other.
func TestSay(t *testing.T) {
	const n = 12
	server := peer.Start(t, hostIPv4, chatter(func(f peer.Frame) []byte {
		if f.Opcode != ws.OpText {
			t.Errorf("a question came as %d, not as text", f.Opcode)
		}
		return peer.Encode(ws.OpText, []byte("you said "+string(f.Payload)+strings.Repeat(".", 300)))
	}))
	s := newTable(t, n, setup{pushes: true}, server.Address)
	run(t, s, control.Command{Op: "ramp", Connections: n, Window: 5})
	say := control.Say{Text: `{"n":{n},"again":{n}}`, Expect: `^you said \{"n":(\d+),"again":(\d+)\}`}
	expect(t, run(t, s, control.Command{Op: "census", Options: optionsOf(t, control.CensusOptions{Say: &say})}),
		control.Result{Open: n, Offered: n, Sent: n, Delivered: n, Counts: pushed(3*n, 30*n)})
	report := run(t, s, control.Command{Op: "say", RatePerSecond: 100, Seconds: 0.24, Options: optionsOf(t, say)})
	expect(t, report, control.Result{Open: n, Offered: 24, Sent: 24, Delivered: 24, Counts: pushed(3*24, 30*24)})
	if total(report.Latency) != 24 {
		t.Errorf("%d latencies of 24 answers", total(report.Latency))
	}
	// What matches nothing is a push, and the question has no answer.
	say.Expect = "never"
	report = run(t, s, control.Command{Op: "say", RatePerSecond: 100, Seconds: 0.1, TimeoutSeconds: short, Options: optionsOf(t, say)})
	if report.Unanswered != 10 || report.Corrupt != 0 || report.Counts[control.CountPushed] != 4*10 {
		t.Errorf("%+v", report.Result)
	}
}

// A server that sends without a pause neither takes the worker's memory nor its time.
func TestPushesWithoutEnd(t *testing.T) {
	server := peer.Start(t, hostIPv4, func(_ int, c *peer.Conn) {
		if c.Upgrade() != nil {
			return
		}
		first := peer.Encode(ws.OpBinary, make([]byte, 60_000))
		first[0] &^= 0x80
		next := slices.Clone(first)
		next[0] = 0 // a continuation, and not the last
		for frame := first; c.Send(frame) == nil; frame = next {
		}
	})
	s := newTable(t, 3, setup{pushes: true}, server.Address)
	run(t, s, control.Command{Op: "ramp", Connections: 3, Window: 3})
	report := run(t, s, control.Command{Op: "listen", Seconds: 0.3})
	if report.Open != 3 || report.Corrupt != 0 || report.Lost != 0 {
		t.Errorf("%+v", report.Result)
	}
	if held(s) > 3 {
		t.Errorf("%d entries are held of 3 connections", held(s))
	}
}

// A server that says goodbye is told by its code.
func TestCloseCodes(t *testing.T) {
	server := peer.Start(t, hostIPv4, func(_ int, c *peer.Conn) {
		if c.Upgrade() != nil {
			return
		}
		c.Next()
		c.Send(peer.Encode(ws.OpClose, ws.NewCloseFrameBody(ws.StatusGoingAway, "restart")))
		c.Next()
	})
	s := newTable(t, 5, setup{pushes: true}, server.Address)
	rampTo(t, s, 5)
	report := run(t, s, control.Command{Op: "census", PayloadBytes: 8, TimeoutSeconds: medium})
	if report.Lost != 5 || report.Counts[control.CountClose+"1001"] != 5 {
		t.Errorf("%+v", report.Result)
	}
}

// Each connection asks in its own name, wherever TCP cuts the request.
func TestOpenings(t *testing.T) {
	const n = 30
	var seen journal
	server := peer.Start(t, hostIPv4, func(_ int, c *peer.Conn) {
		request, err := http.ReadRequest(c.Reader())
		if err != nil {
			return
		}
		h := request.Header
		seen.add(fmt.Sprintf("%s %s %s %s %s", request.RequestURI, request.Host, h.Get("X-Number"), h.Get("Cookie"), h.Get("Origin")))
		c.Send([]byte(strings.Replace(peer.Answer(h.Get("Sec-WebSocket-Key")), "\r\n\r\n", "\r\nSec-WebSocket-Protocol: b\r\n\r\n", 1)))
		c.Echo()
	})
	opening := control.Opening{
		Path: "/chat?me={n}", Host: "chat.example:80", Subprotocols: []string{"a", "b"},
		Headers: []control.Header{{Name: "X-Number", Value: "n{n}"}, {Name: "Origin", Value: "http://x"}},
		Each:    []control.EachHeader{{Name: "Cookie", Values: []string{"zero", "one", "two"}}},
	}
	s := newTable(t, n, setup{opening: opening}, server.Address)
	rampTo(t, s, n)
	for i := range n {
		want := fmt.Sprintf("/chat?me=%d chat.example:80 n%d %s http://x", i, i, opening.Each[0].Values[i%3])
		if seen.count(want) != 1 {
			t.Errorf("%q came %d times", want, seen.count(want))
		}
	}
	// A subprotocol that nobody asked for is no answer.
	s = newTable(t, 3, setup{first: 40001, last: 50000, opening: control.Opening{Subprotocols: []string{"c"}}}, server.Address)
	report := run(t, s, control.Command{Op: "ramp", Connections: 3, Window: 3, Options: optionsOf(t, control.RampOptions{Patience: 4})})
	if report.Open != 0 || len(report.Failures) != 1 || report.Failures[0].Error != control.BadAccept || report.Failures[0].Count > 10 {
		t.Errorf("%+v", report.Result)
	}
}
