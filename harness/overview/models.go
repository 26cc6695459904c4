package overview

import (
	"fmt"
	"strings"

	"connbench/harness/figure"
	"connbench/harness/record"
	"connbench/harness/table"
	"connbench/harness/variant"
)

// fewModels is the number of I/O models below which a run does not compare models.
const fewModels = 3

// byModel says of each I/O model what its variants cost, from the least to the most, for
// runs that measure several models.
func byModel(run *record.Run) []string {
	r := Gather(run)
	groups := map[string][]figure.Variant{}
	for _, v := range r.Variants {
		if model := variant.ModelOf(v.Model); model != "" && len(v.Valid) > 0 {
			groups[model] = append(groups[model], v)
		}
	}
	if len(groups) < fewModels {
		return nil
	}
	var lines []string
	for _, model := range variant.Models {
		var parts []string
		for _, f := range figure.Of(run) {
			if !f.In(figure.TableRepeatability) {
				continue
			}
			if text := r.span(groups[model], f); text != "" {
				parts = append(parts, f.Title+" "+text)
			}
		}
		if len(parts) > 0 {
			lines = append(lines, model+": "+strings.Join(parts, "; "))
		}
	}
	return lines
}

// span is the least and the largest median of a figure among variants, each with its
// variant, "" where none has it.
func (run Run) span(variants []figure.Variant, f figure.Figure) string {
	var least, most *figure.Variant
	median := func(v *figure.Variant) float64 { return v.Summary(f).Median }
	for i := range variants {
		v := &variants[i]
		if v.Summary(f).N() == 0 || v.ClientBound(f) != "" {
			continue
		}
		if least == nil || median(v) < median(least) {
			least = v
		}
		if most == nil || median(v) > median(most) {
			most = v
		}
	}
	if least == nil {
		return ""
	}
	value := func(v *figure.Variant) string {
		return fmt.Sprintf("%s (%s)", table.Value(f.Unit)(median(v)), run.Label(*v))
	}
	text := value(least)
	if most != least {
		text += " to " + value(most)
	}
	if unit := table.Unit(f.Unit); unit != "" {
		text += " " + unit
	}
	return text
}
