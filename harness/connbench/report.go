package main

import (
	"io"

	"github.com/spf13/cobra"

	"connbench/harness/connbench/flags"
	"connbench/harness/explain"
	"connbench/harness/plain"
	"connbench/harness/record"
	"connbench/harness/record/folder"
	"connbench/harness/report"
	"connbench/harness/table"
)

func reportCommand() *cobra.Command {
	f := &flags.Flags{}
	c := &cobra.Command{
		Use:               "report RUN",
		Short:             "Rewrite the tables of a run from its raw files, and print them",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: flags.AnyFolder,
		RunE: func(c *cobra.Command, args []string) error {
			run, err := folder.Open(args[0])
			if err != nil {
				return explain.Usage(err)
			}
			if err := report.Write(run); err != nil {
				return err
			}
			return printRun(c.OutOrStdout(), run, f.JSON)
		},
	}
	f.Add(c, "json")
	return c
}

// printRun prints what a run found.
func printRun(out io.Writer, run *record.Run, asJSON bool) error {
	if asJSON {
		return plain.JSON(out, report.Summaries(run))
	}
	return report.Print(out, run, table.Width(out))
}
