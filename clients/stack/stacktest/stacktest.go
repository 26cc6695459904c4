// Package stacktest gives tests a network namespace of their own, in which the
// packet engine may make its devices, and servers have an address to listen on.
package stacktest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"connbench/clients/stack/sandbox"
	"connbench/scripts/needs"
)

// Addresses of this host in the namespace, and prefixes that are free there.
const (
	IPv4Host   = sandbox.IPv4Host
	IPv6Host   = sandbox.IPv6Host
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
	runtime.LockOSThread() // the program in there lives as long as this thread
	defer runtime.UnlockOSThread()
	again, err := sandbox.Start(func() *exec.Cmd {
		again := exec.Command("/proc/self/exe", arguments...)
		again.Stdin, again.Stdout, again.Stderr = os.Stdin, os.Stdout, os.Stderr
		again.Env = append(os.Environ(), inside+"=")
		return again
	})
	if err != nil {
		os.Setenv(inside, err.Error())
		return 0, false
	}
	var exit *exec.ExitError
	switch err := again.Wait(); {
	case err == nil:
		return 0, true
	case errors.As(err, &exit):
		return exit.ExitCode(), true
	}
	return 1, true
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
	return sandbox.SetUp()
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
