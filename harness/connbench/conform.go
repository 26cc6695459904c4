package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"connbench/harness/connbench/flags"
	"connbench/harness/gate"
	"connbench/harness/plain"
	"connbench/harness/table"
)

func conformCommand() *cobra.Command {
	f := &flags.Flags{}
	c := &cobra.Command{
		Use:               "conform [VARIANT…]",
		Short:             "Put servers through the conformance gate and print what they fail",
		ValidArgsFunction: flags.CompleteVariants,
		RunE: func(c *cobra.Command, names []string) error {
			say := func(format string, args ...any) { fmt.Fprintf(c.ErrOrStderr(), format+"\n", args...) }
			programs, err := buildPrograms(f, c, names, say)
			if err != nil {
				return err
			}
			verdicts := map[string]gate.Verdict{}
			var failing []string
			for _, program := range programs {
				name := program.Choice.String()
				say("examining %s", name)
				if verdicts[name], err = gate.Examine(c.Context(), program); err != nil {
					return err
				}
				if !verdicts[name].Passed {
					failing = append(failing, name)
				}
			}
			if f.JSON {
				err = plain.JSON(c.OutOrStdout(), verdicts)
			} else {
				err = gate.WriteVerdicts(c.OutOrStdout(), table.Width(c.OutOrStdout()), programs, verdicts)
			}
			if err != nil {
				return err
			}
			if len(failing) > 0 {
				return fmt.Errorf("%s: does not conform", strings.Join(failing, ", "))
			}
			return nil
		},
	}
	f.Add(c, "servers", "bin", "json")
	return c
}
