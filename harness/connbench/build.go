package main

import (
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/spf13/cobra"

	"connbench/harness/connbench/flags"
	"connbench/harness/gate"
	"connbench/harness/table"
	"connbench/harness/variant"
	"connbench/servers/contract"
)

func buildCommand() *cobra.Command {
	f := &flags.Flags{}
	c := &cobra.Command{
		Use:               "build [VARIANT…]",
		Short:             "Build servers into bin/servers/ (all, or those named), and examine what changed",
		ValidArgsFunction: flags.CompleteVariants,
		RunE: func(c *cobra.Command, names []string) error {
			say := func(format string, args ...any) { fmt.Fprintf(c.OutOrStdout(), format+"\n", args...) }
			programs, failed := buildPrograms(f, c, names, say)
			if len(programs) == 0 {
				return failed
			}
			_, failing, err := gate.Pass(c.Context(), programs, say)
			if len(failing) > 0 {
				err = doNotConform(failing)
			}
			return errors.Join(failed, err)
		},
	}
	f.Add(c, "servers", "bin")
	return c
}

// doNotConform names programs that fail the gate. It is nil for none.
func doNotConform(failing []variant.Program) error {
	var names []string
	for _, program := range failing {
		names = append(names, program.Choice.String())
	}
	switch len(names) {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("%s does not conform", names[0])
	}
	return fmt.Errorf("%s do not conform", table.List(names))
}

// buildPrograms builds the named variants, or all, in each of their classes, and returns each
// once for each protocol that it speaks and each way in which it compresses. It leaves out those for which this machine lacks
// something.
func buildPrograms(f *flags.Flags, c *cobra.Command, names []string, say func(format string, args ...any)) ([]variant.Program, error) {
	tree, err := f.Tree()
	if err != nil {
		return nil, err
	}
	choices, err := tree.Choose(names, variant.Classes)
	if err != nil {
		return nil, err
	}
	compressions := slices.Concat([]string{variant.CompressionNone}, contract.Compressions)
	programs, err := tree.Build(c.Context(), variant.Available(c.Context(), choices, say), runtime.GOARCH, say)
	return variant.Expand(programs, variant.Layers{Protocol: contract.Protocols, Compression: compressions}), err
}
