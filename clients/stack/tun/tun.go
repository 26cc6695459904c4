// Package tun is a TUN device of our own, to which prefixes of addresses are routed.
package tun

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"go4.org/netipx"
	"golang.org/x/sys/unix"
)

// Device is a TUN device (Documentation/networking/tuntap.rst). It is gone, with its
// routes, when its descriptor is closed, however the process ends.
type Device struct {
	fd      uintptr
	polls   [2]unix.PollFd
	timeout unix.Timespec
}

const (
	tunPath = "/dev/net/tun"
	// tunName is completed by the kernel, so that no name is taken.
	tunName = "connbench%d"
	// tunQueue is how many packets may wait to be read: what servers answer to a
	// window of connects or closes, many times over.
	tunQueue = 1 << 14
	// offloads are TUN_F_CSUM, _TSO4 and _TSO6 (include/uapi/linux/if_tun.h): no
	// checksums are computed, and large segments come whole.
	offloads = 0x01 | 0x02 | 0x04
	// without says what to do where there can be no TUN.
	without = "kernel sockets work without"
)

// Open makes a device for packets of at most mtu bytes, and routes prefixes to it. Wait also returns when the descriptor wake becomes readable.
func Open(prefixes []netip.Prefix, wake, mtu int) (*Device, error) {
	fd, err := open(prefixes, mtu, true)
	if err != nil {
		return nil, err
	}
	t := &Device{fd: uintptr(fd)}
	t.polls = [2]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(wake), Events: unix.POLLIN}}
	return t, nil
}

// OpenPlain makes a device as [Open] does, without link headers and offloads: for code that
// knows neither. The device is gone when the descriptor is closed.
func OpenPlain(prefixes []netip.Prefix, mtu int) (fd int, err error) {
	return open(prefixes, mtu, false)
}

// open makes a device and returns its descriptor.
func open(prefixes []netip.Prefix, mtu int, offload bool) (fd int, err error) {
	fd, err = unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV):
		return -1, fmt.Errorf("%s is missing, and TCP of our own needs it: load the kernel's module (modprobe tun), or hand the device to the container; %s", tunPath, without)
	case errors.Is(err, fs.ErrPermission):
		return -1, fmt.Errorf("%s may not be opened (%w): run as root, or let this user have it; %s", tunPath, err, without)
	case err != nil:
		return -1, fmt.Errorf("%s: %w", tunPath, err)
	}
	if err := setUp(fd, prefixes, mtu, offload); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func setUp(fd int, prefixes []netip.Prefix, mtu int, offload bool) error {
	request, err := unix.NewIfreq(tunName)
	if err != nil {
		return err
	}
	flags := uint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if offload {
		flags |= unix.IFF_VNET_HDR
	}
	request.SetUint16(flags)
	switch err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err {
	case nil:
	case unix.EPERM:
		return fmt.Errorf("CAP_NET_ADMIN is missing, and TCP of our own needs it to make a TUN device: run as root, or in a network namespace of your own (unshare --user --map-root-user --net, or LAB=netns); %s", without)
	default:
		return fmt.Errorf("%s: TUNSETIFF: %w", tunPath, err)
	}
	name := request.Name()
	if offload {
		if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, offloads); err != nil {
			return fmt.Errorf("%s: TUNSETOFFLOAD: %w", name, err)
		}
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, family := range families(prefixes) {
		if err := ownSettings(name, family); err != nil {
			return err
		}
	}
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"MTU", func() error { return netlink.LinkSetMTU(link, mtu) }},
		{"queue", func() error { return netlink.LinkSetTxQLen(link, tunQueue) }},
		{"up", func() error { return netlink.LinkSetUp(link) }},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: setting its %s: %w", name, step.what, err)
		}
	}
	for _, prefix := range prefixes {
		route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: netipx.PrefixIPNet(prefix), Scope: netlink.SCOPE_LINK}
		if err := netlink.RouteAdd(route); err != nil {
			return fmt.Errorf("route of %s to %s: %w", prefix, name, err)
		}
	}
	return nil
}

// families are those of the prefixes, as files name them.
func families(prefixes []netip.Prefix) (list []string) {
	for _, family := range []string{"ipv4", "ipv6"} {
		if slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Addr().Is6() == (family == "ipv6") }) {
			list = append(list, family)
		}
	}
	return list
}

// ownSettings lets the device, and nothing else, have what it needs: its family
// switched on, and its packets forwarded to targets that are elsewhere.
func ownSettings(name, family string) error {
	settings := [][2]string{{"forwarding", "1"}}
	if family == "ipv6" {
		settings = append(settings, [2]string{"disable_ipv6", "0"})
	}
	for _, s := range settings {
		path := "/proc/sys/net/" + family + "/conf/" + name + "/" + s[0]
		now, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) && family == "ipv6" {
			return fmt.Errorf("this kernel has no IPv6; use IPv4 sources and targets")
		}
		if err == nil && strings.TrimSpace(string(now)) != s[1] {
			err = os.WriteFile(path, []byte(s[1]), 0)
		}
		// Where nothing may be written, packets may still stay on this host.
		if err != nil && !(s[0] == "forwarding" && (errors.Is(err, unix.EROFS) || errors.Is(err, fs.ErrPermission))) {
			return err
		}
	}
	return nil
}

// Wait waits for a packet, the timeout (negative: none), or what wakes the engine.
func (t *Device) Wait(timeout time.Duration) (woken bool, err error) {
	var deadline *unix.Timespec
	if timeout >= 0 {
		t.timeout = unix.NsecToTimespec(int64(timeout))
		deadline = &t.timeout
	}
	n, _, errno := unix.Syscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&t.polls[0])), uintptr(len(t.polls)), uintptr(unsafe.Pointer(deadline)), 0, 0, 0)
	switch {
	case errno == unix.EINTR || errno == 0 && n == 0:
		return false, nil
	case errno != 0:
		return false, errno
	case t.polls[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0:
		return false, errors.New("the TUN device is gone; somebody else has removed it")
	}
	return t.polls[1].Revents != 0, nil
}

// Read reads one packet and returns its length, 0 if no packet waits.
func (t *Device) Read(p []byte) int {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, t.fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	if errno != 0 {
		return 0
	}
	return int(n)
}

// Write sends one packet.
func (t *Device) Write(p []byte) syscall.Errno {
	_, _, errno := unix.RawSyscall(unix.SYS_WRITE, t.fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return errno
}

// Close removes the device with its routes.
func (t *Device) Close() { unix.Close(int(t.fd)) }
