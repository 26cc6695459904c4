package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"connbench/harness/suite"
	"connbench/harness/table"
	"connbench/harness/variant"
	"connbench/servers/conform"
)

func variantsCommand(p *places) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "variants",
		Short: "List the servers that can be measured",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			all, err := p.discover()
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(c.OutOrStdout(), all)
			}
			rows := [][]string{}
			for _, v := range all {
				for _, class := range allClasses {
					if settings, ok := v.Classes[class]; ok {
						rows = append(rows, []string{v.Name, class, v.Model, v.Library, settings.Settings})
					}
				}
			}
			return table.Print(c.OutOrStdout(), table.Width(c.OutOrStdout()), []string{"variant", "class", "I/O model", "library", "settings"}, rows)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func buildCommand(p *places) *cobra.Command {
	return &cobra.Command{
		Use:               "build [VARIANT…]",
		Short:             "Build servers into bin/servers/ (all, or those named), and examine what changed",
		ValidArgsFunction: p.completeVariants,
		RunE: func(c *cobra.Command, names []string) error {
			say := func(doing string) func(variant.Choice) {
				return func(choice variant.Choice) { fmt.Fprintln(c.OutOrStdout(), doing, choice) }
			}
			programs, err := p.build(c.Context(), names, say("building"))
			if err != nil {
				return err
			}
			for _, program := range programs {
				if _, err := suite.Judge(c.Context(), program, say("examining")); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// build builds the named variants, or all, in every class; building is told each.
func (p *places) build(ctx context.Context, names []string, building func(variant.Choice)) ([]variant.Program, error) {
	all, err := p.discover()
	if err != nil {
		return nil, err
	}
	choices, err := choose(all, names, allClasses)
	if err != nil {
		return nil, err
	}
	return p.buildAll(ctx, choices, runtime.GOARCH, building)
}

// buildAll builds choices for an architecture into its folder of programs.
func (p *places) buildAll(ctx context.Context, choices []variant.Choice, architecture string, building func(variant.Choice)) ([]variant.Program, error) {
	var programs []variant.Program
	for _, choice := range choices {
		building(choice)
		program, err := choice.Build(ctx, suite.ServersFolder(p.binFor(architecture)), architecture)
		if err != nil {
			return nil, err
		}
		programs = append(programs, program)
	}
	return programs, nil
}

func conformCommand(p *places) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:               "conform [VARIANT…]",
		Short:             "Put servers through the conformance gate and print what they fail",
		ValidArgsFunction: p.completeVariants,
		RunE: func(c *cobra.Command, names []string) error {
			progress := func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
			programs, err := p.build(c.Context(), names, func(choice variant.Choice) { progress("building %s", choice) })
			if err != nil {
				return err
			}
			verdicts := map[string]suite.Verdict{}
			for _, program := range programs {
				progress("examining %s", program.Choice)
				if verdicts[program.Choice.String()], err = suite.Examine(c.Context(), program); err != nil {
					return err
				}
			}
			if asJSON {
				err = writeJSON(c.OutOrStdout(), verdicts)
			} else {
				err = printVerdicts(c.OutOrStdout(), programs, verdicts)
			}
			if err != nil {
				return err
			}
			failing := []string{}
			for _, program := range programs {
				if !verdicts[program.Choice.String()].Passed {
					failing = append(failing, program.Choice.String())
				}
			}
			if len(failing) > 0 {
				return fmt.Errorf("%s: does not conform", strings.Join(failing, ", "))
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// printVerdicts prints a row a check and a column a program, then each failure
// in full.
func printVerdicts(w io.Writer, programs []variant.Program, verdicts map[string]suite.Verdict) error {
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

func writeJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}
