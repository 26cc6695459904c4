package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"connbench/harness/publish"
	"connbench/harness/table"
)

func publishCommand() *cobra.Command {
	f := &flags{}
	var allow []string
	check := false
	c := &cobra.Command{
		Use:   "publish RUN",
		Short: "Check a run, move it into --results and write the index there anew",
		Long: `Check a run, move it into --results and write the index there anew. The folder can
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
		ValidArgsFunction: anyFolder,
		RunE: func(c *cobra.Command, args []string) error {
			tree, err := f.tree()
			if err != nil {
				return err
			}
			if check {
				return checkPublished(c.OutOrStdout(), tree.Results, args)
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
	c.Flags().BoolVar(&check, "check", false, "check published folders, and change nothing")
	c.Flags().StringSliceVar(&allow, "allow", nil, "texts that may name a user, a host or a path, separated by commas")
	mustComplete(c, "allow", cobra.NoFileCompletions)
	return c
}

// checkPublished prints what is wrong with published runs.
func checkPublished(out io.Writer, results string, dirs []string) error {
	problems, err := publish.VerifyAll(results)
	if len(dirs) > 0 {
		problems, err = nil, nil
	}
	for _, dir := range dirs {
		found, failed := publish.Verify(dir, results)
		for _, text := range found {
			problems = append(problems, filepath.Base(dir)+": "+text)
		}
		err = errors.Join(err, failed)
	}
	for _, text := range problems {
		fmt.Fprintln(out, text)
	}
	if err != nil || len(problems) == 0 {
		return err
	}
	return fmt.Errorf("%s with published runs", table.Plural(len(problems), "problem"))
}
