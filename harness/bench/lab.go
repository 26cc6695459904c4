package bench

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"

	"connbench/harness/build"
	"connbench/harness/explain"
	"connbench/harness/lab"
)

// OpenLab opens the lab called name for a swarm with that engine.
func OpenLab(ctx context.Context, tree build.Tree, name, engine string) (*lab.Lab, error) {
	tools, err := labTools(tree)
	if err != nil {
		return nil, err
	}
	opened, err := lab.Open(ctx, name, engine, tools)
	return opened, ofLab(err)
}

// CheckLab looks at every host of the lab called name, as [lab.Check] does.
func CheckLab(ctx context.Context, tree build.Tree, name, engine string) ([]lab.Health, error) {
	tools, err := labTools(tree)
	if err != nil {
		return nil, err
	}
	hosts, err := lab.Check(ctx, name, engine, tools)
	return hosts, ofLab(err)
}

// ofLab marks mistakes in the name of a lab, or in its file, as the caller's.
func ofLab(err error) error {
	if errors.Is(err, lab.ErrUnknown) || errors.Is(err, lab.ErrEngine) {
		return explain.Usage(err)
	}
	return err
}

// labTools are what a lab needs.
func labTools(tree build.Tree) (lab.Tools, error) {
	program, err := os.Executable()
	if err != nil {
		return lab.Tools{}, err
	}
	tools := lab.Tools{Program: program, Vagrant: os.Getenv("VAGRANT_CWD")}
	if source, err := build.Source(); err == nil && tools.Vagrant == "" {
		tools.Vagrant = filepath.Join(source, "vagrant")
	}
	var lock sync.Mutex // several hosts may ask at a time
	tools.Agent = func(ctx context.Context, architecture string) (string, error) {
		lock.Lock()
		defer lock.Unlock()
		return tree.Own(ctx, build.Agent, architecture)
	}
	return tools, nil
}
