package cgroup

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/prometheus/procfs"
)

// A group counts the kernel's memory for the processes in it. A group that a killed
// process left behind is removed when the next one is made.
func TestGroup(t *testing.T) {
	proc, err := procfs.NewDefaultFS()
	if err != nil {
		t.Fatal(err)
	}
	reader := New("/", proc, os.Getppid())
	g, err := reader.NewGroup()
	if err != nil {
		t.Skipf("this host lets us make no memory control group: %v", err)
	}
	defer g.Remove()
	before, err := g.KernelBytes()
	if err != nil {
		t.Fatal(err)
	}
	// It starts another process when it reads a line, and then writes one.
	process := exec.Command("sh", "-c", "read go; sleep 600 & echo $!; read end; kill $!")
	input, err := process.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	defer process.Wait()
	defer input.Close()
	if err := g.Add(process.Process.Pid); err != nil {
		t.Fatal(err)
	}
	input.Write([]byte("go\n"))
	if _, err := output.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	after, err := g.KernelBytes()
	if err != nil {
		t.Fatal(err)
	}
	if after <= before {
		t.Errorf("a process was made in the group, and the kernel's memory went from %d to %d bytes", before, after)
	}

	parent := filepath.Dir(g.folder)
	left := filepath.Join(parent, groupPrefix+"of-a-killed-maker")
	if err := os.Mkdir(left, 0o755); err != nil {
		t.Fatal(err)
	}
	reader.removeLeft(parent)
	if _, err := os.Stat(left); err == nil {
		t.Error("an empty group stayed behind")
	}
	if _, err := os.Stat(g.folder); err != nil {
		t.Errorf("a group in use was removed: %v", err)
	}
}
