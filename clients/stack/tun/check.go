package tun

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"go4.org/netipx"
	"golang.org/x/sys/unix"
)

// Check says whether connections from the prefixes to the targets are possible at
// all: whether the prefixes are free, so that a route to a device of ours decides
// about all of their addresses, and whether there is a route to the targets. It
// sends and changes nothing.
func Check(prefixes []netip.Prefix, targets []netip.AddrPort) error {
	if err := CheckOwn(prefixes); err != nil {
		return err
	}
	for _, target := range targets {
		if target.Addr().IsLoopback() {
			return fmt.Errorf("target %s is a loopback address, which the kernel lets no device talk to; have the server listen on another one", target)
		}
		if _, err := netlink.RouteGet(target.Addr().AsSlice()); err != nil {
			return fmt.Errorf("target %s cannot be reached: %w", target, err)
		}
	}
	return nil
}

// CheckOwn says whether the prefixes, all of one family, are free: see [Check].
func CheckOwn(prefixes []netip.Prefix) error {
	family := netlink.FAMILY_V4
	if prefixes[0].Addr().Is6() {
		family = netlink.FAMILY_V6
	}
	// Of all tables: the main one is looked at after that of local addresses.
	routes, err := netlink.RouteListFiltered(family, &netlink.Route{}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return fmt.Errorf("the routes of this host: %w", err)
	}
	for _, prefix := range prefixes {
		if err := checkFree(prefix, routes); err != nil {
			return err
		}
	}
	return nil
}

// checkFree says whether a route of the host would take packets to an address of
// the prefix away from ours: as specific as ours or more so, or, of any size, one
// that makes addresses local.
func checkFree(prefix netip.Prefix, routes []netlink.Route) error {
	for _, r := range routes {
		if r.Dst == nil {
			continue // the default route
		}
		route, ok := netipx.FromStdIPNet(r.Dst)
		if !ok || !route.Overlaps(prefix) {
			continue
		}
		switch {
		case r.Type == unix.RTN_LOCAL || r.Type == unix.RTN_BROADCAST:
			return fmt.Errorf("source prefix %s overlaps %s, which is local to this host%s; TCP of our own needs a prefix that is nobody else's", prefix, route, via(r))
		case route.Bits() >= prefix.Bits() && r.Type != unix.RTN_MULTICAST:
			return fmt.Errorf("source prefix %s overlaps the route to %s%s; TCP of our own needs a prefix that is nobody else's", prefix, route, via(r))
		}
	}
	return nil
}

// via names the interface of a route.
func via(r netlink.Route) string {
	link, err := netlink.LinkByIndex(r.LinkIndex)
	if err != nil {
		return ""
	}
	return " (" + link.Attrs().Name + ")"
}
