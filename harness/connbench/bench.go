package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"connbench/harness/bench"
	"connbench/harness/connbench/flags"
	"connbench/harness/progress/terminal"
)

func benchCommand() *cobra.Command {
	f := &flags.Flags{Request: bench.Request{Plan: "default"}}
	c := &cobra.Command{
		Use:   "bench",
		Short: "Run a plan and print its tables",
		Long: `Run a plan: every variant in every round, each in a fresh server process under
the same swarm. Each trial is on disk when it ends, in a new folder below --results;
the tables are printed at the end, also when the run is interrupted.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runBench(c.Context(), c.OutOrStdout(), f) },
	}
	f.Add(c, "plan", "lab", "engine", "variants", "connections", "budget", "rounds", "processes", "base", "go", "results", "servers", "bin", "json")
	return c
}

// runBench runs a plan, prints its tables, and then returns what went wrong.
func runBench(ctx context.Context, out io.Writer, f *flags.Flags) error {
	tree, err := f.Tree()
	if err != nil {
		return err
	}
	display := terminal.New(os.Stderr)
	defer display.Close()
	run, failed := bench.Run(ctx, tree, f.Request, display)
	if run == nil {
		return failed
	}
	if len(run.Trials) > 0 {
		if err := printRun(out, run, f.JSON); err != nil {
			return err
		}
	}
	if !f.JSON {
		fmt.Fprintln(out, "\nfiled in", run.Dir)
	}
	return failed
}
