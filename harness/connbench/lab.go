package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"connbench/clients/control"
	"connbench/harness/lab"
	"connbench/harness/record"
	"connbench/harness/table"
	"connbench/harness/variant"
)

// openLab makes the lab called name for a swarm with that engine, with this
// program as its hosts' agent.
func (p *places) openLab(ctx context.Context, name, engine string) (*lab.Lab, error) {
	tools, err := p.tools()
	if err != nil {
		return nil, err
	}
	opened, err := lab.Open(ctx, name, engine, tools)
	return opened, ofLab(err)
}

// ofLab marks mistakes in the name of a lab, or in its file, as the caller's.
func ofLab(err error) error {
	if errors.Is(err, lab.ErrUnknown) || errors.Is(err, lab.ErrEngine) {
		return usage(err)
	}
	return err
}

// tools are what a lab needs of this program.
func (p *places) tools() (lab.Tools, error) {
	program, err := os.Executable()
	if err != nil {
		return lab.Tools{}, err
	}
	tools := lab.Tools{Program: program, Vagrant: os.Getenv("VAGRANT_CWD")}
	if tree, err := sourceTree(); err == nil && tools.Vagrant == "" {
		tools.Vagrant = filepath.Join(tree, "vagrant")
	}
	// Several hosts may want it at a time.
	var lock sync.Mutex
	tools.ProgramFor = func(ctx context.Context, architecture string) (string, error) {
		lock.Lock()
		defer lock.Unlock()
		return p.own(ctx, "connbench", architecture)
	}
	return tools, nil
}

func labCommand(p *places) *cobra.Command {
	c := &cobra.Command{
		Use:   "lab",
		Short: "Look after the hosts of a lab",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	engine, asJSON := control.EngineSocket, false
	check := &cobra.Command{
		Use:   "check LAB",
		Short: "Check that every host of a lab can be reached and does what a run needs",
		Long: `Reach every host of a lab, bring it this program, and look: architecture, kernel,
limits, memory, disk and clock; and connect from every client host to every
address of the server host, from each source address, or from 64 of a prefix.
Exit with status 1 where anything is wrong. Nothing is changed on a host but its
cache of programs.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.FixedCompletions(labNames(), cobra.ShellCompDirectiveDefault),
		RunE: func(c *cobra.Command, args []string) error {
			if !slices.Contains(control.Engines, engine) {
				return usage(fmt.Errorf("--engine %q: it is one of %s", engine, strings.Join(control.Engines, ", ")))
			}
			tools, err := p.tools()
			if err != nil {
				return err
			}
			hosts, err := lab.Check(c.Context(), args[0], engine, tools)
			if err != nil {
				return ofLab(err)
			}
			if asJSON {
				err = writeJSON(c.OutOrStdout(), hosts)
			} else {
				err = printHealth(c.OutOrStdout(), hosts)
			}
			if err != nil {
				return err
			}
			return sick(args[0], hosts)
		},
	}
	check.Flags().StringVar(&engine, "engine", engine, "the swarm's: "+strings.Join(control.Engines, ", "))
	check.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	completeWith(check, "engine", control.Engines)
	c.AddCommand(check)
	return c
}

// printHealth prints a row a host, and below what is wrong.
func printHealth(w io.Writer, hosts []lab.Health) error {
	var rows [][]string
	for _, h := range hosts {
		row := []string{h.Name, strings.Join(h.Roles, ", ")}
		if !h.Reached {
			rows = append(rows, append(row, "not reached", "", "", "", "", "", "", ""))
			continue
		}
		clock, connects := table.Missing, table.Missing
		if h.ClockAheadSeconds != nil {
			clock = fmt.Sprintf("%+.3f s", *h.ClockAheadSeconds)
		}
		if slices.Contains(h.Roles, record.RoleClient) {
			connects = table.Count(h.Connects)
		}
		machine := h.Architecture
		if h.Emulated {
			machine += ", emulated"
		}
		rows = append(rows, append(row, machine, h.Kernel, fmt.Sprint(len(h.UsableCPUs)),
			h.NoFileHard, memory(h.AvailableBytes), memory(h.FreeBytes), clock, connects))
	}
	head := []string{"host", "role", "machine", "kernel", "CPUs", "open files", "memory free", "disk free", "clock", "connects"}
	if err := table.Print(w, table.Width(w), head, rows); err != nil {
		return err
	}
	for _, h := range hosts {
		for _, line := range slices.Concat(h.Problems, h.Notes) {
			fmt.Fprintf(w, "%s: %s\n", h.Name, line)
		}
	}
	return nil
}

func memory(bytes *int64) string {
	if bytes == nil {
		return table.Missing
	}
	return table.Memory(*bytes)
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
		return fmt.Errorf("lab %s is not ready: see what is said of %s", name, table.List(names))
	}
	return nil
}

// sources are the programs besides the servers, by name, and where in the tree
// they are built from.
var sources = map[string]string{"connbench": "./harness/connbench", "swarm": "./clients/swarm"}

// own is the path of one of our own programs for an architecture, as Go names it:
// that of this one is built already, by make.
func (p *places) own(ctx context.Context, name, architecture string) (string, error) {
	if err := p.find(); err != nil {
		return "", err
	}
	if architecture == runtime.GOARCH {
		return filepath.Join(p.bin, name), nil
	}
	path := filepath.Join(p.binFor(architecture), name)
	tree, err := sourceTree()
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(tree, "go.mod")); err != nil {
		return "", fmt.Errorf("%s must be built for it, and its sources are not in %s", name, tree)
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=auto", "-o", path, sources[name])
	build.Dir = tree
	build.Env = append(os.Environ(), variant.BuildEnvironment(architecture)...)
	output, err := build.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("%s must be built for it, and go is missing here", name)
	}
	if err != nil {
		return "", fmt.Errorf("building %s for %s: %w\n%s", name, architecture, err, output)
	}
	return path, nil
}

// binFor is the folder of programs for an architecture, as Go names it.
func (p *places) binFor(architecture string) string {
	if architecture == runtime.GOARCH {
		return p.bin
	}
	return filepath.Join(p.bin, architecture)
}

// labNames are what the shell can complete: names up to where they vary.
func labNames() []string {
	var names []string
	for _, name := range lab.Names {
		fixed, _, _ := strings.Cut(name, "[")
		if !strings.ContainsRune(fixed, ' ') { // a word about files, which the shell completes itself
			names = append(names, fixed)
		}
	}
	return names
}
