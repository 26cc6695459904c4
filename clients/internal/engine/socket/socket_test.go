package socket

import (
	"net/netip"
	"testing"

	"connbench/clients/internal/engine"
	"connbench/clients/internal/engine/enginetest"
)

func TestEngine(t *testing.T) {
	for host, source := range map[string]string{"127.0.0.1": "127.3.0.1", "::1": "::1"} {
		t.Run(host, func(t *testing.T) {
			enginetest.Run(t, enginetest.Subject{
				New: func(t *testing.T, capacity, wake int) engine.Engine {
					e, err := New(capacity, wake)
					if err != nil {
						t.Fatal(err)
					}
					return e
				},
				Host: host,
				From: func(i int) netip.AddrPort {
					return netip.AddrPortFrom(netip.MustParseAddr(source), uint16(21000+i))
				},
			})
		})
	}
}
