// Package sandbox runs programs in a network namespace of their own, in which they may
// make devices and routes, and which is gone with them.
package sandbox

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Addresses of the host in the namespace.
const (
	IPv4Host = "198.19.0.1"
	IPv6Host = "fd00:c0::1"
)

// Start starts a command in a namespace of its own: as root, or in a user namespace. The
// command is killed when the thread that has called Start ends, so the caller locks itself to
// that (runtime.LockOSThread) until the command has ended. It may be made twice.
func Start(command func() *exec.Cmd) (started *exec.Cmd, err error) {
	for _, flags := range []uintptr{syscall.CLONE_NEWNET, syscall.CLONE_NEWNET | syscall.CLONE_NEWUSER} {
		started = command()
		started.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
		if flags&syscall.CLONE_NEWUSER != 0 {
			started.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
			started.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
		}
		if err = started.Start(); !errors.Is(err, syscall.EPERM) {
			break
		}
	}
	return started, err
}

// SetUp gives the namespace that this process is in its addresses.
func SetUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	for _, host := range []string{IPv4Host, IPv6Host} {
		ip := net.ParseIP(host)
		bits := 128
		if ip.To4() != nil {
			bits = 32
		}
		address := &netlink.Addr{IPNet: &net.IPNet{IP: ip, Mask: net.CIDRMask(bits, bits)}, Flags: unix.IFA_F_NODAD}
		if err := netlink.AddrAdd(lo, address); err != nil && !errors.Is(err, unix.EEXIST) && !(bits == 128 && errors.Is(err, unix.EACCES)) {
			return fmt.Errorf("%s: %w", host, err)
		}
	}
	return nil
}
