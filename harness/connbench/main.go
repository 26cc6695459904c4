// Command connbench measures how many socket connections are possible on a
// machine, what each costs, and what stopped the next one: the same swarm of
// clients against interchangeable WebSocket servers.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"connbench/harness/agent"
	"connbench/harness/lab/namespaces"
	"connbench/harness/variant"
)

// Exit statuses.
const (
	exitFailure = 1 // what was asked for could not be done, or not wholly
	exitUsage   = 2 // what was asked for makes no sense: nothing was begun
)

func main() {
	// The first signal ends the run in an orderly way; the second is the
	// system's own affair, and the agents end what is left.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	err := command().ExecuteContext(ctx)
	if err == nil {
		return
	}
	if message := err.Error(); message != "" {
		fmt.Fprintln(os.Stderr, "connbench:", message)
	}
	var usage usageError
	if errors.As(err, &usage) {
		os.Exit(exitUsage)
	}
	os.Exit(exitFailure)
}

// usageError is a mistake in what was typed, or in a file that was named.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// usage marks err, if there is one, as a mistake of the caller.
func usage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

// errSaid ends the program with status 1 when all has been said already.
var errSaid = errors.New("")

// places are the folders that connbench works with.
type places struct {
	servers string // the variants
	bin     string // built programs
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "connbench",
		Short:         "How many socket connections, at what cost, and what stopped the next one?",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	p := &places{}
	root.PersistentFlags().StringVar(&p.servers, "servers", "", "folder of the variants (default: servers/ of this source tree)")
	root.PersistentFlags().StringVar(&p.bin, "bin", "", "folder for built programs (default: bin/ beside servers/)")
	root.AddCommand(
		benchCommand(p), buildCommand(p), variantsCommand(p), conformCommand(p), reportCommand(),
		limitsCommand(p), labCommand(p), claimsCommand(p), compareCommand(), benchCheckCommand(p), capacityCommand(), publishCommand(),
		agentCommand(), namespacesCommand(),
	)
	for _, c := range root.Commands() {
		asUsage(c)
	}
	return root
}

// asUsage makes a wrong number of arguments a mistake of the caller.
func asUsage(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error { return usage(check(c, args)) }
	}
	for _, sub := range c.Commands() {
		asUsage(sub)
	}
}

// find fills in the folders that were not named: from the working directory
// upwards, or from the program's own place, whichever has servers/ first.
func (p *places) find() error {
	if p.servers == "" {
		tree, err := sourceTree()
		if err != nil {
			return err
		}
		p.servers = filepath.Join(tree, "servers")
	}
	if p.bin == "" {
		p.bin = filepath.Join(filepath.Dir(p.servers), "bin")
	}
	return nil
}

func sourceTree() (string, error) {
	working, err := os.Getwd()
	if err != nil {
		return "", err
	}
	starts := []string{working}
	if program, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(program))
	}
	for _, start := range starts {
		for folder := start; ; folder = filepath.Dir(folder) {
			if found, _ := filepath.Glob(filepath.Join(folder, "servers", "*", variant.File)); len(found) > 0 {
				return folder, nil
			}
			if folder == filepath.Dir(folder) {
				break
			}
		}
	}
	return "", usage(errors.New("no servers/ here or above: run connbench in its source tree, or name the folder with --servers"))
}

// discover finds all variants.
func (p *places) discover() ([]variant.Variant, error) {
	if err := p.find(); err != nil {
		return nil, err
	}
	all, err := variant.Discover(p.servers)
	return all, usage(err)
}

// allClasses takes every variant in each of its classes.
var allClasses = []string{variant.ClassDefault, variant.ClassTuned}

// choose picks variants by name, or all of them.
func choose(all []variant.Variant, names, classes []string) ([]variant.Choice, error) {
	if len(names) == 0 {
		for _, v := range all {
			names = append(names, v.Name)
		}
	}
	choices, err := variant.Select(all, names, classes)
	return choices, usage(err)
}

// completeWith has the shell complete a flag with one of values, or a file.
func completeWith(c *cobra.Command, flag string, values []string) {
	err := c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveDefault))
	if err != nil {
		panic(err) // there is no such flag
	}
}

// completeVariants has the shell complete arguments with names of variants.
func (p *places) completeVariants(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	all, err := p.discover()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, v := range all {
		names = append(names, v.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func agentCommand() *cobra.Command {
	remote := false
	c := &cobra.Command{
		Use:    "agent",
		Short:  "Run programs and read figures on a host, for a harness at the other end of stdin and stdout",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			signal.Ignore(os.Interrupt) // the harness's affair
			options := agent.Options{}
			if remote {
				options = agent.Remote
			}
			return agent.Serve(os.Stdin, os.Stdout, options)
		},
	}
	c.Flags().BoolVar(&remote, "remote", false, "the harness is on another machine: be alone here, and end when it is silent")
	return c
}

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
				return errSaid
			}
			return nil
		},
	}
}

// quoted writes a command line so that a shell reads it as it was.
func quoted(args []string) string {
	words := make([]string, len(args))
	for i, arg := range args {
		words[i] = arg
		if strings.ContainsFunc(arg, func(r rune) bool { return !strings.ContainsRune(plain, r) }) || arg == "" {
			words[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+./,:@%"
