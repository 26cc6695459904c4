package main

import (
	"io"

	"github.com/spf13/cobra"

	"connbench/harness/record"
	"connbench/harness/report"
	"connbench/harness/table"
)

func reportCommand() *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "report DIR",
		Short: "Write the tables of a run anew from its raw files, and print them",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			run, err := record.Open(args[0])
			if err != nil {
				return usage(err)
			}
			if err := report.Write(run); err != nil {
				return err
			}
			return printRun(c.OutOrStdout(), run, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the medians of all figures as JSON")
	return c
}

// printRun prints what a run found.
func printRun(out io.Writer, run *record.Run, asJSON bool) error {
	if asJSON {
		return writeJSON(out, report.Summaries(run))
	}
	return report.Print(out, run, table.Width(out))
}
