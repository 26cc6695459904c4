// Package needs skips tests where something is missing that they need. It also skips
// those that are not quick, with `go test -short`: the quick ones take no root, no lab
// and no server process.
package needs

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// Server is for tests that start servers as processes.
func Server(t testing.TB) {
	t.Helper()
	slow(t, "server processes")
}

// Lab is for tests that make machines or networks.
func Lab(t testing.TB) {
	t.Helper()
	slow(t, "a lab")
}

// Root is for tests that only root can do.
func Root(t testing.TB) {
	t.Helper()
	slow(t, "root")
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

// Namespaces is for tests that make network namespaces as root, so that they see all
// that are left.
func Namespaces(t testing.TB) {
	t.Helper()
	Lab(t)
	Root(t)
	try := exec.Command("true")
	try.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := try.Run(); err != nil {
		t.Skip("needs network namespaces:", err)
	}
}

// Tools is for tests that run these programs.
func Tools(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Skip("needs a program:", err)
		}
	}
}

// File is for tests of something that this host has if it has the file.
func File(t testing.TB, path, what string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Skipf("needs %s: %v", what, err)
	}
}

func slow(t testing.TB, what string) {
	t.Helper()
	if testing.Short() {
		t.Skipf("needs %s, which no quick test does", what)
	}
}
