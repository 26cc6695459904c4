package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"connbench/harness/bench"
	"connbench/harness/connbench/flags"
	"connbench/harness/profile"
	"connbench/harness/progress/terminal"
)

func profileCommand() *cobra.Command {
	f := &flags.Flags{Request: bench.Request{Plan: "default"}}
	phase, dir := "echo", "profiles"
	c := &cobra.Command{
		Use:   "profile VARIANT",
		Short: "Profile a server during one phase of a trial",
		Long: `Run one trial and profile its server during one phase. A Go server is built with a
profiler for this purpose (measured servers have none), and writes its CPU time and its
heap for go tool pprof. perf samples the stacks of others. The figures of the trial are
not results.`,
		Example:           "  connbench profile goroutine --phase echo",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: flags.CompleteVariants,
		RunE: func(c *cobra.Command, args []string) error {
			tree, err := f.Tree()
			if err != nil {
				return err
			}
			f.Variants = args
			display := terminal.New(os.Stderr)
			defer display.Close()
			files, err := profile.Run(c.Context(), tree, f.Request, phase, dir, display)
			if err != nil {
				return err
			}
			display.Close()
			fmt.Fprintf(c.OutOrStdout(), "profiles of %s during %s, not a result:\n", args[0], phase)
			for _, file := range files {
				command := []string{"go", "tool", "pprof", "-http=localhost:", file}
				if filepath.Ext(file) != ".pprof" {
					command = []string{"perf", "report", "-i", file}
				}
				fmt.Fprintln(c.OutOrStdout(), "  "+bench.Quote(command))
			}
			return nil
		},
	}
	f.Add(c, "plan", "lab", "engine", "connections", "servers", "bin", "results")
	c.Flags().StringVar(&phase, "phase", phase, "the phase: "+strings.Join(phasesOfDefault(), ", ")+" and others, as the plan has them")
	c.Flags().StringVar(&dir, "output", dir, "the folder of the profiles")
	flags.MustComplete(c, "phase", flags.OneOf(phasesOfDefault()))
	flags.MustComplete(c, "output", flags.AnyFolder)
	return c
}

// phasesOfDefault are the phases of the default plan that can be profiled.
func phasesOfDefault() []string {
	p, err := bench.Request{Plan: "default"}.Resolve()
	if err != nil {
		panic(err) // it is built in
	}
	return profile.Phases(p)
}
