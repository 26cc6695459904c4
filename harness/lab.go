package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"connbench/harness/lab"
	"connbench/harness/variant"
)

// openLab makes the lab called name for a swarm with that engine, with this
// program as its hosts' agent.
func (p *places) openLab(ctx context.Context, name, engine string) (*lab.Lab, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
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
	opened, err := lab.Open(ctx, name, engine, tools)
	if errors.Is(err, lab.ErrUnknown) || errors.Is(err, lab.ErrEngine) {
		return nil, usage(err)
	}
	return opened, err
}

// sources are the programs besides the servers, by name, and where in the tree
// they are built from.
var sources = map[string]string{"connbench": "./harness", "swarm": "./clients/swarm"}

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
		names = append(names, fixed)
	}
	return names
}
