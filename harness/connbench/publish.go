package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"connbench/harness/connbench/flags"
	"connbench/harness/publish"
	"connbench/harness/table"
)

func publishCommand() *cobra.Command {
	f := &flags.Flags{}
	var allow []string
	check := false
	c := &cobra.Command{
		Use:   "publish RUN",
		Short: "Check a run, move it into --results and update the index there",
		Long: `Check a run, move it into --results and update the index there. The folder can
then be sent as a pull request.

With --check, say what is wrong with published folders, as CI does, and change nothing:
their files against schemas and bounds, the reports against the raw files, and figures
against each other. Without RUN all published folders are checked.`,
		Args: func(c *cobra.Command, args []string) error {
			if check {
				return nil
			}
			return cobra.ExactArgs(1)(c, args)
		},
		ValidArgsFunction: flags.AnyFolder,
		RunE: func(c *cobra.Command, args []string) error {
			tree, err := f.Tree()
			if err != nil {
				return err
			}
			if check {
				problems, err := publish.VerifyAll(tree.Results, args)
				for _, text := range problems {
					fmt.Fprintln(c.OutOrStdout(), text)
				}
				if err == nil && len(problems) > 0 {
					err = fmt.Errorf("%s with published runs", table.Plural(len(problems), "problem"))
				}
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
	f.Add(c, "results")
	c.Flags().BoolVar(&check, "check", false, "check published folders, and change nothing")
	c.Flags().StringSliceVar(&allow, "allow", nil, "texts that may name a user, a host or a path, separated by commas")
	flags.MustComplete(c, "allow", cobra.NoFileCompletions)
	return c
}
