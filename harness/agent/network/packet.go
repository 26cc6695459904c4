package network

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// tunDevice is what TUN devices are made with (Documentation/networking/tuntap.rst).
const tunDevice = "/dev/net/tun"

// Packet says what the host lacks for the packet engine to talk to targets, addresses
// of another host; with none, whether it can make its devices.
func Packet(targets []string) (missing []string, err error) {
	missing, err = unforwarded(targets)
	if err := checkTUN(tunDevice); err != nil {
		missing = append(missing, err.Error())
	}
	return missing, err
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
