package report

import (
	"io"

	"connbench/harness/figure"
	"connbench/harness/plain"
	"connbench/harness/record"
	"connbench/harness/table"
)

// tracked is an entry of what github-action-benchmark calls customSmallerIsBetter
// (github.com/benchmark-action/github-action-benchmark).
type tracked struct {
	Name  string  `json:"name"`
	Unit  string  `json:"unit"`
	Value float64 `json:"value"`
	Range string  `json:"range,omitempty"`
	Extra string  `json:"extra,omitempty"`
}

// writeTracking writes the medians that are the better the smaller they are, for a history
// over commits. Builds of other revisions are left out.
func writeTracking(w io.Writer, run *record.Run) error {
	earlier := map[string]bool{}
	for _, v := range run.Manifest.Variants {
		earlier[v.Name] = v.Commit != ""
	}
	list := []tracked{}
	for _, v := range figure.Variants(run) {
		if earlier[v.Name] {
			continue
		}
		for _, f := range figure.Of(run) {
			s := v.Summary(f)
			if f.Better != figure.Lower || !f.In(figure.TableComparison) || s.N() == 0 {
				continue
			}
			entry := tracked{Name: v.String() + ": " + f.FullTitle(), Unit: f.Unit.Name, Value: s.Median, Extra: table.Plural(s.N(), "round")}
			if s.N() > 1 {
				entry.Range = table.Summary(s, f.Unit).Spread
			}
			list = append(list, entry)
		}
	}
	return plain.JSON(w, list)
}
