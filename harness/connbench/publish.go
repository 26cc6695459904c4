package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"connbench/harness/publish"
)

func publishCommand() *cobra.Command {
	f := &flags{}
	var allow []string
	c := &cobra.Command{
		Use:               "publish RUN",
		Short:             "Check a run, move it into --results and write the index there anew",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: anyFolder,
		RunE: func(c *cobra.Command, args []string) error {
			tree, err := f.tree()
			if err != nil {
				return err
			}
			dir, err := publish.Publish(args[0], tree.Results, allow)
			if err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), "published as", dir)
			return nil
		},
	}
	f.add(c, "results")
	c.Flags().StringSliceVar(&allow, "allow", nil, "texts that may name a user, a host or a path, separated by commas")
	mustComplete(c, "allow", cobra.NoFileCompletions)
	return c
}
