package main

import (
	"bytes"

	"github.com/spf13/cobra"

	"connbench/harness/bench"
	"connbench/harness/connbench/flags"
	"connbench/harness/plain"
	"connbench/harness/table"
)

func variantsCommand() *cobra.Command {
	f := &flags.Flags{}
	c := &cobra.Command{
		Use:   "variants",
		Short: "List the servers that can be measured",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			tree, err := f.Tree()
			if err != nil {
				return err
			}
			all, err := tree.Variants()
			if err != nil {
				return err
			}
			if f.JSON {
				return plain.JSON(c.OutOrStdout(), all)
			}
			var out bytes.Buffer
			for i, v := range all {
				if i > 0 {
					out.WriteByte('\n')
				}
				bench.WriteVariant(&out, v, v.Missing(c.Context()), table.Width(c.OutOrStdout()))
			}
			_, err = c.OutOrStdout().Write(out.Bytes())
			return err
		},
	}
	f.Add(c, "servers", "json")
	return c
}
