package family

import (
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"
)

func TestDescendants(t *testing.T) {
	// cat waits for the end of its input, and so does the shell that waits for it.
	shell := exec.Command("sh", "-c", "cat; true")
	input, err := shell.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := shell.Start(); err != nil {
		t.Skip("needs sh(1):", err)
	}
	defer shell.Wait()
	defer input.Close()
	deadline := time.Now().Add(30 * time.Second)
	for {
		own, of := Descendants(os.Getpid()), Descendants(shell.Process.Pid)
		if len(of) == 1 && slices.Contains(own, of[0]) && slices.Contains(own, shell.Process.Pid) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("descendants of the test %v, of its shell %v: want the shell and its one child", own, of)
		}
	}
}
