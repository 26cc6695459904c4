package bench

import (
	"fmt"

	"connbench/harness/build"
	"connbench/harness/explain"
	"connbench/harness/history"
	"connbench/harness/record/folder"
	"connbench/harness/sizing"
)

// Capacity answers a need from the run in the folder dir, or, if dir is "", from the newest
// runs in a tree with these folders that can be trusted.
func Capacity(folders build.Tree, dir string, need sizing.Need) (sizing.Answer, error) {
	if dir == "" {
		tree, err := build.Find(folders)
		if err != nil {
			return sizing.Answer{}, err
		}
		answer := history.Capacity(tree.Results, need)
		if len(answer.Estimates) == 0 {
			return answer, explain.Hint(fmt.Errorf("%s has no run that can be trusted", tree.Results), "make one: make bench")
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
