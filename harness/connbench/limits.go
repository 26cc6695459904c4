package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"connbench/harness/bench"
	"connbench/harness/explain"
	"connbench/harness/limits"
	"connbench/harness/plain"
	"connbench/harness/plan"
	"connbench/harness/table"
)

func limitsCommand() *cobra.Command {
	f := &flags{}
	c := &cobra.Command{
		Use:   "limits",
		Short: "Predict which limit of this lab stops the next connection",
		Long: `List every limit that bounds connections in a lab, the number that each allows,
and the command that raises it; the one that comes first is marked. Without --plan
each server process has one port of one address, and the server is the floor.
Memory is counted by what the leanest of the variants was measured to need, in the
newest run below --results that is finished, valid, quiet and large enough. With --connections the exit status is 1 if
so many do not fit, and what to change is said.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			tree, err := f.tree()
			if err != nil {
				return err
			}
			prediction, err := bench.Predict(c.Context(), tree, f.Request)
			if err != nil {
				return err
			}
			for _, warning := range prediction.Warnings {
				fmt.Fprintln(c.ErrOrStderr(), "connbench:", plain.Line(warning))
			}
			if f.json {
				err = plain.JSON(c.OutOrStdout(), prediction)
			} else {
				err = prediction.WriteText(c.OutOrStdout(), table.Width(c.OutOrStdout()))
			}
			if err != nil || f.Connections == nil || *f.Connections == plan.Max {
				return err
			}
			return fits(c, prediction.Prediction, int(*f.Connections))
		},
	}
	f.add(c, "plan", "lab", "engine", "variants", "connections", "processes", "results", "servers", "bin", "json")
	return c
}

// fits says whether n connections fit, and else what must change.
func fits(c *cobra.Command, p limits.Prediction, n int) error {
	exceeded := p.Exceeded(n)
	if len(exceeded) == 0 {
		fmt.Fprintf(c.OutOrStdout(), "%s fit\n", table.Plural(n, "connection"))
		return nil
	}
	for _, l := range exceeded {
		fmt.Fprintf(c.ErrOrStderr(), "%s (%s = %s) allows %s: %s\n", l.Name, l.Where, l.Value, table.Count(int(*l.Connections)), l.Raise)
	}
	return explain.Hint(fmt.Errorf("%s do not fit", table.Plural(n, "connection")), "change the %s above", table.Plural(len(exceeded), "limit"))
}
