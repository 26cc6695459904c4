package network

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"go4.org/netipx"
	"golang.org/x/sys/unix"
)

// Gateway returns the address of the next host on the way from this one to an address;
// "" where there is none, since the host has the address itself or a link to it.
func Gateway(text string) (string, error) {
	target, err := netip.ParseAddr(text)
	if err != nil {
		return "", err
	}
	routes, err := netlink.RouteGet(net.IP(target.AsSlice()))
	if err != nil {
		return "", fmt.Errorf("no route to %s: %w", target, err)
	}
	next, ok := netipx.FromStdIP(routes[0].Gw)
	if !ok {
		return "", nil
	}
	return next.String(), nil
}

// cardTo is the interface that leads to an address.
func cardTo(target netip.Addr) (*netlink.LinkAttrs, error) {
	routes, err := netlink.RouteGet(net.IP(target.AsSlice()))
	if err != nil {
		return nil, fmt.Errorf("no route to %s: %w", target, err)
	}
	link, err := netlink.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		return nil, fmt.Errorf("route to %s: %w", target, err)
	}
	return link.Attrs(), nil
}

// Link describes the card that leads to an address: its name, driver, MTU and, where
// it has one, speed.
func Link(address string) (string, error) {
	target, err := netip.ParseAddr(address)
	if err != nil {
		return "", err
	}
	card, err := cardTo(target)
	if err != nil {
		return "", err
	}
	text := card.Name
	if driver := driverOf(card.Name); driver != "" {
		text += ", " + driver
	}
	text += fmt.Sprintf(", MTU %d", card.MTU)
	if speed := speedOf(card); speed > 0 {
		text += fmt.Sprintf(", %d Mbit/s", speed)
	}
	return text, nil
}

// driverOf asks a card for its driver, "" where it has none.
func driverOf(card string) string {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(socket)
	info, err := unix.IoctlGetEthtoolDrvinfo(socket, card)
	if err != nil {
		return ""
	}
	return unix.ByteSliceToString(info.Driver[:])
}

// speedOf is a card's speed in Mbit/s, 0 where it tells none: it is down, or
// virtual (sysfs-class-net). In a network namespace of its own, /sys may be that of
// another: the card there must be the same.
func speedOf(card *netlink.LinkAttrs) int {
	read := func(name string) string {
		text, _ := os.ReadFile(filepath.Join("/sys/class/net", card.Name, name))
		return strings.TrimSpace(string(text))
	}
	if read("ifindex") != strconv.Itoa(card.Index) || read("address") != card.HardwareAddr.String() {
		return 0
	}
	speed, err := strconv.Atoi(read("speed"))
	if err != nil {
		return 0
	}
	return max(0, speed)
}
