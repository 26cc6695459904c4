// Package subprocess runs commands that end: with their context, after a time, and
// though somebody whom they have started still holds their output.
package subprocess

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// drainPatience is how long the output of a command that has ended may stay open.
const drainPatience = 2 * time.Second

// Run runs a command, as setup has prepared it, and waits for its end: for so long at
// most. Then, or when ctx ends, it kills the command with its group, and the error says
// which of the two it was. What the command leaves in its group is killed as well.
func Run(ctx context.Context, patience time.Duration, setup func(*exec.Cmd), words ...string) error {
	late := fmt.Errorf("it did not end within %s", patience)
	ctx, cancel := context.WithTimeoutCause(ctx, patience, late)
	defer cancel()
	c := exec.CommandContext(ctx, words[0], words[1:]...)
	// No terminal, so that nothing can ask for anything there, and a group of its own.
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	c.Cancel = func() error { return killGroup(c) }
	c.WaitDelay = drainPatience
	setup(c)
	err := c.Run()
	if c.Process != nil {
		killGroup(c)
	}
	if ctx.Err() != nil && err != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		return errors.New("it left a process behind, which holds its output")
	}
	return err
}

// Start starts a command that runs on, without a terminal, and that gets a signal when this
// process ends, however it ends. ended is closed when the command has ended.
func Start(c *exec.Cmd, signal syscall.Signal) (ended <-chan struct{}, err error) {
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: signal}
	started, over := make(chan error), make(chan struct{})
	go func() {
		// Never unlocked: the thread ends with this function, and the kernel sends the signal
		// when the thread ends that forked.
		runtime.LockOSThread()
		err := c.Start()
		started <- err
		if err == nil {
			c.Wait()
		}
		close(over)
	}()
	return over, <-started
}

func killGroup(c *exec.Cmd) error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
