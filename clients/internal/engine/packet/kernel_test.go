package packet

import (
	"net/netip"
	"os"
	"testing"

	"connbench/clients/addresses"
	"connbench/clients/internal/engine"
	"connbench/clients/internal/engine/enginetest"
	"connbench/clients/stack/stacktest"
)

func TestMain(m *testing.M) { os.Exit(stacktest.Main(m)) }

// hosts are the address to listen on and the prefix of each family.
var hosts = map[string]string{stacktest.IPv4Host: stacktest.IPv4Prefix, stacktest.IPv6Host: stacktest.IPv6Prefix}

func plan(t testing.TB, prefix, host string) *addresses.Tuples {
	t.Helper()
	target := netip.AddrPortFrom(netip.MustParseAddr(host), 9)
	p, err := addresses.NewTuples([]string{prefix}, []string{target.String()}, addresses.PortRange{First: 20000, Last: 60000}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The peer is the kernel, and what arrives arrives in order.
func TestEngine(t *testing.T) {
	stacktest.Need(t)
	for host, prefix := range hosts {
		t.Run(host, func(t *testing.T) {
			share := plan(t, prefix, host).Slice(0, 1)
			first := share.Sources().Prefixes()[0].Addr()
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
