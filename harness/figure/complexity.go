package figure

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"connbench/harness/record"
)

const phaseComplexity = "complexity"

// Kept are the connections that were kept as a message takes more work, one figure for
// each amount of work.
var Kept = AddFamily(PlaceLoads+100, Family{
	Name:    "complexity.kept.",
	Example: "complexity.kept.100us",
	Members: func(runs ...*record.Run) (list []Figure) {
		for _, work := range works(runs) {
			list = append(list, kept(work))
		}
		return list
	},
	Named: func(name string) (Figure, bool) {
		key, is := strings.CutPrefix(name, "complexity.kept.")
		work, err := strconv.Atoi(strings.TrimSuffix(key, "us"))
		if !is || err != nil || key != record.WorkKey(work) {
			return Figure{}, false
		}
		return kept(work), true
	},
	Intro: "Active connections kept as a message takes more work, in the runs that asked; their plans say at which rate and latency:",
	Curve: &Curve{
		Name: "complexity", Title: "Active connections kept as a message takes more work",
		About: "Medians of the rounds, and how far they are uncertain. Both axes are logarithmic; no work at all stands at the left end.",
		X:     "CPU time that a message takes in its handler, µs", Y: "active connections", Point: "connections at %g µs a message",
	},
})

func kept(workUS int) Figure {
	key := record.WorkKey(workUS)
	return Figure{
		Name: "complexity.kept." + key, Title: fmt.Sprintf("kept at %d µs", workUS), Unit: UnitConnections,
		Kind: Capacity, Better: Higher, Phase: phaseComplexity, Parameter: float64(workUS),
		Means: fmt.Sprintf("Active connections that the server kept with every message taking it %d µs of CPU: the largest number found at which 99 %% of the messages came back and their 99th percentile stayed within the plan's bound.", workUS),
		Of: func(t *record.Trial) *float64 {
			if t.Complexity == nil {
				return nil
			}
			n, found := t.Complexity.Kept[key]
			if !found {
				return nil
			}
			return Int(&n)
		},
		Depends: Pace,
		Tables:  []Table{TableComplexity, TableTrials, TableRepeatability, TableComparison},
		Says:    &Sentence{fmt.Sprintf("With %d µs of work a message, ", workUS), " active connections are kept"},
	}
}

// works are the amounts of work, in microseconds, for which runs have the connections
// kept, ascending.
func works(runs []*record.Run) []int {
	found := map[int]bool{}
	for _, run := range runs {
		for _, trial := range run.Trials {
			if trial.Complexity == nil {
				continue
			}
			for key := range trial.Complexity.Kept {
				if work, err := strconv.Atoi(strings.TrimSuffix(key, "us")); err == nil {
					found[work] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}
