package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"connbench/clients/control"
	"connbench/harness/bench"
	"connbench/harness/connbench/flags"
	"connbench/harness/explain"
	"connbench/harness/lab"
	_ "connbench/harness/lab/kinds"
	"connbench/harness/plain"
	"connbench/harness/table"
)

func labCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "lab",
		Short: "Look after the hosts of a lab",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(labListCommand(), labCheckCommand(), labHelperCommand())
	return c
}

func labListCommand() *cobra.Command {
	f := &flags.Flags{}
	var kinds []string
	for _, k := range lab.Kinds() {
		kinds = append(kinds, k.Name)
	}
	c := &cobra.Command{
		Use:               "list [KIND]",
		Short:             "List the kinds of labs, or print what one of them needs and has",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: flags.OneOf(kinds),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return listLabs(c.OutOrStdout(), f.JSON)
			}
			kind, known := lab.Named(args[0])
			if !known {
				return explain.Hint(explain.Usagef("there is no kind of lab %q", args[0]), "take one of %s", strings.Join(kinds, ", "))
			}
			_, err := io.WriteString(c.OutOrStdout(), kind.Doc)
			return err
		},
	}
	f.Add(c, "json")
	return c
}

// listLabs prints a row for each kind.
func listLabs(w io.Writer, asJSON bool) error {
	type kind struct {
		Kind  string   `json:"kind"`
		Forms []string `json:"forms"`
		About string   `json:"about"`
	}
	var list []kind
	var rows [][]string
	for _, k := range lab.Kinds() {
		list = append(list, kind{k.Name, k.Forms(), k.About})
		rows = append(rows, []string{k.Name, strings.Join(k.Forms(), ", "), k.About})
	}
	if asJSON {
		return plain.JSON(w, list)
	}
	return table.Print(w, table.Width(w), []string{"kind", "LAB=", "what it is"}, rows)
}

// labHelperCommand is what [lab.Options.Helper] runs.
func labHelperCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "helper KIND [ARGUMENTS]",
		Short:  "Run the part of a kind of lab that has a process of its own",
		Hidden: true,
		Args:   cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			kind, known := lab.Named(args[0])
			if !known || kind.Helper == nil {
				return explain.Usagef("kind of lab %q has no helper", args[0])
			}
			if err := kind.Helper(os.Stdin, os.Stdout, args[1:]); err != nil {
				// Without our name: the program that runs the helper puts its own before it.
				fmt.Fprintln(os.Stderr, err)
				if hint := explain.HintOf(err); hint != "" {
					fmt.Fprintln(os.Stderr, "hint:", hint)
				}
				return explain.Said
			}
			return nil
		},
	}
}

func labCheckCommand() *cobra.Command {
	f := &flags.Flags{}
	c := &cobra.Command{
		Use:   "check LAB",
		Short: "Check that every host of a lab can be reached and does what a run needs",
		Long: `Reach every host of a lab, bring it this program, and look: architecture, kernel,
limits, memory, disk and clock; and connect from every client host to every
address of the server host, from each source address, or from 64 of a prefix.
Without --engine the swarm is taken to use kernel sockets. The exit status is 1
where anything is wrong. Nothing is changed on a host but its cache of programs.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: flags.OneOf(lab.Names()),
		RunE: func(c *cobra.Command, args []string) error {
			engine := cmp.Or(f.Engine, control.EngineSocket)
			if !slices.Contains(control.Engines, engine) {
				return explain.Usagef("--engine %q: it is one of %s", engine, strings.Join(control.Engines, ", "))
			}
			tree, err := f.Tree()
			if err != nil {
				return err
			}
			hosts, err := bench.CheckLab(c.Context(), tree, args[0], engine)
			if err != nil {
				return err
			}
			if f.JSON {
				err = plain.JSON(c.OutOrStdout(), hosts)
			} else {
				err = lab.WriteHealth(c.OutOrStdout(), table.Width(c.OutOrStdout()), hosts)
			}
			if err != nil {
				return err
			}
			return sick(args[0], hosts)
		},
	}
	f.Add(c, "engine", "servers", "bin", "json")
	return c
}

// sick is an error where a host has a problem.
func sick(name string, hosts []lab.Health) error {
	var names []string
	for _, h := range hosts {
		if len(h.Problems) > 0 {
			names = append(names, h.Name)
		}
	}
	if len(names) > 0 {
		return fmt.Errorf("lab %s is not ready: see the problems of %s above", name, table.List(names))
	}
	return nil
}
