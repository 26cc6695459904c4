package overview

import (
	"fmt"
	"slices"
	"strings"

	"connbench/harness/environment"
	"connbench/harness/figure"
	"connbench/harness/plan"
	"connbench/harness/table"
)

// Reference is the documentation of all figures, a Markdown list.
func Reference() string {
	var out strings.Builder
	for _, f := range figure.Documented() {
		better := ""
		if f.Better != figure.None {
			better = ", " + f.Better.String() + " is better"
		}
		unit := table.Unit(f.Unit)
		if unit == "" {
			unit = "a number"
		}
		fmt.Fprintf(&out, "- `%s` is *%s* (%s%s). %s%s\n", f.Name, table.Markdown(f.FullTitle()), table.Markdown(unit), better, table.Markdown(f.Means), dependence(f))
	}
	fmt.Fprintf(&out, "\n*Speed* is %s.\n", table.List(words(figure.Speed)))
	return out.String()
}

// dependence says on what a figure depends, "" where on nothing.
func dependence(f figure.Figure) string {
	var list []string
	rest := slices.Clone(f.Depends)
	if !slices.ContainsFunc(figure.Speed, func(fact environment.Fact) bool { return !slices.Contains(rest, fact) }) {
		list = []string{"speed"}
		rest = slices.DeleteFunc(rest, func(fact environment.Fact) bool { return slices.Contains(figure.Speed, fact) })
	}
	list = append(list, words(rest)...)
	for _, key := range plan.Keys() {
		if key.Phase != "" && key.Phase == f.Phase {
			list = append(list, "plan."+key.Path)
		}
	}
	if len(list) == 0 {
		return ""
	}
	return " Depends on " + table.List(list) + "."
}

func words(facts []environment.Fact) []string {
	var list []string
	for _, fact := range facts {
		list = append(list, string(fact))
	}
	return list
}
