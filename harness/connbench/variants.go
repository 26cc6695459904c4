package main

import (
	"bytes"
	"cmp"

	"github.com/spf13/cobra"

	"connbench/harness/plain"
	"connbench/harness/table"
	"connbench/harness/variant"
)

func variantsCommand() *cobra.Command {
	f := &flags{}
	c := &cobra.Command{
		Use:   "variants",
		Short: "List the servers that can be measured",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			tree, err := f.tree()
			if err != nil {
				return err
			}
			all, err := tree.Variants()
			if err != nil {
				return err
			}
			if f.json {
				return plain.JSON(c.OutOrStdout(), all)
			}
			var out bytes.Buffer
			for i, v := range all {
				if i > 0 {
					out.WriteByte('\n')
				}
				writeVariant(&out, v, table.Width(c.OutOrStdout()))
			}
			_, err = c.OutOrStdout().Write(out.Bytes())
			return err
		},
	}
	f.add(c, "servers", "json")
	return c
}

// writeVariant writes a variant and the settings of its classes for a terminal of a width in
// columns.
func writeVariant(out *bytes.Buffer, v variant.Variant, width int) {
	const indent = "  "
	table.Wrap(out, v.Name+": ", indent, v.Model, width)
	table.Wrap(out, indent+"library: ", indent+indent, cmp.Or(v.Library, "none"), width)
	if v.WebSocket != "" {
		table.Wrap(out, indent+"WebSocket: ", indent+indent, v.WebSocket, width)
	}
	for _, class := range variant.Classes {
		if settings, ok := v.Classes[class]; ok {
			table.Wrap(out, indent+class+": ", indent+indent, settings.Settings, width)
		}
	}
}
