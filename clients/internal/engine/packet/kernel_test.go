package packet

import (
	"net/netip"
	"os"
	"testing"

	"connbench/clients/internal/engine"
	"connbench/clients/internal/engine/enginetest"
	"connbench/clients/internal/engine/packet/packettest"
	"connbench/clients/internal/sources"
)

func TestMain(m *testing.M) { os.Exit(packettest.Main(m)) }

// hosts are the address to listen on and the prefix of each family.
var hosts = map[string]string{packettest.IPv4Host: packettest.IPv4Prefix, packettest.IPv6Host: packettest.IPv6Prefix}

func plan(t testing.TB, prefix, host string) *sources.Plan {
	t.Helper()
	target := netip.AddrPortFrom(netip.MustParseAddr(host), 9)
	p, err := sources.New([]string{prefix}, []string{target.String()}, 20000, 60000, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The peer is the kernel, and what arrives arrives in order.
func TestEngine(t *testing.T) {
	packettest.Need(t)
	for host, prefix := range hosts {
		t.Run(host, func(t *testing.T) {
			share := plan(t, prefix, host).Slice(0, 1)
			first := share.Prefixes()[0].Addr()
			enginetest.Run(t, enginetest.Subject{
				New: func(t *testing.T, capacity, wake int) engine.Engine {
					e, err := New(Config{Share: share, Capacity: capacity, Wake: wake})
					if err != nil {
						t.Fatal(err)
					}
					return e
				},
				Host: host,
				From: func(i int) netip.AddrPort { return netip.AddrPortFrom(first, uint16(21000+i)) },
			})
		})
	}
}
