package bench

import (
	"context"
	"os"
	"sync"

	"connbench/clients/control"
	"connbench/harness/build"
	"connbench/harness/explain"
	"connbench/harness/lab"
)

// OpenLab opens the lab called name for a swarm with that engine.
func OpenLab(ctx context.Context, tree build.Tree, name, engine string) (*lab.Lab, error) {
	o, err := labOptions(tree, engine)
	if err != nil {
		return nil, err
	}
	return lab.Open(ctx, name, o)
}

// OpenPods opens a lab whose server hosts are pods that run already: see [lab.Options.Pods].
func OpenPods(ctx context.Context, tree build.Tree, name, pods string) (*lab.Lab, error) {
	o, err := labOptions(tree, control.EngineSocket)
	if err != nil {
		return nil, err
	}
	o.Pods = pods
	return lab.Open(ctx, name, o)
}

// CheckLab looks at every host of the lab called name, as [lab.Check] does.
func CheckLab(ctx context.Context, tree build.Tree, name, engine string) ([]lab.Health, error) {
	o, err := labOptions(tree, engine)
	if err != nil {
		return nil, err
	}
	return lab.Check(ctx, name, o)
}

// labOptions are what a lab is opened with.
func labOptions(tree build.Tree, engine string) (lab.Options, error) {
	program, err := os.Executable()
	if err != nil {
		return lab.Options{}, err
	}
	o := lab.Options{Engine: engine, Program: program, Left: func(err error) { explain.Print(os.Stderr, err) }}
	if source, err := build.Source(); err == nil {
		o.Source = source
	}
	var lock sync.Mutex // several hosts may ask at a time
	o.Agent = func(ctx context.Context, architecture string) (string, error) {
		lock.Lock()
		defer lock.Unlock()
		return tree.Own(ctx, build.Agent, architecture)
	}
	return o, nil
}
