package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"connbench/harness/bench"
	"connbench/harness/claims"
	"connbench/harness/connbench/flags"
	"connbench/harness/progress/terminal"
)

func claimsCommand() *cobra.Command {
	f := &flags.Flags{}
	c := &cobra.Command{
		Use:   "claims",
		Short: "Test common claims about numbers of connections on this machine",
		Long: `Predict, measure and judge what people repeat about numbers of connections, in
trials that ask for more of them than a limit allows, and write claims.md and
claims.json.gz into the folder claims/ of --results. It takes some minutes. Three of
the claims take root, for network namespaces.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			tree, err := f.Tree()
			if err != nil {
				return err
			}
			display := terminal.New(os.Stderr)
			defer display.Close()
			run, failed := claims.Test(c.Context(), tree, display)
			if len(run.Trials) == 0 {
				return failed
			}
			run.Command = bench.Quote([]string{"bin/connbench", "claims"})
			dir := filepath.Join(tree.Results, "claims")
			if err := run.Write(dir); err != nil {
				return err
			}
			if err := run.WriteMarkdown(c.OutOrStdout()); err != nil {
				return err
			}
			display.Say("filed in %s", dir)
			return failed
		},
	}
	f.Add(c, "results", "servers", "bin")
	return c
}
