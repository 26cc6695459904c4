// Package stacktest gives tests a network namespace of their own, in which the
// packet engine may make its devices, and servers have an address to listen on.
package stacktest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"connbench/scripts/needs"
)

// Addresses of this host in the namespace, and prefixes that are free there.
const (
	IPv4Host   = "198.19.0.1"
	IPv6Host   = "fd00:c0::1"
	IPv4Prefix = "198.18.0.0/24"
	IPv6Prefix = "fd00:c1::/120"
)

// inside marks the process that should be in the namespace. Its value says why no
// namespace could be made, if so.
const inside = "CONNBENCH_TEST_NAMESPACE"

// Inside runs the program again, with the arguments given, in a namespace of its
// own, and returns its exit status. In there, and where there can be none, it
// returns false at once.
func Inside(arguments ...string) (status int, done bool) {
	if _, already := os.LookupEnv(inside); already {
		return 0, false
	}
	err := run(arguments, syscall.CLONE_NEWNET)
	if errors.Is(err, syscall.EPERM) {
		err = run(arguments, syscall.CLONE_NEWNET|syscall.CLONE_NEWUSER)
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, true
	case errors.As(err, &exit):
		return exit.ExitCode(), true
	}
	os.Setenv(inside, err.Error())
	return 0, false
}

func run(arguments []string, flags uintptr) error {
	again := exec.Command("/proc/self/exe", arguments...)
	again.Stdin, again.Stdout, again.Stderr = os.Stdin, os.Stdout, os.Stderr
	again.Env = append(os.Environ(), inside+"=")
	again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
	if flags&syscall.CLONE_NEWUSER != 0 {
		again.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		again.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	return again.Run()
}

// Main is what TestMain calls: all tests run in the namespace.
func Main(m *testing.M) int {
	if status, done := Inside(os.Args[1:]...); done {
		return status
	}
	if err := SetUp(); err != nil {
		fmt.Fprintln(os.Stderr, "setting up the namespace:", err)
		return 1
	}
	return m.Run()
}

// SetUp gives the namespace its addresses, if this process is in one.
func SetUp() error {
	if why, ok := os.LookupEnv(inside); !ok || why != "" {
		return nil
	}
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

// Need skips a test that needs the namespace, or the device, where it is missing.
func Need(t testing.TB) {
	t.Helper()
	needs.Lab(t)
	why, ok := os.LookupEnv(inside)
	switch {
	case !ok:
		t.Skip("needs a network namespace of its own")
	case why != "":
		t.Skip("needs a network namespace: ", why)
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skip("needs a TUN device: ", err)
	}
}
