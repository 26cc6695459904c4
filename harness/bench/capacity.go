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
// runs in a tree with these folders that can be trusted. These are asked for this machine,
// so its first limit for each variant is said as well.
func Capacity(ctx context.Context, folders build.Tree, dir string, need sizing.Need) (sizing.Answer, error) {
	if dir == "" {
		tree, err := build.Find(folders)
		if err != nil {
			return sizing.Answer{}, err
		}
		answer := history.Capacity(tree.Results, need)
		if len(answer.Estimates) == 0 {
			return answer, explain.Hint(fmt.Errorf("%s has no run that can be trusted", tree.Results), "make one: make bench")
		}
		for i := range answer.Estimates {
			answer.Estimates[i].FirstLimit = firstLimit(ctx, tree, answer.Estimates[i].Variant)
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

// firstLimit is the limit of this machine that stops a variant first, and where; "" where
// that is not known, as for a variant that is no longer there.
func firstLimit(ctx context.Context, tree build.Tree, variant string) string {
	prediction, err := Predict(ctx, tree, Request{Variants: []string{variant}})
	limit, known := prediction.Binding()
	if err != nil || !known {
		return ""
	}
	return fmt.Sprintf("%s: %s", table.Number(float64(*limit.Connections)), limit.Name)
}
