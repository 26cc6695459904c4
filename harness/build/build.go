// Package build finds the source tree and builds programs from it: the servers, and
// connbench's own for hosts of another architecture.
package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"connbench/harness/explain"
	"connbench/harness/subprocess"
	"connbench/harness/tail"
	"connbench/harness/variant"
)

// Tree is the folders that connbench works with.
type Tree struct {
	Servers string // the variants
	Bin     string // built programs
	Results string // runs
}

// Find fills in the folders that were not named ("") from the source tree: the
// folder that holds servers/, which is searched for from the working directory
// upwards, and then from the program's own place.
func Find(t Tree) (Tree, error) {
	if t.Servers == "" {
		source, err := Source()
		if err != nil {
			return t, err
		}
		t.Servers = filepath.Join(source, "servers")
	}
	beside := filepath.Dir(t.Servers)
	if t.Bin == "" {
		t.Bin = filepath.Join(beside, "bin")
	}
	if t.Results == "" {
		t.Results = filepath.Join(beside, "results")
	}
	return t, nil
}

// Source is the root of the source tree.
func Source() (string, error) {
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
	return "", explain.Hint(explain.Usagef("no servers/ in %s or above it", working),
		"run connbench in its source tree, or name the folder with --servers")
}

// Variants are all variants of the tree.
func (t Tree) Variants() ([]variant.Variant, error) {
	all, err := variant.Discover(t.Servers)
	return all, explain.Usage(err)
}

// Choose picks variants by name ("gnet", or "gnet/default"), or all where there is
// no name. A bare name means the variant in each of classes that it has.
func (t Tree) Choose(names, classes []string) ([]variant.Choice, error) {
	all, err := t.Variants()
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		for _, v := range all {
			names = append(names, v.Name)
		}
	}
	choices, err := variant.Select(all, names, classes)
	return choices, explain.Usage(err)
}

// Build builds choices for an architecture, as Go names it, and says of each that
// it does. It builds what it can: the error lists all that failed.
func (t Tree) Build(ctx context.Context, choices []variant.Choice, architecture string, say func(format string, args ...any)) (programs []variant.Program, err error) {
	for _, choice := range choices {
		if architecture == runtime.GOARCH {
			say("building %s", choice)
		} else {
			say("building %s for %s", choice, architecture)
		}
		program, failed := choice.Build(ctx, filepath.Join(t.binFor(architecture), "servers"), architecture)
		switch {
		case ctx.Err() != nil:
			return programs, failed
		case failed != nil:
			err = errors.Join(err, failed)
		default:
			programs = append(programs, program)
		}
	}
	return programs, err
}

// binFor is the folder of programs for an architecture.
func (t Tree) binFor(architecture string) string {
	if architecture == runtime.GOARCH {
		return t.Bin
	}
	return filepath.Join(t.Bin, architecture)
}

// Names of connbench's own programs.
const (
	Agent = "connbench-agent"
	Swarm = "swarm"
)

// packages are where connbench's own programs are built from, in the source tree.
var packages = map[string]string{Agent: "./harness/agent/connbench-agent", Swarm: "./clients/swarm"}

// buildPatience bounds a build.
const buildPatience = 20 * time.Minute

// Own is the path of one of connbench's own programs for an architecture: make has
// built it for this one, for others it is built here.
func (t Tree) Own(ctx context.Context, name, architecture string) (string, error) {
	path, err := filepath.Abs(filepath.Join(t.binFor(architecture), name)) // it may be run in another folder
	if err != nil {
		return "", err
	}
	if architecture == runtime.GOARCH {
		if _, err := os.Stat(path); err != nil {
			return "", explain.Hint(err, "make build, or name the folder of built programs with --bin")
		}
		return path, nil
	}
	source, err := Source()
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(source, "go.mod")); err != nil {
		return "", fmt.Errorf("%s must be built for %s, and its sources are not in %s", name, architecture, source)
	}
	var output tail.Tail
	err = subprocess.Run(ctx, buildPatience, func(build *exec.Cmd) {
		build.Dir = source
		build.Env = append(os.Environ(), variant.BuildEnvironment(architecture)...)
		build.Stdout, build.Stderr = &output, &output
	}, "go", "build", "-trimpath", "-buildvcs=false", "-o", path, packages[name])
	if errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("%s must be built for %s, and go is missing here", name, architecture)
	}
	if err != nil {
		return "", fmt.Errorf("building %s for %s: %w\n%s", name, architecture, err, strings.TrimSpace(output.Head()))
	}
	return path, nil
}
