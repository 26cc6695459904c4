package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"connbench/harness/bench"
	"connbench/harness/compare"
	"connbench/harness/connbench/flags"
	"connbench/harness/explain"
	"connbench/harness/plain"
	"connbench/harness/progress/terminal"
	"connbench/harness/record"
	"connbench/harness/record/folder"
	"connbench/harness/regression"
	"connbench/harness/table"
	"connbench/harness/variant"
)

func benchCheckCommand() *cobra.Command {
	f := &flags.Flags{Request: bench.Request{Plan: "check"}}
	against, comment := "", ""
	c := &cobra.Command{
		Use:   "bench-check",
		Short: "Run a short plan, and fail where servers are worse than those of a git revision or an earlier run",
		Long: `Run a plan and compare it with a baseline:

  --base REV      the servers of a git revision, built and measured in the same run,
                  each in turn with the present one, so that whatever disturbs the
                  host disturbs both alike. This is the one for CI.
  --against RUN   an earlier run
  neither         the newest published run of the same plan, lab and machine

A figure that got worse by more than noise and tolerance is measured again. If the
second measurement confirms it, the exit status is 1. Figures too noisy to judge
are reported, and do not fail the check. The tolerances are:

  ` + strings.Join(compare.Texts(compare.Tolerances()), "\n  "),
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return benchCheck(c.Context(), c.OutOrStdout(), f, against, comment)
		},
	}
	f.Add(c, "plan", "lab", "engine", "variants", "connections", "budget", "rounds", "processes", "base", "results", "servers", "bin", "json")
	c.Flags().StringVar(&against, "against", "", "the run to compare with (default: the newest published one of this machine)")
	flags.MustComplete(c, "against", flags.AnyFolder)
	c.Flags().StringVar(&comment, "comment", "", "a file to write the result to as Markdown, for a pull request")
	flags.MustComplete(c, "comment", flags.OneOf(nil))
	return c
}

func benchCheck(ctx context.Context, out io.Writer, f *flags.Flags, against, comment string) error {
	if f.Base != "" && against != "" {
		return explain.Usagef("--base and --against name two baselines: give only one of them")
	}
	tree, err := f.Tree()
	if err != nil {
		return err
	}
	var baseline *record.Run // nil: measured in the same run
	switch {
	case against != "":
		baseline, err = folder.Open(against)
		err = explain.Usage(err)
	case f.Base == "":
		baseline, err = bench.Baseline(ctx, tree, f.Request)
	}
	if err != nil {
		return err
	}
	measure := func(variants []string) (regression.Measurement, error) {
		request := f.Request
		if len(variants) > 0 {
			request.Variants = nil // those again, and no others
		}
		for _, v := range variants {
			request.Variants = append(request.Variants, variant.Bare(v))
		}
		display := terminal.New(os.Stderr)
		defer display.Close()
		run, err := bench.Run(ctx, tree, request, display)
		if err != nil || baseline != nil {
			return regression.Measurement{Baseline: baseline, Run: run}, err
		}
		return regression.Split(run), nil
	}
	words := out // for people
	if f.JSON {
		words = io.Discard
	}
	last, err := regression.Check(measure, func(a regression.Attempt) error {
		if err := a.Comparison.WriteText(words, table.Width(out)); err != nil {
			return err
		}
		fmt.Fprintln(words, "\nfiled in", a.Run.Dir)
		if len(a.Again) > 0 {
			fmt.Fprintf(words, "\nmeasured once more, to be sure: %s\n\n", strings.Join(a.Again, ","))
		}
		return nil
	})
	if err != nil {
		return err
	}
	if comment != "" {
		if err := last.Comparison.Comment(comment); err != nil {
			return err
		}
	}
	if f.JSON {
		if err := plain.JSON(out, last.Comparison); err != nil {
			return err
		}
	}
	if worse := last.Worse(); len(worse) > 0 {
		return fmt.Errorf("worse than %s, in two measurements: %s", last.Comparison.Old, strings.Join(worse, "; "))
	}
	if last.Number > 1 {
		fmt.Fprint(words, "the second measurement does not confirm it: ")
	}
	fmt.Fprint(words, "no significant regression")
	if n := len(last.Comparison.Unjudged); n > 0 {
		fmt.Fprintf(words, ", but %s could not be judged", table.Plural(n, "condition"))
	}
	fmt.Fprintln(words)
	return nil
}
