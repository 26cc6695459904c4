package agent

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// tunDevice is what TUN devices are made with (Documentation/networking/tuntap.rst).
const tunDevice = "/dev/net/tun"

// forwards says what is missing for packets between targets, addresses of another
// host, and a TUN device of this one. The packet engine makes the device and lets
// it forward; whether the card that leads to the targets forwards too is the
// host's own affair.
func forwards(targets []string) (missing []string, err error) {
	if device, err := os.OpenFile(tunDevice, os.O_RDWR, 0); err != nil {
		missing = append(missing, fmt.Sprintf("%v, which the packet engine needs: modprobe tun, and root (sudo = true)", err))
	} else {
		device.Close()
	}
	for _, text := range targets {
		target, err := netip.ParseAddr(text)
		if err != nil {
			return nil, err
		}
		card, err := cardTo(target)
		if err != nil {
			missing = append(missing, err.Error())
			continue
		}
		family := "ipv4"
		if target.Is6() {
			family = "ipv6"
		}
		value, err := os.ReadFile(filepath.Join("/proc/sys/net", family, "conf", card.Name, "forwarding"))
		if err != nil {
			return nil, err
		}
		if strings.TrimSpace(string(value)) == "0" {
			missing = append(missing, fmt.Sprintf("packets are not forwarded to the TUN device: sysctl -w net.%s.conf.%s.forwarding=1", family, card.Name))
		}
	}
	slices.Sort(missing)
	return slices.Compact(missing), nil
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

// link describes the card that leads to an address: its name, driver, MTU and, where
// it has one, speed.
func link(address string) (string, error) {
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
