// Package namespaces makes a small network within one machine: a network
// namespace for the server host, one for each client host, and one with a bridge
// that joins them. Nothing of it has a name or shows on the machine itself, and
// nothing but the processes in them holds the namespaces: they end together.
package namespaces

import (
	"fmt"
	"net/netip"
)

// MaxClients is the number of client hosts that the plan of addresses has room
// for.
const MaxClients = 254

// Network says what is made.
type Network struct {
	// Clients is the number of client hosts, 0 to [MaxClients].
	Clients int
	// IPv6 is the version of IP that is spoken, instead of IPv4.
	IPv6 bool
	// Routed has no client host own its sources: they are routed to it, and it
	// forwards what comes for them, to a device that a program there makes.
	Routed bool
	// Firewall puts a stateful firewall before the server host: it tracks each
	// connection, and lets in no packet that belongs to none.
	Firewall bool
	// Path is what befalls packets on their way, in each direction.
	Path Path
	// Settings are sysctls that every host gets. Those that are the kernel's, and
	// not a namespace's, are left as they are.
	Settings map[string]string
}

// Path is what the network does to packets (tc-netem(8)); the zero value, nothing.
type Path struct {
	DelayMS     float64 // milliseconds that each one takes
	LossPercent float64 // of them, lost at random
	RateMbit    float64 // most that pass, in millions of bits a second; 0: any
}

// Host is a host of the network and its addresses.
type Host struct {
	Name string
	// Address is its own, with the length of the prefix that all hosts share.
	Address netip.Prefix
	// More is a prefix that is routed to the host, each address of which is its own
	// too; a client's only unless the network is Routed.
	More netip.Prefix
}

// Hosts are the server and then the clients. Their addresses are from
// 198.18.0.0/15, which is set aside for such tests (RFC 2544, appendix C.2.2),
// or from a prefix of unique local addresses (RFC 4193).
func (n Network) Hosts() []Host {
	hosts := []Host{{Name: "server", Address: n.address(0), More: n.Sources(MaxClients + 1)}}
	for i := 1; i <= n.Clients; i++ {
		hosts = append(hosts, Host{Name: fmt.Sprintf("client%d", i), Address: n.address(i), More: n.Sources(i)})
	}
	return hosts
}

// address is host i's own: 198.18.0.i or fd63:6f6e:6e62::i, counted from 1.
func (n Network) address(i int) netip.Prefix {
	last := byte(i + 1)
	if n.IPv6 {
		return netip.PrefixFrom(ula(0, last), 64)
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, 0, last}), 16)
}

// Sources is the i-th of the hosts' prefixes, that of client i:
// 198.19.i.0/24 or fd63:6f6e:6e62:i::/120.
func (n Network) Sources(i int) netip.Prefix {
	if n.IPv6 {
		return netip.PrefixFrom(ula(byte(i), 0), 120)
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 19, byte(i), 0}), 24)
}

// Devices is the prefix whose addresses lead to the server host and are nobody's there: a
// server with a device takes some of them. It is 198.19.0.0/24 or
// fd63:6f6e:6e62:100::/120.
func (n Network) Devices() netip.Prefix {
	if n.IPv6 {
		address := ula(0, 0).As16()
		address[6] = 1
		return netip.PrefixFrom(netip.AddrFrom16(address), 120)
	}
	return n.Sources(0)
}

// ula is a unique local address by its subnet and its last byte.
func ula(subnet, last byte) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfd, 'c', 'o', 'n', 'n', 'b', 7: subnet, 15: last})
}
