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

// Resolve reads the addresses to listen on, and chooses ports where that is left open.
func Resolve(listen []string) (addresses []netip.AddrPort, err error) {
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
		if number != 0 && slices.Contains(addresses, at) {
			return nil, fmt.Errorf("listen on %s: address already in use", at)
		}
		for at.Port() == 0 || number == 0 && slices.Contains(addresses, at) {
			const first = 1024
			at = netip.AddrPortFrom(at.Addr(), uint16(first+rand.UintN(1<<16-first)))
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
