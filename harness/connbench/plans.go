package main

import (
	"bytes"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"connbench/harness/build"
	"connbench/harness/phase"
	"connbench/harness/plain"
	"connbench/harness/plan"
	"connbench/harness/table"
)

func plansCommand() *cobra.Command {
	f := &flags{}
	c := &cobra.Command{
		Use:   "plans",
		Short: "List the built-in plans and what each asks",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			tree, err := f.tree()
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
			if f.json {
				return plain.JSON(c.OutOrStdout(), plans)
			}
			var out bytes.Buffer
			for i, p := range plans {
				if i > 0 {
					out.WriteByte('\n')
				}
				if err := writePlan(&out, tree, p, table.Width(c.OutOrStdout())); err != nil {
					return err
				}
			}
			_, err = c.OutOrStdout().Write(out.Bytes())
			return err
		},
	}
	f.add(c, "servers", "json")
	return c
}

// writePlan writes a plan for a terminal of a width in columns: its title, what it does, and
// its size.
func writePlan(out *bytes.Buffer, tree build.Tree, p plan.Plan, width int) error {
	const indent = "  "
	choices, err := tree.Choose(p.Variants, p.Classes)
	if err != nil {
		return err
	}
	trials := len(choices) * p.Rounds
	size := table.Plural(trials, "trial") + " in lab " + p.Lab
	if p.Connections == plan.Max {
		size += ", as many connections as fit"
	} else {
		guess := time.Duration(trials) * phase.Duration(p, int(p.Connections))
		size += fmt.Sprintf(" of %s, %s", table.Plural(int(p.Connections), "connection"), table.Plural(int(guess.Round(time.Minute).Minutes()), "minute"))
	}
	table.Wrap(out, p.Name+": ", indent, p.Title, width)
	table.Wrap(out, indent, indent, p.About, width)
	table.Wrap(out, indent, indent, size, width)
	return nil
}
