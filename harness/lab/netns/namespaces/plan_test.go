package namespaces

import (
	"fmt"
	"net/netip"
	"testing"
)

func TestAddresses(t *testing.T) {
	for _, test := range []struct {
		network Network
		host    int
		want    string
	}{
		{Network{Clients: 1}, 0, "{server 198.18.0.1/16 198.19.255.0/24}"},
		{Network{Clients: 1}, 1, "{client1 198.18.0.2/16 198.19.1.0/24}"},
		{Network{Clients: MaxClients}, MaxClients, "{client254 198.18.0.255/16 198.19.254.0/24}"},
		{Network{Clients: 2, IPv6: true}, 0, "{server fd63:6f6e:6e62::1/64 fd63:6f6e:6e62:ff::/120}"},
		{Network{Clients: 2, IPv6: true}, 2, "{client2 fd63:6f6e:6e62::3/64 fd63:6f6e:6e62:2::/120}"},
	} {
		if got := fmt.Sprint(test.network.Hosts()[test.host]); got != test.want {
			t.Errorf("host %d of %+v is %s, want %s", test.host, test.network, got, test.want)
		}
	}
}

// No address may be two hosts', and all must be within what is set aside.
func TestAddressesAreDistinct(t *testing.T) {
	for _, six := range []bool{false, true} {
		network := Network{Clients: MaxClients, IPv6: six}
		within := netip.MustParsePrefix("198.18.0.0/15")
		if six {
			within = netip.MustParsePrefix("fd00::/8")
		}
		hosts := network.Hosts()
		if len(hosts) != MaxClients+1 {
			t.Fatalf("%d hosts", len(hosts))
		}
		seen := map[netip.Addr]bool{}
		for _, host := range hosts {
			if seen[host.Address.Addr()] || !within.Contains(host.Address.Addr()) {
				t.Errorf("%s has address %s", host.Name, host.Address)
			}
			seen[host.Address.Addr()] = true
			if host.More != host.More.Masked() || host.More.Overlaps(host.Address.Masked()) || !within.Overlaps(host.More) {
				t.Errorf("%s has the prefix %s", host.Name, host.More)
			}
			if seen[host.More.Addr()] {
				t.Errorf("%s has the prefix of another: %s", host.Name, host.More)
			}
			seen[host.More.Addr()] = true
		}
	}
}
