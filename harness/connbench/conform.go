package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"connbench/harness/gate"
	"connbench/harness/plain"
	"connbench/harness/table"
	"connbench/harness/variant"
	"connbench/servers/conform"
)

func conformCommand() *cobra.Command {
	f := &flags{}
	c := &cobra.Command{
		Use:               "conform [VARIANT…]",
		Short:             "Put servers through the conformance gate and print what they fail",
		ValidArgsFunction: completeVariants,
		RunE: func(c *cobra.Command, names []string) error {
			say := func(format string, args ...any) { fmt.Fprintf(c.ErrOrStderr(), format+"\n", args...) }
			programs, err := f.build(c, names, say)
			if err != nil {
				return err
			}
			verdicts := map[string]gate.Verdict{}
			var failing []string
			for _, program := range programs {
				name := program.Choice.String()
				say("examining %s", name)
				if verdicts[name], err = gate.Examine(c.Context(), program); err != nil {
					return err
				}
				if !verdicts[name].Passed {
					failing = append(failing, name)
				}
			}
			if f.json {
				err = plain.JSON(c.OutOrStdout(), verdicts)
			} else {
				err = printVerdicts(c.OutOrStdout(), programs, verdicts)
			}
			if err != nil {
				return err
			}
			if len(failing) > 0 {
				return fmt.Errorf("%s: does not conform", strings.Join(failing, ", "))
			}
			return nil
		},
	}
	f.add(c, "servers", "bin", "json")
	return c
}

// printVerdicts prints a row a check and a column a program, then each failure
// in full.
func printVerdicts(w io.Writer, programs []variant.Program, verdicts map[string]gate.Verdict) error {
	header := []string{"check", "what the server must do"}
	for _, program := range programs {
		header = append(header, program.Choice.String())
	}
	rows := [][]string{}
	var details []string
	for _, check := range conform.Checks() {
		row := []string{check.Name, check.Title}
		for _, program := range programs {
			results := verdicts[program.Choice.String()].Results
			i := slices.IndexFunc(results, func(r conform.Result) bool { return r.Check == check.Name })
			row = append(row, mark(results, i))
			if i >= 0 && results[i].Detail != "" {
				details = append(details, fmt.Sprintf("%s, %s: %s", program.Choice, check.Name, results[i].Detail))
			}
		}
		rows = append(rows, row)
	}
	if err := table.Print(w, table.Width(w), header, rows); err != nil {
		return err
	}
	for _, detail := range details {
		fmt.Fprintln(w, detail)
	}
	return nil
}

func mark(results []conform.Result, i int) string {
	switch {
	case i < 0:
		return "not run"
	case !results[i].Passed:
		return "FAIL"
	case results[i].Detail != "":
		return "skipped"
	}
	return "ok"
}
