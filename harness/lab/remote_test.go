package lab

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connbench/harness/agent"
	"connbench/harness/lab/fleet"
	"connbench/harness/lab/ssh"
	"connbench/harness/record"
)

// A host that has gone and cannot be reached again ends a run, and is named.
func TestHostDoesNotComeBack(t *testing.T) {
	if _, err := exec.LookPath("ssh"); err != nil {
		t.Skip("needs ssh:", err)
	}
	before := comeBack
	comeBack = 0
	defer func() { comeBack = before }()
	config := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(config, []byte("Host *\n  ProxyCommand false\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	gone, err := agent.Dial("client1", []string{"sh", "-c", "echo lightning >&2"})
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	host := &Host{Agent: gone, Facts: record.Host{Name: "client1"}}
	r := &remote{folder: t.TempDir(), hosts: []*remoteHost{{
		Host: fleet.Host{Name: "client1"}, way: ssh.Host{Name: "client1", Target: "nowhere", Config: config}, host: host,
	}}}
	l := &Lab{hosts: []*Host{host}, restore: r.restore}
	restored, err := l.Restore(t.Context())
	if restored || err == nil {
		t.Fatalf("restored %v, error %v", restored, err)
	}
	for _, want := range []string{"host client1: its agent ended: lightning; and it does not come back: host client1: ", "ssh -F " + config + " nowhere true"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
	// Where it cannot be reached again at all, as in a lab of this machine.
	if _, err := (&Lab{hosts: []*Host{host}}).Restore(t.Context()); err == nil || !strings.Contains(err.Error(), "lightning") {
		t.Errorf("error %v", err)
	}
	// Whoever waits for it may give up.
	comeBack = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Restore(ctx); err == nil || !strings.Contains(err.Error(), "context canceled") {
		t.Errorf("error %v", err)
	}
}

// Folders of labs that live are left alone, those of the killed are removed.
func TestFoldersOfTheKilledAreRemoved(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	lives, killed := &remote{}, &remote{}
	for _, r := range []*remote{lives, killed} {
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
	lives.close()
	if _, err := os.Stat(lives.folder); !os.IsNotExist(err) {
		t.Errorf("the folder of one that has ended: %v", err)
	}
}
