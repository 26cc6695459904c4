package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"connbench/harness/explain"
	"connbench/harness/lab/namespaces"
)

func namespacesCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "namespaces",
		Short:  "Make the network of the lab netns, with an agent on each of its hosts",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			program, err := os.Executable()
			if err != nil {
				return err
			}
			if err := namespaces.Serve(os.Stdin, os.Stdout, []string{program, "agent"}); err != nil {
				fmt.Fprintln(os.Stderr, err) // the harness says who speaks
				return explain.Said
			}
			return nil
		},
	}
}
