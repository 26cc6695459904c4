package socket

import (
	"fmt"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// Check says whether connections from the sources to the targets are possible at
// all: whether the sources are addresses of this host, and whether there is a
// route. It sends nothing: a datagram socket's bind(2) and connect(2) answer both
// questions.
func Check(sources []netip.Addr, targets []netip.AddrPort) error {
	for _, source := range sources {
		if err := checkSource(source, targets); err != nil {
			return err
		}
	}
	return nil
}

func checkSource(source netip.Addr, targets []netip.AddrPort) error {
	family := unix.AF_INET
	if source.Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot make a socket: %w", err)
	}
	defer unix.Close(fd)
	switch err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(source, 0))); err {
	case nil:
	case unix.EADDRNOTAVAIL:
		return fmt.Errorf("source %s is not an address of this host: give it to an interface, or make its prefix local (ip route add local PREFIX dev lo)", source)
	default:
		return fmt.Errorf("source %s: bind: %w", source, err)
	}
	for _, target := range targets {
		if err := unix.Connect(fd, sockaddr(target)); err != nil {
			errno, _ := err.(syscall.Errno)
			return fmt.Errorf("target %s cannot be reached from source %s: %s (%v)", target, source, unix.ErrnoName(errno), err)
		}
	}
	return nil
}

func sockaddr(at netip.AddrPort) unix.Sockaddr {
	if at.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
}
