package hosts

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"connbench/clients/control"
	"connbench/harness/lab"
)

// The error of a host that cannot be reached has the command to try by hand.
func TestHostIsNotReached(t *testing.T) {
	if _, err := exec.LookPath("ssh"); err != nil {
		t.Skip("needs ssh:", err)
	}
	f := File{SSHConfigText: []byte("Host *\n  ProxyCommand false\n"), Hosts: []Host{
		{Name: "server", Role: "server", SSH: "nowhere", Addresses: []string{"198.18.0.1"}},
		{Name: "client1", Role: "client", Via: []string{"false"}, Addresses: []string{"198.18.0.2"}},
	}}
	s, err := Open(f, lab.Options{Engine: control.EngineSocket})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i, want := range []string{"nowhere true)", "host client1: exit status 1"} {
		if _, err := s.Dial(t.Context(), i); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// Folders of labs that live are left alone, those of the killed are removed.
func TestFoldersOfTheKilledAreRemoved(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	lives, killed := &site{}, &site{}
	for _, r := range []*site{lives, killed} {
		if err := r.makeFolder(); err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(-time.Hour)
		if err := os.Chtimes(r.folder, old, old); err != nil {
			t.Fatal(err)
		}
	}
	killed.claim.Close() // as the kernel does
	sweep()
	if _, err := os.Stat(killed.folder); !os.IsNotExist(err) {
		t.Errorf("the folder of one that was killed: %v", err)
	}
	if _, err := os.Stat(lives.folder); err != nil {
		t.Errorf("the folder of one that lives: %v", err)
	}
	lives.Close()
	if _, err := os.Stat(lives.folder); !os.IsNotExist(err) {
		t.Errorf("the folder of one that has ended: %v", err)
	}
}
