package main

import (
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
			rows := [][]string{}
			for _, v := range all {
				for _, class := range variant.Classes {
					if settings, ok := v.Classes[class]; ok {
						rows = append(rows, []string{v.Name, class, v.Model, v.Library, v.WebSocket, settings.Settings})
					}
				}
			}
			return table.Print(c.OutOrStdout(), table.Width(c.OutOrStdout()), []string{"variant", "class", "I/O model", "library", "WebSocket, where not the library's", "settings"}, rows)
		},
	}
	f.add(c, "servers", "json")
	return c
}
