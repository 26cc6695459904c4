// Package device opens the TUN device of a server that speaks TCP itself, and chooses the
// ports that a kernel would choose.
package device

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"connbench/clients/stack/tun"
)

// Open has open make a device to which the hosts of addresses are routed. They must be
// nobody else's; the error names them.
func Open[T any](addresses []netip.AddrPort, open func(hosts []netip.Prefix) (T, error)) (opened T, err error) {
	hosts := hostsOf(addresses)
	for _, host := range hosts {
		if err := tun.CheckOwn([]netip.Prefix{host}); err != nil {
			return opened, inUse(addresses, err)
		}
	}
	opened, err = open(hosts)
	if errors.Is(err, unix.EEXIST) { // another server was faster
		err = inUse(addresses, err)
	}
	return opened, err
}

// inUse is the error where an address is somebody else's, the kernel's perhaps.
func inUse(addresses []netip.AddrPort, err error) error {
	return fmt.Errorf("listen on %s: address already in use: %w", strings.Join(Texts(addresses), ", "), err)
}

// Ports are chosen as ordinary users may have them: from the first that takes no privilege.
const (
	firstPort = 1024
	ports     = 1<<16 - firstPort
)

// Resolve reads the addresses to listen on, and chooses ports where that is left open.
func Resolve(listen []string) (addresses []netip.AddrPort, err error) {
	taken := map[netip.AddrPort]bool{}
	used := map[netip.Addr]int{} // ports of a host
	for _, text := range listen {
		host, port, err := net.SplitHostPort(text)
		if err != nil {
			return nil, err
		}
		address, err := netip.ParseAddr(host)
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w", text, err)
		}
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w", text, err)
		}
		at := netip.AddrPortFrom(address.Unmap(), uint16(number))
		switch {
		case taken[at]:
			return nil, fmt.Errorf("listen on %s: address already in use", at)
		case number == 0 && used[at.Addr()] >= ports:
			return nil, fmt.Errorf("listen on %s: all %d ports from %d on are in use", at, ports, firstPort)
		}
		for at.Port() == 0 || taken[at] {
			at = netip.AddrPortFrom(at.Addr(), uint16(firstPort+rand.UintN(ports)))
		}
		taken[at] = true
		if at.Port() >= firstPort {
			used[at.Addr()]++
		}
		addresses = append(addresses, at)
	}
	return addresses, nil
}

// hostsOf are the addresses without their ports, each once.
func hostsOf(addresses []netip.AddrPort) (hosts []netip.Prefix) {
	for _, at := range addresses {
		host := netip.PrefixFrom(at.Addr(), at.Addr().BitLen())
		if !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// Texts are the addresses as the ready line has them.
func Texts(addresses []netip.AddrPort) (list []string) {
	for _, at := range addresses {
		list = append(list, at.String())
	}
	return list
}
