package agent

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
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
		value, err := os.ReadFile(filepath.Join("/proc/sys/net", family, "conf", card, "forwarding"))
		if err != nil {
			return nil, err
		}
		if strings.TrimSpace(string(value)) == "0" {
			missing = append(missing, fmt.Sprintf("packets are not forwarded to the TUN device: sysctl -w net.%s.conf.%s.forwarding=1", family, card))
		}
	}
	slices.Sort(missing)
	return slices.Compact(missing), nil
}

// cardTo is the name of the interface that leads to an address.
func cardTo(target netip.Addr) (string, error) {
	routes, err := netlink.RouteGet(net.IP(target.AsSlice()))
	if err != nil {
		return "", fmt.Errorf("no route to %s: %w", target, err)
	}
	link, err := netlink.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		return "", fmt.Errorf("route to %s: %w", target, err)
	}
	return link.Attrs().Name, nil
}
