package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"connbench/harness/compare"
	"connbench/harness/connbench/flags"
	"connbench/harness/explain"
	"connbench/harness/plain"
	"connbench/harness/record/folder"
	"connbench/harness/table"
)

func compareCommand() *cobra.Command {
	f := &flags.Flags{}
	var failOn []string
	asMarkdown := false
	c := &cobra.Command{
		Use:               "compare OLD NEW",
		Short:             "Compare two runs (folders or trials files): the environment first, then each figure",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: flags.AnyFolder,
		RunE: func(c *cobra.Command, args []string) error {
			if f.JSON && asMarkdown {
				return explain.Usagef("name either --json or --markdown")
			}
			conditions, err := compare.ParseConditions(failOn)
			if err != nil {
				return explain.Usagef("--fail-on: %w", err)
			}
			older, err := folder.Open(args[0])
			if err != nil {
				return explain.Usage(err)
			}
			newer, err := folder.Open(args[1])
			if err != nil {
				return explain.Usage(err)
			}
			comparison, err := compare.Compare(older, newer, conditions)
			if err != nil {
				return err
			}
			out := c.OutOrStdout()
			switch {
			case f.JSON:
				err = plain.JSON(out, comparison)
			case asMarkdown:
				err = comparison.WriteMarkdown(out)
			default:
				err = comparison.WriteText(out, table.Width(out))
			}
			if err != nil {
				return err
			}
			if len(comparison.Failed) > 0 {
				return fmt.Errorf("regression: %s", strings.Join(comparison.Failed, "; "))
			}
			return nil
		},
	}
	f.Add(c, "json")
	c.Flags().StringArrayVar(&failOn, "fail-on", nil, "exit with status 1 if this condition holds, such as 'rss_bytes>5%'; may be repeated")
	c.Flags().BoolVar(&asMarkdown, "markdown", false, "print Markdown")
	flags.MustComplete(c, "fail-on", cobra.NoFileCompletions)
	return c
}
