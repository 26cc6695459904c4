package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"connbench/clients/control"
	"connbench/harness/bench"
	"connbench/harness/build"
	"connbench/harness/flagvalue"
	"connbench/harness/lab"
	"connbench/harness/plan"
)

// flags are those that several commands have. Each means the same in all of them:
// it is described, read and completed here, and nowhere else.
type flags struct {
	bench.Request
	folders build.Tree
	json    bool
}

// sharedFlag is one of [flags].
type sharedFlag struct {
	usage    string
	register func(set *pflag.FlagSet, f *flags, name, usage string)
	complete cobra.CompletionFunc
}

// sharedFlags are all of [flags], by name. Those that change a plan have the names of
// the Makefile's variables.
var sharedFlags = map[string]sharedFlag{
	"plan": {
		"a built-in plan (" + strings.Join(plan.Names(), ", ") + ") or a TOML file",
		text(func(f *flags) *string { return &f.Plan }),
		oneOf(plan.Names()),
	},
	"lab": {
		"where: " + strings.Join(lab.Forms(), ", ") + " (default: the plan's, or local)",
		text(func(f *flags) *string { return &f.Lab }),
		oneOf(lab.Names()),
	},
	"engine": {
		"the swarm's: " + strings.Join(control.Engines, ", ") + " (default: the plan's)",
		text(func(f *flags) *string { return &f.Engine }),
		oneOf(control.Engines),
	},
	"variants": {
		"variants, or variant/class, separated by commas; * is every variant (default: the plan's)",
		list(func(f *flags) *[]string { return &f.Variants }),
		completeVariantList,
	},
	"connections": {
		"a number of connections, or max for as many as there can be (default: the plan's, or max)",
		optional("count", plan.ParseCount, func(f *flags) **plan.Count { return &f.Connections }),
		oneOf([]string{"max"}),
	},
	"budget": {
		"memory that the connections may take, such as 1GiB: that of the servers (PSS) and of the kernel (default: the plan's, or all)",
		optional("bytes", plan.ParseBytes, func(f *flags) **int64 { return &f.BudgetBytes }),
		cobra.NoFileCompletions,
	},
	"rounds": {
		"how often each variant is measured (default: the plan's)",
		optional("count", flagvalue.Integer, func(f *flags) **int { return &f.Rounds }),
		cobra.NoFileCompletions,
	},
	"processes": {
		"server processes, 0 for as many as descriptors demand (default: the plan's)",
		optional("count", flagvalue.Integer, func(f *flags) **int { return &f.Processes }),
		cobra.NoFileCompletions,
	},
	"base": {
		"a git revision: its servers are measured too, each in turn with the present one",
		text(func(f *flags) *string { return &f.Base }),
		cobra.NoFileCompletions,
	},
	"servers": {
		"folder of the variants (default: servers/ of the source tree)",
		text(func(f *flags) *string { return &f.folders.Servers }),
		anyFolder,
	},
	"bin": {
		"folder of built programs (default: bin/ next to servers/)",
		text(func(f *flags) *string { return &f.folders.Bin }),
		anyFolder,
	},
	"results": {
		"folder of runs: a new one is made in it, earlier ones are looked for in it (default: results/ next to servers/)",
		text(func(f *flags) *string { return &f.folders.Results }),
		anyFolder,
	},
	"json": {
		"print JSON",
		func(set *pflag.FlagSet, f *flags, name, usage string) { set.BoolVar(&f.json, name, false, usage) },
		cobra.NoFileCompletions,
	},
}

// add gives c some of the shared flags.
func (f *flags) add(c *cobra.Command, names ...string) {
	for _, name := range names {
		shared, known := sharedFlags[name]
		if !known {
			panic("no flag --" + name)
		}
		shared.register(c.Flags(), f, name, shared.usage)
		mustComplete(c, name, shared.complete)
	}
}

// mustComplete has the shell complete a flag of c.
func mustComplete(c *cobra.Command, flag string, complete cobra.CompletionFunc) {
	if err := c.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // there is no such flag
	}
}

// tree is the folders to work with.
func (f *flags) tree() (build.Tree, error) { return build.Find(f.folders) }

// text is a flag of words. What its target holds before is the default.
func text(target func(*flags) *string) func(*pflag.FlagSet, *flags, string, string) {
	return func(set *pflag.FlagSet, f *flags, name, usage string) {
		set.StringVar(target(f), name, *target(f), usage)
	}
}

// list is a flag of several words, with commas or spaces between them.
func list(target func(*flags) *[]string) func(*pflag.FlagSet, *flags, string, string) {
	return func(set *pflag.FlagSet, f *flags, name, usage string) {
		set.Var(flagvalue.Value{Kind: "list", Read: func(text string) error {
			*target(f) = strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
			if len(*target(f)) == 0 {
				return fmt.Errorf("it names nothing")
			}
			return nil
		}}, name, usage)
	}
}

// optional is a flag whose target stays nil while it is not given.
func optional[T any](kind string, parse func(string) (T, error), target func(*flags) **T) func(*pflag.FlagSet, *flags, string, string) {
	return func(set *pflag.FlagSet, f *flags, name, usage string) {
		set.Var(flagvalue.Optional(kind, parse, target(f)), name, usage)
	}
}

// oneOf completes with one of words, or else with files.
func oneOf(words []string) cobra.CompletionFunc {
	return cobra.FixedCompletions(words, cobra.ShellCompDirectiveDefault)
}

// anyFolder completes with folders.
func anyFolder(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// variantNames are the variants in the folder of c's flags.
func variantNames(c *cobra.Command) ([]string, bool) {
	servers, _ := c.Flags().GetString("servers")
	tree, err := build.Find(build.Tree{Servers: servers})
	if err != nil {
		return nil, false
	}
	all, err := tree.Variants()
	var names []string
	for _, v := range all {
		names = append(names, v.Name)
	}
	return names, err == nil
}

// completeVariants completes arguments with variants that do not stand there yet.
func completeVariants(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	names, ok := variantNames(c)
	if !ok {
		return nil, cobra.ShellCompDirectiveError
	}
	return slices.DeleteFunc(names, func(name string) bool { return slices.Contains(args, name) }), cobra.ShellCompDirectiveNoFileComp
}

// completeVariantList completes the last variant of a list with commas.
func completeVariantList(c *cobra.Command, _ []string, text string) ([]string, cobra.ShellCompDirective) {
	names, ok := variantNames(c)
	if !ok {
		return nil, cobra.ShellCompDirectiveError
	}
	before := text[:strings.LastIndexByte(text, ',')+1]
	for i := range names {
		names[i] = before + names[i]
	}
	return names, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
