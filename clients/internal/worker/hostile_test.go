package worker

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"connbench/clients/control"
	"connbench/clients/internal/connections"
	"connbench/clients/internal/peer"
)

// Peers that never stop sending pings take their share of a turn and no more: another
// connection's messages come and go, and a load ends in time or when it is stopped.
func TestFloodOfPings(t *testing.T) {
	flood := bytes.Repeat(peer.Encode(ws.OpPing, []byte("flood")), 10_000)
	server := peer.Start(t, hostIPv4, func(n int, c *peer.Conn) {
		if c.Upgrade() != nil {
			return
		}
		if n == 0 {
			c.Echo()
			return
		}
		for c.Send(flood) == nil {
		}
	})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s := newTable(t, 4, setup{wake: int(r.Fd())}, server.Address)
	for n := range 4 {
		rampTo1(t, s, n+1)
	}
	expect(t, run(t, s, control.Command{Op: "echo", Connections: 1, RatePerSecond: 500, PayloadBytes: 20, Seconds: 0.2}),
		control.Result{Open: 4, Offered: 100, Sent: 100, Delivered: 100})
	expect(t, run(t, s, control.Command{Op: "hold", Seconds: 0.05}), control.Result{Open: 4})
	w.Close()
	expect(t, runUntil(t, s, control.Command{Op: "hold", Seconds: long}, func() bool { return true }), control.Result{Open: 4})
}

// Whatever a server sends that it may not, the connection ends for a reason that has
// a name.
func TestHostileServers(t *testing.T) {
	frameOf := func(length uint64) []byte { return binary.BigEndian.AppendUint64([]byte{0x82, 127}, length) }
	endless := func(p []byte) func(*peer.Conn) {
		return func(c *peer.Conn) {
			for c.Send(p) == nil {
			}
		}
	}
	once := func(p []byte) func(*peer.Conn) {
		return func(c *peer.Conn) {
			c.Send(p)
			c.Next()
		}
	}
	for _, c := range []struct {
		name     string
		do       func(*peer.Conn)
		phase    control.Phase
		err      control.Error
		corrupts bool
	}{
		{"a message that nobody asked for", once(peer.Encode(ws.OpBinary, []byte("hello"))), "echo", "mismatch", true},
		{"messages without end", endless(peer.Encode(ws.OpBinary, make([]byte, 1000))), "echo", "mismatch", true},
		{"one message without end", func(c *peer.Conn) {
			c.Send(frameOf(3 << 30))
			endless(make([]byte, 64<<10))(c)
		}, "echo", "mismatch", true},
		{"fragments without end", func(c *peer.Conn) {
			c.Send(ws.MustCompileFrame(ws.NewFrame(ws.OpBinary, false, []byte("begin"))))
			endless(ws.MustCompileFrame(ws.NewFrame(ws.OpContinuation, false, []byte("more"))))(c)
		}, "echo", "mismatch", true},
		{"a frame of 2^63 bytes", once(frameOf(1 << 63)), "open", "bad frame", false},
		{"a frame of 2^64-1 bytes", once(frameOf(1<<64 - 1)), "open", "bad frame", false},
		{"a frame of 4 GiB", once(frameOf(1 << 32)), "open", "bad frame", false},
		{"no frames", once([]byte("HTTP/1.1 200 OK\r\n\r\n")), "open", "bad frame", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			begin := make(chan bool)
			server := peer.Start(t, hostIPv4, func(_ int, conn *peer.Conn) {
				if conn.Upgrade() == nil {
					<-begin
					c.do(conn)
				}
			})
			s := newTable(t, 1, setup{sources: source(9)}, server.Address)
			rampTo(t, s, 1)
			close(begin)
			var report connections.Report
			for report.Lost == 0 {
				report = run(t, s, control.Command{Op: "hold", Seconds: 0.01})
			}
			want := control.Result{Lost: 1, Failures: []control.Failure{{Phase: c.phase, Error: c.err, Count: 1}}}
			if c.corrupts {
				want.Corrupt = 1
			}
			expect(t, report, want)
			if n := held(s); n != 0 {
				t.Errorf("%d entries are left over", n)
			}
		})
	}
}

// An answer that is longer than any message is none, and is not waited for to its end.
func TestEchoWithoutEnd(t *testing.T) {
	server := peer.Start(t, hostIPv4, func(_ int, c *peer.Conn) {
		if c.Upgrade() != nil {
			return
		}
		frame, err := c.Next()
		if err != nil {
			return
		}
		c.Send(binary.BigEndian.AppendUint64([]byte{0x82, 127}, 3<<30))
		c.Send(frame.Payload)
		for more := make([]byte, 64<<10); c.Send(more) == nil; {
		}
	})
	s := newTable(t, 1, setup{}, server.Address)
	rampTo(t, s, 1)
	expect(t, run(t, s, control.Command{Op: "census", PayloadBytes: 20}), control.Result{
		Lost: 1, Offered: 1, Sent: 1, Corrupt: 1, Unanswered: 1,
		Failures: []control.Failure{{Phase: "echo", Error: "mismatch", Count: 1}},
	})
}

// A close frame of the server is answered with its own code before the connection
// ends, however it comes.
func TestCloseFramesAreAnswered(t *testing.T) {
	for _, code := range []int{1000, 1001, 1011, 4999, 0} {
		var seen journal
		begin := make(chan bool)
		server := peer.Start(t, hostIPv4, func(n int, c *peer.Conn) {
			if c.Upgrade() != nil {
				return
			}
			<-begin
			payload := binary.BigEndian.AppendUint16(nil, uint16(code))
			if code == 0 {
				payload = nil
			} else if n == 1 {
				payload = append(payload, "going away"...)
			}
			for _, b := range peer.Encode(ws.OpClose, payload) {
				c.Send([]byte{b})
			}
			frame, err := c.Next()
			seen.add(fmt.Sprint(frame.Opcode == ws.OpClose, " ", peer.CloseCode(frame.Payload), " ", len(frame.Payload), " ", err))
		})
		s := newTable(t, 2, setup{}, server.Address)
		rampTo(t, s, 2)
		close(begin)
		for lost := 0; lost < 2; {
			lost += run(t, s, control.Command{Op: "hold", Seconds: 0.01}).Lost
		}
		want := fmt.Sprint(true, " ", code, " ", min(2, code), " ", error(nil))
		eventually(t, "close frames answered: "+want, func() bool { return seen.count(want) == 2 })
	}
}

// A server that speaks before it is asked is no WebSocket server, whatever it says.
func TestAnswersThatAreNotHTTP(t *testing.T) {
	for _, text := range []string{
		"220 mail.example ESMTP", // no end of line, and none comes
		"SSH-2.0-OpenSSH_9.2\r\n",
		"\x15\x03\x01\x00\x02\x02\x46", // a TLS alert
		"HTTP/1.0 101 Switching Protocols\r\n",
		"HTTP/1.1 101 " + strings.Repeat("x", 9000),
		strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 400),
	} {
		server := peer.Start(t, hostIPv4, func(_ int, c *peer.Conn) {
			c.Request()
			c.Send([]byte(text))
			c.Next()
		})
		s := newTable(t, 3, setup{}, server.Address)
		report := run(t, s, control.Command{Op: "ramp", Connections: 3, Window: 3, TimeoutSeconds: medium})
		if len(report.Failures) != 1 || report.Failures[0].Kind() != (control.FailureKind{Phase: "handshake", Error: "bad answer"}) || report.StoppedBy != control.StoppedByServer {
			t.Errorf("%.30q: stopped by %q, failures %v", text, report.StoppedBy, report.Failures)
		}
	}
}
