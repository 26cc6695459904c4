package worker

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"

	"connbench/clients/control"
	"connbench/clients/internal/peer"
)

// mixOf is a mix of sizes on some of the connections.
func mixOf(active int, sizes string) control.Command {
	return control.Command{
		Op: "mix", Connections: active, RatePerSecond: 600, Seconds: 0.1,
		Options: json.RawMessage(fmt.Sprintf(`{"payload_bytes": [%s]}`, sizes)),
	}
}

// A part of the connections sends messages of each size equally often, down to one that is too
// short to name itself, and the others none.
func TestMix(t *testing.T) {
	var lock sync.Mutex
	sizes, senders := map[int]int{}, map[int]bool{}
	server := peer.Start(t, hostIPv4, func(n int, c *peer.Conn) {
		if c.Upgrade() != nil {
			return
		}
		for _, f := range c.Frames() {
			lock.Lock()
			sizes[len(f.Payload)]++
			senders[n] = true
			lock.Unlock()
			if c.Send(peer.Encode(f.Opcode, f.Payload)) != nil {
				return
			}
		}
	})
	s := newTable(t, 10, setup{}, server.Address)
	rampTo(t, s, 10)
	expect(t, run(t, s, mixOf(4, "1, 64, 70000")), control.Result{Open: 10, Offered: 60, Sent: 60, Delivered: 60})
	lock.Lock()
	if want := map[int]int{1: 20, 64: 20, 70000: 20}; !maps.Equal(sizes, want) || len(senders) != 4 {
		t.Errorf("%d connections sent sizes %v, want 4 and %v", len(senders), sizes, want)
	}
	lock.Unlock()
	expect(t, run(t, s, control.Command{Op: "census", PayloadBytes: 9}), control.Result{Open: 10, Offered: 10, Sent: 10, Delivered: 10})
}

// The other protocols frame each size anew.
func TestMixOfOtherProtocols(t *testing.T) {
	for name, address := range map[string]string{
		control.ProtocolTCP:  peer.Start(t, hostIPv4, echoBytes).Address,
		control.ProtocolHTTP: serveHTTP(t, echoBodies),
	} {
		s := newTable(t, 10, setup{protocol: name}, address)
		rampTo(t, s, 10)
		expect(t, run(t, s, mixOf(10, "1, 64, 70000")), control.Result{Open: 10, Offered: 60, Sent: 60, Delivered: 60})
	}
}

// An answer is wrong whose size is that of another message, even if it begins rightly.
func TestMixOfWrongSizes(t *testing.T) {
	for name, change := range map[string]func(p []byte) []byte{
		"cut":    func(p []byte) []byte { return p[:min(len(p), 16)] },
		"padded": func(p []byte) []byte { return append(p, make([]byte, 64-min(len(p), 64))...) },
	} {
		t.Run(name, func(t *testing.T) {
			server := peer.Start(t, hostIPv4, func(_ int, c *peer.Conn) {
				if c.Upgrade() != nil {
					return
				}
				for _, f := range c.Frames() {
					if c.Send(peer.Encode(ws.OpBinary, change(f.Payload))) != nil {
						return
					}
				}
			})
			s := newTable(t, 10, setup{}, server.Address)
			rampTo(t, s, 10)
			expect(t, run(t, s, mixOf(10, "16, 64")), control.Result{
				Open: 10, Offered: 60, Sent: 60, Delivered: 30, Corrupt: 30,
				Failures: []control.Failure{{Phase: "echo", Error: "mismatch", Count: 30}},
			})
		})
	}
}

// Sizes that no message may have are refused, as is a mix of none.
func TestMixOfBadSizes(t *testing.T) {
	s := newTable(t, 1, setup{protocol: control.ProtocolHTTP}, serveHTTP(t, func(http.ResponseWriter, *http.Request) {}))
	rampTo(t, s, 1)
	for _, sizes := range []string{"", "-1", "16777217"} {
		if _, err := Run(s, jobOf(s, mixOf(1, sizes)), func() bool { return false }, func(int, int64) {}); err == nil || !strings.Contains(err.Error(), "payload_bytes must") {
			t.Errorf("sizes [%s]: %v", sizes, err)
		}
	}
}
