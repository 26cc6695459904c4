package reference

import (
	"fmt"
	"reflect"
	"strings"

	"connbench/harness/figure"
	"connbench/harness/phase"
	_ "connbench/harness/phase/all"
	"connbench/harness/record"
	"connbench/harness/table"
)

// Phases returns the page about the phases of a trial.
func Phases() (string, error) {
	p := newPage("The phases of a trial")
	p.paragraph("A trial measures one server, fresh, in these phases and in this order. A plan says which of them there are. " +
		"Each is one file below this folder.")
	trial, err := objectsOf(reflect.TypeFor[record.Trial]())
	if err != nil {
		return "", err
	}
	for _, ph := range phase.All() {
		p.heading(2, code(ph.Name))
		about := []string{ph.About}
		if ph.OwnServer {
			about = append(about, "It has a fresh server of its own.")
		}
		if ph.Opens {
			about = append(about, "The memory reserve of the plan can end it.")
		}
		if ph.Table != nil {
			about = append(about, fmt.Sprintf("Its part of a plan is [%s](../plan/README.md%s).", code("["+ph.Table.Name()+"]"), anchor(ph.Table.Name())))
		}
		if len(ph.Finds) > 0 {
			var names []string
			for _, found := range ph.Finds {
				names = append(names, fmt.Sprintf("[%s](../../%s%s)", code(found.Name()), recordFile, anchor(trial.of(found.Type()).heading())))
			}
			about = append(about, fmt.Sprintf("Its part of a record is %s.", table.List(names)))
		}
		p.paragraph("%s", strings.Join(about, " "))
		var rows [][]string
		for _, f := range figuresOf(ph) {
			rows = append(rows, []string{code(f.Name), table.Unit(f.Unit), f.Better.String(), f.Means})
		}
		p.table([]string{"figure", "unit", "better", "meaning"}, rows)
	}
	return p.String(), nil
}

// figuresOf returns the figures of a phase, with an example of each family.
func figuresOf(ph phase.Phase) (list []figure.Figure) {
	for _, f := range figure.Documented() {
		if f.Phase == ph.Name {
			list = append(list, f)
		}
	}
	return list
}
