package gate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"connbench/clients/stack/sandbox"
	"connbench/harness/explain"
	"connbench/servers/conform"
)

// HelperCommand is the hidden command of connbench that runs [Inside].
const HelperCommand = "gate-inside"

// endPatience is how long the helper may take to end its servers.
const endPatience = 10 * time.Second

// runInside is [conform.Run] in a network namespace of its own, for servers that make
// devices: neither these nor their routes show outside.
func runInside(ctx context.Context, program conform.Program, _ func(conform.Result)) ([]conform.Result, error) {
	text, err := json.Marshal(program)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var out, said bytes.Buffer
	runtime.LockOSThread() // the helper lives as long as this thread
	defer runtime.UnlockOSThread()
	helper, err := sandbox.Start(func() *exec.Cmd {
		helper := exec.CommandContext(ctx, self, HelperCommand)
		helper.Stdin, helper.Stdout, helper.Stderr = bytes.NewReader(text), &out, &said
		helper.Cancel = func() error { return helper.Process.Signal(syscall.SIGTERM) }
		helper.WaitDelay = endPatience
		return helper
	})
	if errors.Is(err, syscall.EPERM) {
		return nil, explain.Hint(fmt.Errorf("a server that speaks TCP itself is examined in a network namespace, and none can be made: %w", err), "run it as root, or allow user namespaces")
	}
	if err != nil {
		return nil, err
	}
	if err := helper.Wait(); err != nil {
		return nil, fmt.Errorf("the gate in its namespace: %w: %s", err, strings.TrimSpace(said.String()))
	}
	var results []conform.Result
	return results, json.Unmarshal(out.Bytes(), &results)
}

// Inside examines the program that in describes, in the namespace that this process is in,
// and writes the results to out.
func Inside(ctx context.Context, in io.Reader, out io.Writer) error {
	var program conform.Program
	if err := json.NewDecoder(in).Decode(&program); err != nil {
		return err
	}
	if err := sandbox.SetUp(); err != nil {
		return err
	}
	results, err := conform.Run(ctx, program, nil)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(results)
}
