package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"connbench/harness/bench"
	"connbench/harness/cause"
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
				err = printLimits(c.OutOrStdout(), prediction)
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

func printLimits(out io.Writer, p bench.Prediction) error {
	rows := [][]string{}
	for _, l := range p.Limits {
		allows, mark := table.Missing, ""
		switch {
		case l.Connections != nil:
			allows = table.Count(int(*l.Connections))
		case l.Kind == limits.KindRate:
			allows = "rate only"
		}
		if l.Binding {
			mark = "◀ first"
		}
		rows = append(rows, []string{l.Name, l.Side, l.Where, l.Value, allows, mark, l.How, l.Raise})
	}
	if err := table.Print(out, table.Width(out), []string{"limit", "side", "set by", "value", "connections", "", "because", "raise it"}, rows); err != nil {
		return err
	}
	switch {
	case p.Cost != nil:
		fmt.Fprintln(out, p.Cost)
	case p.Untrusted != "":
		fmt.Fprintf(out, "bytes per connection are unknown: %s\n", plain.Line(p.Untrusted))
	}
	limit, ok := p.Binding()
	if !ok {
		fmt.Fprintln(out, "no limit is known")
		return nil
	}
	fmt.Fprintf(out, "predicted ceiling: %s, by %s\n", table.Plural(int(*p.Ceiling), "connection"), limit.Name)
	if c := cause.Named(limit.Reason); c != nil && c.Advice != limit.Raise {
		fmt.Fprintln(out, "to get further:", c.Advice)
	}
	return nil
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
