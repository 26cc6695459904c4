// Package history finds among earlier runs those that a new one can go by.
package history

import (
	"path/filepath"
	"slices"

	"connbench/harness/publish"
	"connbench/harness/record"
	"connbench/harness/stats"
	"connbench/harness/variant"
)

// Cost is what a connection was measured to take of the server host's memory, user
// and kernel.
type Cost struct {
	Bytes float64
	// Run is the name of the folder of the run that measured it.
	Run string
}

// CostOf is the cost of a connection of choice, as a median over the newest run in
// the folder results that measured it in such a lab with the same engine; false
// where none did.
func CostOf(results string, choice variant.Choice, lab, engine string) (Cost, bool) {
	files, _ := filepath.Glob(filepath.Join(results, "*", record.TrialsFile)) // the pattern is sound
	slices.Sort(files)
	slices.Reverse(files) // names begin with the date
	for _, file := range files {
		run, err := record.Open(filepath.Dir(file))
		if err != nil {
			continue // `connbench report` says what is wrong with it
		}
		var costs []float64
		for _, t := range run.Trials {
			per := t.PerConnection
			if t.Valid && t.Lab == lab && t.Engine == engine && t.Variant == choice.Name && t.Class == choice.Class && per.RSSBytes != nil && per.KernelBytes != nil {
				costs = append(costs, *per.RSSBytes+*per.KernelBytes)
			}
		}
		if len(costs) > 0 {
			return Cost{stats.Summarize(costs).Median, filepath.Base(run.Dir)}, true
		}
	}
	return Cost{}, false
}

// LeastCost is the least of what a connection of each of the choices costs, by
// [CostOf]; nil where no run says.
func LeastCost(results string, choices []variant.Choice, lab, engine string) *Cost {
	var least *Cost
	for _, choice := range choices {
		if cost, ok := CostOf(results, choice, lab, engine); ok && (least == nil || cost.Bytes < least.Bytes) {
			least = &cost
		}
	}
	return least
}

// Baseline is the newest published run in the folder results of a plan and a lab on
// a machine like here, nil where there is none.
func Baseline(results, plan, lab string, here record.Host) (*record.Run, error) {
	runs, err := publish.Published(results)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(runs, func(run *record.Run) bool {
		return len(run.Trials) > 0 && run.Trials[0].Plan == plan && run.Manifest.Lab == lab && publish.SameMachine(run, here)
	})
	if i < 0 {
		return nil, nil
	}
	return runs[i], nil
}
