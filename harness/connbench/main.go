// Command connbench measures how many socket connections are possible on a
// machine, what each costs, and what stopped the next one: the same swarm of
// clients against interchangeable servers.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"connbench/harness/connbench/live"
	"connbench/harness/explain"
	"connbench/harness/plain"
	"connbench/harness/version"
)

func main() {
	ctx, stop := untilSignalled()
	err := command().ExecuteContext(ctx)
	stop()
	if err != nil {
		os.Exit(explain.Print(os.Stderr, err))
	}
}

// untilSignalled is a context that ends with the first signal, so that a run ends in
// an orderly way and keeps what it has. The second SIGINT or SIGTERM is not caught:
// it kills the program, and the agents end what is left.
func untilSignalled() (context.Context, context.CancelFunc) {
	// Nobody may be left to read what is printed. That is no reason to lose a run.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup(1) has it
		// A terminal that goes away may send several: they stay caught.
		var hungUp context.CancelFunc
		ctx, hungUp = signal.NotifyContext(ctx, syscall.SIGHUP)
		context.AfterFunc(ctx, release)
		return ctx, hungUp
	}
	context.AfterFunc(ctx, release)
	return ctx, release
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "connbench",
		Short:         "Measure how many socket connections a machine holds, what each costs, and what stops the next one",
		Version:       version.Own() + ", built with " + version.Go(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	// Whatever is printed, much of it is other people's text.
	root.SetOut(&plain.Writer{W: os.Stdout})
	root.SetErr(&plain.Writer{W: os.Stderr})
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return explain.Usage(err) })
	root.AddCommand(
		benchCommand(), benchCheckCommand(), reportCommand(), compareCommand(), publishCommand(),
		limitsCommand(), capacityCommand(), claimsCommand(), profileCommand(), labCommand(),
		plansCommand(), variantsCommand(), newCommand(), buildCommand(), conformCommand(), gateInsideCommand(),
		live.Attach(printRun), live.Watch(),
	)
	asUsage(root)
	return root
}

// asUsage makes wrong arguments of c and of the commands below it mistakes of the
// caller.
func asUsage(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error { return explain.Usage(check(c, args)) }
	}
	for _, sub := range c.Commands() {
		asUsage(sub)
	}
}
