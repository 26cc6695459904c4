package main

import (
	"bytes"

	"github.com/spf13/cobra"

	"connbench/harness/bench"
	"connbench/harness/connbench/flags"
	"connbench/harness/plain"
	"connbench/harness/plan"
	"connbench/harness/table"
)

func plansCommand() *cobra.Command {
	f := &flags.Flags{}
	c := &cobra.Command{
		Use:   "plans",
		Short: "List the built-in plans and what each asks",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			tree, err := f.Tree()
			if err != nil {
				return err
			}
			var plans []plan.Plan
			for _, name := range plan.Names() {
				p, err := plan.LoadNamed(name)
				if err != nil {
					return err
				}
				plans = append(plans, p)
			}
			if f.JSON {
				return plain.JSON(c.OutOrStdout(), plans)
			}
			var out bytes.Buffer
			for i, p := range plans {
				if i > 0 {
					out.WriteByte('\n')
				}
				if err := bench.WritePlan(&out, tree, p, table.Width(c.OutOrStdout())); err != nil {
					return err
				}
			}
			_, err = c.OutOrStdout().Write(out.Bytes())
			return err
		},
	}
	f.Add(c, "servers", "json")
	return c
}
