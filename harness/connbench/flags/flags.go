// Package flags has the flags of connbench's commands. Those that several commands have are
// described, read and completed here, and nowhere else; pflag's own types of values accept
// neither digits with underscores nor bounds.
package flags

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"connbench/clients/control"
	"connbench/harness/bench"
	"connbench/harness/build"
	"connbench/harness/lab"
	"connbench/harness/plan"
)

// Flags are those that several commands have. Each means the same in all of them.
type Flags struct {
	bench.Request
	// Folders are those that were named.
	Folders build.Tree
	// JSON is true if the output is to be JSON.
	JSON bool
}

// sharedFlag is one of [Flags].
type sharedFlag struct {
	usage    string
	register func(set *pflag.FlagSet, f *Flags, name, usage string)
	complete cobra.CompletionFunc
}

// sharedFlags are all of [Flags], by name. Those that change a plan have the names of
// the Makefile's variables.
var sharedFlags = map[string]sharedFlag{
	"plan": {
		"a built-in plan (" + strings.Join(plan.Names(), ", ") + ") or a TOML file",
		text(func(f *Flags) *string { return &f.Plan }),
		OneOf(plan.Names()),
	},
	"lab": {
		"where to run: " + strings.Join(lab.Forms(), ", ") + " (default: the plan's, or local)",
		text(func(f *Flags) *string { return &f.Lab }),
		OneOf(lab.Names()),
	},
	"engine": {
		"the engine of the swarm: " + strings.Join(control.Engines, ", ") + " (default: the plan's)",
		text(func(f *Flags) *string { return &f.Engine }),
		OneOf(control.Engines),
	},
	"variants": {
		"variants, or variant/class, separated by commas; * is every variant, reactor:* every one of that I/O model (default: the plan's)",
		list(func(f *Flags) *[]string { return &f.Variants }),
		completeVariantList,
	},
	"connections": {
		"a number of connections, or max for as many as there can be (default: the plan's, or max)",
		optional("count", plan.ParseCount, func(f *Flags) **plan.Count { return &f.Connections }),
		OneOf([]string{"max"}),
	},
	"budget": {
		"memory that the connections may take, such as 1GiB: that of the servers (PSS) and of the kernel (default: the plan's, or all)",
		optional("bytes", plan.ParseBytes, func(f *Flags) **int64 { return &f.BudgetBytes }),
		cobra.NoFileCompletions,
	},
	"rounds": {
		"how often each variant is measured (default: the plan's)",
		optional("count", Integer, func(f *Flags) **int { return &f.Rounds }),
		cobra.NoFileCompletions,
	},
	"processes": {
		"server processes, 0 for as many as descriptors demand (default: the plan's)",
		optional("count", Integer, func(f *Flags) **int { return &f.Processes }),
		cobra.NoFileCompletions,
	},
	"base": {
		"a git revision: its servers are measured too, each in turn with the present one",
		text(func(f *Flags) *string { return &f.Base }),
		cobra.NoFileCompletions,
	},
	"go": {
		"releases of Go, such as 1.26.8,1.27.3: each builds the servers in Go, and they are measured side by side",
		list(func(f *Flags) *[]string { return &f.Go }),
		cobra.NoFileCompletions,
	},
	"servers": {
		"folder of the variants (default: servers/ of the source tree)",
		text(func(f *Flags) *string { return &f.Folders.Servers }),
		AnyFolder,
	},
	"bin": {
		"folder of built programs (default: bin/ next to servers/)",
		text(func(f *Flags) *string { return &f.Folders.Bin }),
		AnyFolder,
	},
	"results": {
		"folder of runs: a new one is made in it, earlier ones are looked for in it (default: results/ next to servers/)",
		text(func(f *Flags) *string { return &f.Folders.Results }),
		AnyFolder,
	},
	"json": {
		"print JSON",
		func(set *pflag.FlagSet, f *Flags, name, usage string) { set.BoolVar(&f.JSON, name, false, usage) },
		cobra.NoFileCompletions,
	},
}

// Names returns the names of the shared flags, in order.
func Names() []string { return slices.Sorted(maps.Keys(sharedFlags)) }

// Add gives c some of the shared flags.
func (f *Flags) Add(c *cobra.Command, names ...string) {
	for _, name := range names {
		shared, known := sharedFlags[name]
		if !known {
			panic("no flag --" + name)
		}
		shared.register(c.Flags(), f, name, shared.usage)
		MustComplete(c, name, shared.complete)
	}
}

// MustComplete has the shell complete a flag of c.
func MustComplete(c *cobra.Command, flag string, complete cobra.CompletionFunc) {
	if err := c.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // there is no such flag
	}
}

// Tree is the folders to work with.
func (f *Flags) Tree() (build.Tree, error) { return build.Find(f.Folders) }

// text is a flag of words. What its target holds before is the default.
func text(target func(*Flags) *string) func(*pflag.FlagSet, *Flags, string, string) {
	return func(set *pflag.FlagSet, f *Flags, name, usage string) {
		set.StringVar(target(f), name, *target(f), usage)
	}
}

// list is a flag of several words, with commas or spaces between them.
func list(target func(*Flags) *[]string) func(*pflag.FlagSet, *Flags, string, string) {
	return func(set *pflag.FlagSet, f *Flags, name, usage string) {
		set.Var(Value{Kind: "list", Read: func(text string) error {
			*target(f) = strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
			if len(*target(f)) == 0 {
				return fmt.Errorf("it names nothing")
			}
			return nil
		}}, name, usage)
	}
}

// optional is a flag whose target stays nil while it is not given.
func optional[T any](kind string, parse func(string) (T, error), target func(*Flags) **T) func(*pflag.FlagSet, *Flags, string, string) {
	return func(set *pflag.FlagSet, f *Flags, name, usage string) {
		set.Var(Optional(kind, parse, target(f)), name, usage)
	}
}

// OneOf completes with one of words, or else with files.
func OneOf(words []string) cobra.CompletionFunc {
	return cobra.FixedCompletions(words, cobra.ShellCompDirectiveDefault)
}

// AnyFolder completes with folders.
func AnyFolder(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
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

// CompleteVariants completes arguments with variants that do not stand there yet.
func CompleteVariants(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
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
