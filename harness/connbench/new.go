package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"connbench/clients/control"
	"connbench/harness/connbench/flags"
	"connbench/harness/explain"
	"connbench/harness/variant"
)

func newCommand() *cobra.Command {
	f := &flags.Flags{}
	var language, from string
	c := &cobra.Command{
		Use:   "new NAME",
		Short: "Make a new server to measure, as a copy of one that works",
		Long: `Make a folder for a new server below servers/. It begins as a copy of the suite's
example in a language, or of any variant with --from: it builds, passes the gate and
is measured as it stands, so that you can replace it piece by piece.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			tree, err := f.Tree()
			if err != nil {
				return err
			}
			all, err := tree.Variants()
			if err != nil {
				return err
			}
			original, err := originalOf(all, language, from)
			if err != nil {
				return explain.Usage(err)
			}
			folder, err := variant.Create(tree.Servers, original, args[0])
			if err != nil {
				return explain.Usage(err)
			}
			fmt.Fprintf(c.OutOrStdout(), `%s is a copy of %s.
Change the server, and title, model, library and settings in its variant.toml. Then
  bin/connbench conform %s
  make bench VARIANTS=%s,floor%s
`, folder, original.Name, args[0], args[0], planOf(original))
			return nil
		},
	}
	c.Flags().StringVar(&language, "language", "Go", "language of the example to copy")
	flags.MustComplete(c, "language", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		tree, err := f.Tree()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		all, _ := tree.Variants()
		return variant.Languages(all), cobra.ShellCompDirectiveNoFileComp
	})
	c.Flags().StringVar(&from, "from", "", "the variant to copy instead")
	flags.MustComplete(c, "from", flags.CompleteVariants)
	f.Add(c, "servers")
	return c
}

// planOf returns what make needs to measure a variant that the default plan leaves out, because
// it does not speak WebSocket.
func planOf(v variant.Variant) string {
	switch {
	case len(v.Protocols) == 0 || slices.Contains(v.Protocols, control.ProtocolWebSocket):
		return ""
	case slices.Contains(v.Protocols, control.ProtocolHTTP):
		return " PLAN=http"
	}
	return " PLAN=protocols"
}

// originalOf is the variant called from, or else the example of a language.
func originalOf(all []variant.Variant, language, from string) (variant.Variant, error) {
	if from == "" {
		return variant.Template(all, language)
	}
	i := slices.IndexFunc(all, func(v variant.Variant) bool { return v.Name == from })
	if i < 0 {
		return variant.Variant{}, explain.Hint(fmt.Errorf("there is no variant %q", from), "connbench variants lists them")
	}
	return all[i], nil
}
