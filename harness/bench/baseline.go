package bench

import (
	"context"

	"connbench/harness/build"
	"connbench/harness/explain"
	"connbench/harness/history"
	"connbench/harness/record"
)

// Baseline is the newest published run of the plan and lab that r asks for, on such a
// machine. Without one it fails as a mistake of the caller.
func Baseline(ctx context.Context, tree build.Tree, r Request) (*record.Run, error) {
	plan, err := r.Resolve()
	if err != nil {
		return nil, err
	}
	theLab, err := OpenLab(ctx, tree, plan.Lab, plan.Client.Engine)
	if err != nil {
		return nil, err
	}
	defer theLab.Close()
	run, err := history.Baseline(tree.Results, plan.Name, theLab.Name, theLab.Server.Facts)
	if err != nil {
		return nil, explain.Usage(err)
	}
	if run == nil {
		return nil, explain.Hint(explain.Usagef("no run of plan %s on such a machine is published in %s", plan.Name, tree.Results),
			"make one (make bench PLAN=%s, then make publish RUN=…), or name a run with --against", plan.Name)
	}
	return run, nil
}
