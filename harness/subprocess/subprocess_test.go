package subprocess

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func run(t *testing.T, ctx context.Context, patience time.Duration, script string) (string, error) {
	t.Helper()
	var output bytes.Buffer
	err := Run(ctx, patience, func(c *exec.Cmd) { c.Stdout, c.Stderr = &output, &output }, "sh", "-c", script)
	return output.String(), err
}

func TestRun(t *testing.T) {
	if said, err := run(t, t.Context(), time.Minute, "echo hello"); said != "hello\n" || err != nil {
		t.Errorf("said %q, error %v", said, err)
	}
	var status *exec.ExitError
	if _, err := run(t, t.Context(), time.Minute, "exit 3"); !errors.As(err, &status) || status.ExitCode() != 3 {
		t.Errorf("error %v", err)
	}
	if err := Run(t.Context(), time.Minute, func(*exec.Cmd) {}, "/nonexistent"); err == nil {
		t.Error("what does not exist was run")
	}
}

// However a command refuses to end, Run returns, and says why.
func TestRunEnds(t *testing.T) {
	interrupted, interrupt := context.WithCancel(t.Context())
	interrupt()
	for name, test := range map[string]struct {
		ctx      context.Context
		patience time.Duration
		script   string
		want     string
	}{
		"sleeps":            {t.Context(), 100 * time.Millisecond, "exec sleep 1000", "it did not end within 100ms"},
		"ignores signals":   {t.Context(), 100 * time.Millisecond, "trap '' TERM INT; while :; do sleep 1; done", "it did not end within 100ms"},
		"has a child":       {t.Context(), 100 * time.Millisecond, "sleep 1000 & wait", "it did not end within 100ms"},
		"has a far child":   {t.Context(), 100 * time.Millisecond, "setsid sleep 20 & wait", "it did not end within 100ms"},
		"is interrupted":    {interrupted, time.Minute, "exec sleep 1000", "context canceled"},
		"leaves a child":    {t.Context(), time.Minute, "setsid sleep 20 & echo done", "it left a process behind"},
		"leaves one nearby": {t.Context(), time.Minute, "sleep 1000 & echo done", "it left a process behind"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := run(t, test.ctx, test.patience, test.script); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}
