package main

import (
	"github.com/spf13/cobra"

	"connbench/harness/record"
	"connbench/harness/report"
	"connbench/harness/table"
)

func reportCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "report DIR",
		Short: "Write the tables of a run anew from its raw files, and print them",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			run, err := record.Open(args[0])
			if err != nil {
				return usage(err)
			}
			if err := report.Write(args[0]); err != nil {
				return err
			}
			return report.Print(c.OutOrStdout(), run, table.Width(c.OutOrStdout()))
		},
	}
}
