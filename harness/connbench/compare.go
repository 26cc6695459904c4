package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"connbench/harness/compare"
	"connbench/harness/record"
	"connbench/harness/table"
)

func compareCommand() *cobra.Command {
	var failOn []string
	var asJSON, asMarkdown bool
	c := &cobra.Command{
		Use:   "compare OLD NEW",
		Short: "Compare two runs (folders or trials files): the environment first, then each figure",
		Args:  cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			var conditions []compare.Condition
			for _, text := range failOn {
				condition, err := compare.ParseCondition(text)
				if err != nil {
					return usage(fmt.Errorf("--fail-on: %w", err))
				}
				conditions = append(conditions, condition)
			}
			older, err := record.Open(args[0])
			if err != nil {
				return usage(err)
			}
			newer, err := record.Open(args[1])
			if err != nil {
				return usage(err)
			}
			comparison, err := compare.Compare(older, newer, conditions)
			if err != nil {
				return err
			}
			out := c.OutOrStdout()
			switch {
			case asJSON:
				err = comparison.WriteJSON(out)
			case asMarkdown:
				err = comparison.WriteMarkdown(out)
			default:
				err = comparison.WriteText(out, table.Width(out))
			}
			if err != nil {
				return err
			}
			if len(comparison.Failed) > 0 {
				return errors.New("came true: " + strings.Join(comparison.Failed, "; "))
			}
			return nil
		},
	}
	c.Flags().StringArrayVar(&failOn, "fail-on", nil, "exit with status 1 when this comes true, as 'rss_bytes>5%'; may be repeated")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, all figures")
	c.Flags().BoolVar(&asMarkdown, "markdown", false, "print Markdown")
	c.MarkFlagsMutuallyExclusive("json", "markdown")
	return c
}
