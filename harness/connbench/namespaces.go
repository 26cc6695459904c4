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
		Use:    "namespaces AGENT",
		Short:  "Make the network of the lab netns, with an agent on each of its hosts",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := namespaces.Serve(os.Stdin, os.Stdout, args); err != nil {
				fmt.Fprintln(os.Stderr, err) // the harness says who speaks
				return explain.Said
			}
			return nil
		},
	}
}
