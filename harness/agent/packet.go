package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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

type packetRequest struct {
	Targets []string `json:"targets"`
}

var packets = define("packet", func(_ *server, r packetRequest) ([]string, error) {
	missing, err := unforwarded(r.Targets)
	if err := checkTUN(tunDevice); err != nil {
		missing = append(missing, err.Error())
	}
	return missing, err
})

// Packet says what the host lacks for the packet engine to talk to targets, addresses
// of another host; with none, whether it can make its devices.
func (c *Client) Packet(ctx context.Context, targets []string) (missing []string, err error) {
	return call(ctx, c, packets, packetRequest{targets})
}

// checkTUN says what is missing to make TUN devices, if anything is.
func checkTUN(device string) error {
	file, err := os.OpenFile(device, os.O_RDWR, 0)
	if err == nil {
		return file.Close()
	}
	remedy := "modprobe tun, or in a container --device " + device
	if errors.Is(err, fs.ErrPermission) {
		remedy = "run as root, or chmod 666 " + device
	}
	return fmt.Errorf("engine packet needs TUN devices: %w; %s; ENGINE=socket needs none", err, remedy)
}

// unforwarded says what is missing for packets between targets, addresses of another
// host, and a TUN device of this one. The packet engine makes the device and lets
// it forward; whether the card that leads to the targets forwards too is the
// host's own affair.
func unforwarded(targets []string) (missing []string, err error) {
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

type linkRequest struct {
	Address string `json:"address"`
}

var linking = define("link", func(_ *server, r linkRequest) (string, error) { return link(r.Address) })

// Link describes the card of the host that leads to an address: its name, driver, MTU
// and, where it has one, speed.
func (c *Client) Link(ctx context.Context, address string) (string, error) {
	return call(ctx, c, linking, linkRequest{address})
}

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
