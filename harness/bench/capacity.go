package bench

import (
	"context"
	"fmt"

	"connbench/harness/build"
	"connbench/harness/explain"
	"connbench/harness/history"
	"connbench/harness/record/folder"
	"connbench/harness/sizing"
	"connbench/harness/table"
)

// Capacity answers a need from the run in the folder dir, or, if dir is "", from the newest
// runs in a tree with these folders that can be trusted. Unless these are asked for a lab,
// they are for this machine, and its first limit for each variant is said as well.
func Capacity(ctx context.Context, folders build.Tree, dir string, need sizing.Need) (sizing.Answer, error) {
	if dir == "" {
		tree, err := build.Find(folders)
		if err != nil {
			return sizing.Answer{}, err
		}
		runs := history.Read(tree.Results)
		answer := runs.Capacity(need)
		if len(answer.Estimates) == 0 {
			return answer, explain.Hint(fmt.Errorf("%s has no run that can be trusted", tree.Results), "make one: make bench")
		}
		if need.Lab == nil {
			addFirstLimits(ctx, tree, runs, answer.Estimates)
		}
		return answer, nil
	}
	run, err := folder.Open(dir)
	if err != nil {
		return sizing.Answer{}, explain.Usage(err)
	}
	answer := sizing.Of(run, need)
	if len(answer.Estimates) == 0 {
		return answer, fmt.Errorf("%s has no valid trial: there is nothing to go by", dir)
	}
	return answer, nil
}

// addFirstLimits adds the limit of this machine that stops each variant first, and where. It
// leaves out what is not known, as for a variant that is no longer there, or where connbench
// is not built.
func addFirstLimits(ctx context.Context, tree build.Tree, runs history.Runs, estimates []sizing.Estimate) {
	p, err := Request{}.toPredict()
	if err != nil {
		return
	}
	here, err := OpenLab(ctx, tree, p.Lab, p.Client.Engine)
	if err != nil {
		return
	}
	defer here.Close()
	for i := range estimates {
		choices, err := tree.Choose([]string{estimates[i].Variant}, p.Classes)
		if err != nil {
			continue
		}
		var prediction Prediction
		err = prediction.predict(ctx, p, here, choices, runs)
		if limit, known := prediction.Binding(); err == nil && known {
			estimates[i].FirstLimit = fmt.Sprintf("%s: %s", table.Number(float64(*limit.Connections)), limit.Name)
		}
	}
}
