package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"connbench/harness/connbench/flags"
	"connbench/harness/gate"
	"connbench/harness/variant"
)

func buildCommand() *cobra.Command {
	f := &flags.Flags{}
	c := &cobra.Command{
		Use:               "build [VARIANT…]",
		Short:             "Build servers into bin/servers/ (all, or those named), and examine what changed",
		ValidArgsFunction: flags.CompleteVariants,
		RunE: func(c *cobra.Command, names []string) error {
			say := func(format string, args ...any) { fmt.Fprintf(c.OutOrStdout(), format+"\n", args...) }
			programs, err := buildPrograms(f, c, names, say)
			if err != nil {
				return err
			}
			for _, program := range programs {
				if _, err := gate.Judge(c.Context(), program, say); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f.Add(c, "servers", "bin")
	return c
}

// buildPrograms builds the named variants, or all, in each of their classes.
func buildPrograms(f *flags.Flags, c *cobra.Command, names []string, say func(format string, args ...any)) ([]variant.Program, error) {
	tree, err := f.Tree()
	if err != nil {
		return nil, err
	}
	choices, err := tree.Choose(names, variant.Classes)
	if err != nil {
		return nil, err
	}
	return tree.Build(c.Context(), choices, runtime.GOARCH, say)
}
