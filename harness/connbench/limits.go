package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"connbench/harness/attach"
	"connbench/harness/bench"
	"connbench/harness/connbench/flags"
	"connbench/harness/connbench/live"
	"connbench/harness/explain"
	"connbench/harness/plain"
	"connbench/harness/plan"
	"connbench/harness/table"
)

func limitsCommand() *cobra.Command {
	f := &flags.Flags{}
	running := attach.Request{}
	c := &cobra.Command{
		Use:   "limits",
		Short: "Predict which limit of this lab stops the next connection",
		Long: `Predict how many connections a lab holds, and list every limit with the number it
allows and the command that raises it, the lowest first. Without --plan each server
process listens on one port of one address, and the server is the floor. Memory is
counted by what the leanest of the variants was measured to need, in the newest run
below --results that is finished, valid, quiet and large enough.

With --connections N the exit status is 1 if N connections do not fit, and the last
lines say what to change.

With --url, --pid, --process, --cgroup or --container the limits are those of a server
that is running already. Nothing is connected to.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			tree, err := f.Tree()
			if err != nil {
				return err
			}
			prediction, err := attach.Limits(c.Context(), tree, f.Request, running)
			if err != nil {
				return err
			}
			for _, warning := range prediction.Warnings {
				fmt.Fprintln(c.ErrOrStderr(), "connbench:", plain.Line(warning))
			}
			if f.JSON {
				err = plain.JSON(c.OutOrStdout(), prediction)
			} else {
				asked := 0
				if f.Connections != nil && *f.Connections != plan.Max {
					asked = int(*f.Connections)
				}
				err = prediction.WriteText(c.OutOrStdout(), table.Width(c.OutOrStdout()), asked)
			}
			if err != nil || f.Connections == nil || *f.Connections == plan.Max {
				return err
			}
			n := int(*f.Connections)
			exceeded := prediction.Exceeded(n)
			if len(exceeded) == 0 {
				_, err := fmt.Fprintf(c.OutOrStdout(), "\n%s fit\n", table.Plural(n, "connection"))
				return err
			}
			if err := bench.WriteExceeded(c.ErrOrStderr(), exceeded, table.Width(c.ErrOrStderr())); err != nil {
				return err
			}
			return explain.Hint(fmt.Errorf("%s do not fit", table.Plural(n, "connection")), "change the %s above", table.Plural(len(exceeded), "limit"))
		},
	}
	f.Add(c, "plan", "lab", "engine", "variants", "connections", "processes", "results", "servers", "bin", "json")
	live.AddTarget(c, &running.Target, &running.URL)
	return c
}
