package bench

import (
	"bytes"
	"fmt"
	"time"

	"connbench/harness/build"
	"connbench/harness/phase"
	"connbench/harness/plan"
	"connbench/harness/table"
)

// WritePlan writes a plan for a terminal of a width in columns: its title, what it does, and
// its size.
func WritePlan(out *bytes.Buffer, tree build.Tree, p plan.Plan, width int) error {
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
