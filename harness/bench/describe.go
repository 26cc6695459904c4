package bench

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"connbench/harness/build"
	"connbench/harness/lab"
	"connbench/harness/phase"
	"connbench/harness/plan"
	"connbench/harness/table"
	"connbench/harness/variant"
)

// WritePlan writes a plan for a terminal of a width in columns: its title, what it does, and
// its size.
func WritePlan(out *bytes.Buffer, tree build.Tree, p plan.Plan, width int) error {
	const indent = "  "
	choices, err := tree.Choose(p.Variants, p.Classes)
	if err != nil {
		return err
	}
	var programs []variant.Program
	layers := layersOf(p)
	for _, c := range variant.Able(choices, layers, func(string, ...any) {}) {
		programs = append(programs, variant.Program{Choice: c})
	}
	trials := len(variant.Expand(programs, layers)) * p.Rounds
	size := table.Plural(trials, "trial") + " in lab " + cmp.Or(p.Lab, lab.Local)
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

// WriteVariant writes a variant and the settings of its classes for a terminal of a width in
// columns. missing lists what this machine lacks to build it.
func WriteVariant(out *bytes.Buffer, v variant.Variant, missing []string, width int) {
	const indent = "  "
	table.Wrap(out, v.Name+": ", indent, v.Model, width)
	if len(missing) > 0 {
		table.Wrap(out, indent+"left out here: ", indent+indent, strings.Join(missing, "; "), width)
	}
	table.Wrap(out, indent+"library: ", indent+indent, cmp.Or(v.Library, "none"), width)
	if len(v.Protocols) > 0 {
		table.Wrap(out, indent+"speaks: ", indent+indent, strings.Join(v.Protocols, ", "), width)
	}
	if len(v.Broadcast) > 0 {
		table.Wrap(out, indent+"broadcasts: ", indent+indent, "over "+strings.Join(v.Broadcast, ", "), width)
	}
	if len(v.Compression) > 0 {
		table.Wrap(out, indent+"compresses: ", indent+indent, strings.Join(v.Compression, ", "), width)
	}
	if v.WebSocket != "" {
		table.Wrap(out, indent+"WebSocket: ", indent+indent, v.WebSocket, width)
	}
	for _, check := range slices.Sorted(maps.Keys(v.Waives)) {
		table.Wrap(out, indent+"does not keep "+check+": ", indent+indent, v.Waives[check], width)
	}
	for _, class := range variant.Classes {
		if settings, ok := v.Classes[class]; ok {
			table.Wrap(out, indent+class+": ", indent+indent, settings.Settings, width)
		}
	}
}
