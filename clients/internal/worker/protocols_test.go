package worker

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"connbench/clients/control"
	"connbench/clients/internal/peer"
)

// serveHTTP serves with net/http, until the test ends.
func serveHTTP(t *testing.T, handler http.HandlerFunc) (address string) {
	t.Helper()
	listener := peer.Listen(t, hostIPv4)
	server := &http.Server{Handler: handler}
	t.Cleanup(func() { server.Close() })
	if peer.Security != nil {
		go server.Serve(tls.NewListener(listener, peer.Security))
	} else {
		go server.Serve(listener)
	}
	return listener.Addr().String()
}

// echoBodies is a handler that does everything right.
func echoBodies(w http.ResponseWriter, r *http.Request) {
	if body, err := io.ReadAll(r.Body); err == nil {
		w.Write(body)
	}
}

// echoBytes is a server without a protocol.
func echoBytes(_ int, c *peer.Conn) { io.Copy(c.Conn, c.Reader()) }

// Connections live their whole life over the other protocols as they do over WebSocket: net/http
// answers small messages with their length, and large ones in chunks.
func TestOtherProtocols(t *testing.T) {
	for name, serve := range map[string]func(t *testing.T) (address string){
		control.ProtocolTCP:  func(t *testing.T) string { return peer.Start(t, hostIPv4, echoBytes).Address },
		control.ProtocolHTTP: func(t *testing.T) string { return serveHTTP(t, echoBodies) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newTable(t, 50, setup{protocol: name}, serve(t))
			expect(t, run(t, s, control.Command{Op: "ramp", Connections: 50, Window: 10}), control.Result{Open: 50, Opened: 50})
			expect(t, run(t, s, control.Command{Op: "census", PayloadBytes: 16}), control.Result{Open: 50, Offered: 50, Sent: 50, Delivered: 50})
			expect(t, run(t, s, control.Command{Op: "echo", RatePerSecond: 1000, PayloadBytes: 32, Seconds: 0.1}), control.Result{Open: 50, Offered: 100, Sent: 100, Delivered: 100})
			expect(t, run(t, s, control.Command{Op: "census", PayloadBytes: 60_000}), control.Result{Open: 50, Offered: 50, Sent: 50, Delivered: 50})
			report := run(t, s, control.Command{Op: "saturate", InFlight: 4, PayloadBytes: 20, Seconds: 0.1})
			if report.Sent == 0 || answered(report.Result) != report.Sent || len(report.Failures) > 0 {
				t.Errorf("%d of %d answered: %v", answered(report.Result), report.Sent, report.Failures)
			}
			if name == control.ProtocolHTTP {
				expect(t, run(t, s, control.Command{Op: "census", PayloadBytes: 16, Options: json.RawMessage(`{"ping": true}`)}), control.Result{Open: 50, Offered: 50, Sent: 50, Delivered: 50})
				expect(t, run(t, s, control.Command{Op: "ping", RatePerSecond: 1000, PayloadBytes: 8, Seconds: 0.1}), control.Result{Open: 50, Offered: 100, Sent: 100, Delivered: 100})
			}
			expect(t, run(t, s, control.Command{Op: "close"}), control.Result{Closed: 50})
		})
	}
}

// A server of bytes answers the first of a message before it has the last: here each piece, and
// only then does it read on.
func TestEchoBeforeTheEnd(t *testing.T) {
	needPlain(t)
	const large, piece = 12 << 20, 64 << 10 // more than the kernels hold, and a part of it
	server := peer.Start(t, hostIPv4, func(_ int, c *peer.Conn) {
		buffer := make([]byte, piece)
		for {
			n, err := c.Conn.Read(buffer)
			if err != nil || c.Send(buffer[:n]) != nil || awaitTaken(c) != nil {
				return
			}
		}
	})
	s := newTable(t, 1, setup{protocol: control.ProtocolTCP}, server.Address)
	rampTo1(t, s, 1)
	for range 3 {
		expect(t, run(t, s, control.Command{Op: "census", PayloadBytes: large}), control.Result{Open: 1, Offered: 1, Sent: 1, Delivered: 1})
	}
}

// awaitTaken waits until the peer's kernel has all that was sent.
func awaitTaken(c *peer.Conn) error {
	raw, err := c.TCP().SyscallConn()
	if err != nil {
		return err
	}
	for waiting := 1; waiting > 0 && err == nil; runtime.Gosched() {
		failed := raw.Control(func(fd uintptr) { waiting, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
		err = errors.Join(failed, err)
	}
	return err
}

// What does not come back as it was sent is a failure, and so is what is no answer at all.
func TestOtherProtocolsThatFail(t *testing.T) {
	tenth := func(n *atomic.Int64) bool { return n.Add(1)%10 == 0 }
	echo := control.Command{Op: "echo", RatePerSecond: 1000, PayloadBytes: 32, Seconds: 0.1}
	census := control.Command{Op: "census", PayloadBytes: 32}
	mismatch := []control.Failure{{Phase: "echo", Error: "mismatch", Count: 10}}
	for name, test := range map[string]struct {
		protocol string
		serve    func(t *testing.T) (address string)
		command  control.Command
		want     control.Result
	}{
		"bytes that differ": {control.ProtocolTCP, func(t *testing.T) string {
			return peer.Start(t, hostIPv4, func(_ int, c *peer.Conn) {
				// A message and its length are 36 bytes; the greeting is 4.
				for n := int64(-4); ; n++ {
					b, err := c.Reader().ReadByte()
					if err != nil {
						return
					}
					if n%360 == 35 {
						b ^= 0x10
					}
					c.Send([]byte{b})
				}
			}).Address
		}, echo, control.Result{Open: 1, Offered: 100, Sent: 100, Delivered: 90, Corrupt: 10, Failures: mismatch}},
		"bodies that differ": {control.ProtocolHTTP, func(t *testing.T) string {
			var messages atomic.Int64
			return serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if len(body) > 0 && tenth(&messages) {
					body[31] ^= 0x10
				}
				w.Write(body)
			})
		}, echo, control.Result{Open: 1, Offered: 100, Sent: 100, Delivered: 90, Corrupt: 10, Failures: mismatch}},
		"another status": {control.ProtocolHTTP, func(t *testing.T) string {
			return serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					w.WriteHeader(http.StatusServiceUnavailable)
				}
			})
		}, census, control.Result{
			Offered: 1, Sent: 1, Lost: 1, Unanswered: 1, Counts: map[string]int64{"HTTP status 503": 1},
			Failures: []control.Failure{{Phase: control.PhaseOpen, Error: control.Rejected, Count: 1}},
		}},
		"a message without an end": {control.ProtocolTCP, func(t *testing.T) string {
			return peer.Start(t, hostIPv4, func(_ int, c *peer.Conn) {
				io.CopyN(c.Conn, c.Reader(), 4)
				c.Reader().Peek(1)
				io.CopyN(c.Conn, strings.NewReader("\xFF\xFF\xFF\xFF"), 4)
				io.Copy(io.Discard, c.Reader())
			}).Address
		}, census, control.Result{Offered: 1, Sent: 1, Lost: 1, Unanswered: 1, Failures: []control.Failure{{Phase: control.PhaseOpen, Error: control.BadFrame, Count: 1}}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTable(t, 1, setup{protocol: test.protocol}, test.serve(t))
			rampTo1(t, s, 1)
			expect(t, run(t, s, test.command), test.want)
		})
	}
}

// Requests that are refused, or that nobody accepts, open no connection.
func TestOtherProtocolsThatDoNotOpen(t *testing.T) {
	for name, test := range map[string]struct {
		protocol string
		serve    func(t *testing.T) (address string)
		want     control.Error
	}{
		"status":  {control.ProtocolHTTP, func(t *testing.T) string { return serveHTTP(t, http.NotFound) }, control.Rejected},
		"no HTTP": {control.ProtocolHTTP, func(t *testing.T) string { return peer.Start(t, hostIPv4, echoBytes).Address }, control.BadAnswer},
		"another": {control.ProtocolTCP, func(t *testing.T) string {
			return peer.Start(t, hostIPv4, func(_ int, c *peer.Conn) { c.Send([]byte("220 ready\r\n")); io.Copy(io.Discard, c) }).Address
		}, control.BadAnswer},
		"no answers": {control.ProtocolTCP, func(t *testing.T) string {
			return peer.Start(t, hostIPv4, func(_ int, c *peer.Conn) { io.Copy(io.Discard, c) }).Address
		}, control.Timeout},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTable(t, 1, setup{protocol: test.protocol}, test.serve(t))
			timeout := long
			if test.want == control.Timeout {
				timeout = short
			}
			report := run(t, s, control.Command{Op: "ramp", Connections: 1, Window: 1, RatePerSecond: 1000, TimeoutSeconds: timeout})
			if len(report.Failures) != 1 || report.Failures[0].Kind() != (control.FailureKind{Phase: "handshake", Error: test.want}) {
				t.Errorf("%v, want handshake: %s", report.Failures, test.want)
			}
		})
	}
}
