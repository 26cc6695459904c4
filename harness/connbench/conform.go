package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"connbench/harness/bench"
	"connbench/harness/connbench/flags"
	"connbench/harness/gate"
	"connbench/harness/plain"
	"connbench/harness/table"
	"connbench/harness/variant"
)

func conformCommand() *cobra.Command {
	f := &flags.Flags{}
	var all, markdown bool
	c := &cobra.Command{
		Use:               "conform [VARIANT…]",
		Short:             "Put servers through the conformance gate and print what they fail",
		ValidArgsFunction: flags.CompleteVariants,
		RunE: func(c *cobra.Command, names []string) error {
			say := func(format string, args ...any) { fmt.Fprintf(c.ErrOrStderr(), format+"\n", args...) }
			programs, failed := buildPrograms(f, c, names, say)
			found, errs := gate.Each(c.Context(), programs, say, examine)
			if err := c.Context().Err(); err != nil {
				return err
			}
			verdicts := map[string]gate.Verdict{}
			var examined, failing []variant.Program
			for i, program := range programs {
				if errs[i] != nil {
					failed = errors.Join(failed, errs[i])
					continue
				}
				verdicts[program.Choice.String()] = found[i]
				examined = append(examined, program)
				if !found[i].Passed {
					failing = append(failing, program)
				}
			}
			var err error
			switch {
			case f.JSON:
				err = plain.JSON(c.OutOrStdout(), verdicts)
			case markdown:
				err = gate.WriteMarkdown(c.OutOrStdout(), bench.Quote(append([]string{"bin/connbench", "conform", "--markdown"}, names...)), examined, verdicts)
			case len(examined) > 0:
				err = gate.WriteVerdicts(c.OutOrStdout(), table.Width(c.OutOrStdout()), examined, verdicts, all)
			}
			return errors.Join(err, failed, doNotConform(failing))
		},
	}
	c.Flags().BoolVar(&all, "all", false, "print each check, not only those that failed")
	c.Flags().BoolVar(&markdown, "markdown", false, "print Markdown")
	f.Add(c, "servers", "bin", "json")
	return c
}

// examine is a new examination, whatever an earlier one said.
func examine(ctx context.Context, p variant.Program, say gate.Say) (gate.Verdict, error) {
	say("examining %s", p.Choice)
	return gate.Examine(ctx, p)
}

// gateInsideCommand is what the gate runs in a namespace.
func gateInsideCommand() *cobra.Command {
	return &cobra.Command{
		Use:    gate.HelperCommand,
		Short:  "Examine one server, in the network namespace that this process is in",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(c *cobra.Command, _ []string) error { return gate.Inside(c.Context(), os.Stdin, os.Stdout) },
	}
}
