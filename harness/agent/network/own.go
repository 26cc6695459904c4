package network

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"go4.org/netipx"
	"golang.org/x/sys/unix"

	"connbench/clients/addresses"
)

// Foreign returns those of a list of addresses and prefixes that are not the host's
// own; of a prefix, all addresses that connections use must be.
func Foreign(list []string) ([]string, error) {
	own, err := ownAddresses()
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, text := range list {
		set, err := addresses.Parse(text)
		if err != nil {
			return nil, err
		}
		if !holds(own, set) {
			missing = append(missing, text)
		}
	}
	return missing, nil
}

// ownAddresses returns the addresses that the kernel's routes make local, assigned to an
// interface or not (ip-route(8), type local).
func ownAddresses() (*netipx.IPSet, error) {
	var own netipx.IPSetBuilder
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := netlink.RouteListFiltered(family, &netlink.Route{}, netlink.RT_FILTER_TABLE) // of all tables
		if err != nil {
			return nil, fmt.Errorf("the routes of this host: %w", err)
		}
		for _, r := range routes {
			if r.Type != unix.RTN_LOCAL || r.Dst == nil {
				continue
			}
			if prefix, ok := netipx.FromStdIPNet(r.Dst); ok {
				own.AddPrefix(prefix)
			}
		}
	}
	return own.IPSet()
}

// holds says whether all addresses of a set are a host's own. A kernel that tells of no
// local route at all, as in a sandbox, is asked whether sockets can have them.
func holds(own *netipx.IPSet, set addresses.Set) bool {
	if len(own.Ranges()) == 0 {
		for _, a := range set.Ends() {
			socket, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
			if err != nil {
				return false
			}
			socket.Close()
		}
		return true
	}
	for _, prefix := range set.Prefixes() {
		if !own.ContainsPrefix(prefix) {
			return false
		}
	}
	return true
}
