package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"connbench/harness/publish"
	"connbench/harness/record"
	"connbench/harness/report"
)

func publishCommand() *cobra.Command {
	var results string
	var allow []string
	c := &cobra.Command{
		Use:   "publish DIR",
		Short: "Check a run, move it into results/ and write the index there anew",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := publish.Publish(args[0], results, allow); err != nil {
				return err
			}
			dir := filepath.Join(results, filepath.Base(filepath.Clean(args[0])))
			// Nothing that came with the raw files is shown: tables and page are made
			// from them here.
			run, err := record.Open(dir)
			if err != nil {
				return err
			}
			if err := report.Write(run); err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), "published as", dir)
			return nil
		},
	}
	c.Flags().StringVar(&results, "results", "results", "folder of published runs")
	c.Flags().StringSliceVar(&allow, "allow", nil, "texts that may name a user, a host or a path")
	return c
}
