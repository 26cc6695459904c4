// Package overview says what a report shows of a run, whatever its form: the sentences
// at the top, the tables with their notes, and the remarks below. A table is one entry;
// its columns are the figures that say that they stand in it, and what it adds itself.
package overview

import (
	"fmt"
	"slices"

	"connbench/harness/figure"
	"connbench/harness/record"
	"connbench/harness/table"
)

// Run is a run with its trials gathered by variant.
type Run struct {
	*record.Run
	Variants []figure.Variant
	// Label names a variant as briefly as can be.
	Label func(figure.Variant) string
}

// Gather gathers the trials of a run.
func Gather(run *record.Run) Run {
	variants := figure.Variants(run)
	return Run{run, variants, figure.Labels(variants)}
}

// Table is one table with a row for each variant.
type Table struct {
	// Name is what figures call it by.
	Name  figure.Table
	Title string
	// Rows returns its rows in a run; nil: every variant has one.
	Rows func(Run) []figure.Variant
	// Columns returns its columns in a run besides those of figures.
	Columns func(Run) []Column
	// Notes are the notes in a run besides those of its columns; nil for none.
	Notes func(Run) []string
	// Shown says whether a run has the table; nil: where it has one of its figures.
	Shown func(Run) bool
}

// Column is a column that is no figure's.
type Column struct {
	table.Column
	// Place is its place among the figures, see [figure.Add]. It follows those of
	// the same place.
	Place int
	Cell  func(figure.Variant) table.Cell
	// Doubt says why a cell is not believed, and is its footnote; nil for none.
	Doubt func(figure.Variant) string
	Notes []string
}

// Last is the place behind all figures.
const Last = 1 << 20

// Words is a column of words.
func Words(place int, title string, of func(figure.Variant) string) Column {
	return Column{Column: table.Column{Title: title, Text: true}, Place: place, Cell: func(v figure.Variant) table.Cell { return table.Words(of(v)) }}
}

type entry struct {
	place int
	Table
}

var (
	entries []entry
	notes   = map[string][]func(*record.Run) []string{}
	opening []func(Run) string
)

// Add enters a table into the list of all. Tables are in the order of place. Call it
// from a package's variables or init. It panics if the entry is incomplete or its name
// is taken.
func Add(place int, t Table) Table {
	if t.Name == "" || t.Title == "" || t.Columns == nil {
		panic(fmt.Sprintf("table %q: Name, Title and Columns must be given", t.Name))
	}
	if slices.ContainsFunc(entries, func(e entry) bool { return e.Name == t.Name }) {
		panic(fmt.Sprintf("table %q is in the list already", t.Name))
	}
	entries = append(entries, entry{place, t})
	slices.SortStableFunc(entries, func(a, b entry) int { return a.place - b.place })
	return t
}

// AddNote has notes put below every table that shows a figure.
func AddNote(f figure.Figure, of ...func(*record.Run) []string) bool {
	notes[f.Name] = append(notes[f.Name], of...)
	return true
}

// AddOpening enters a way to begin the summary of a run, for phases that change the
// question. The first that says something takes the place of the usual one, which says
// how many connections were held.
func AddOpening(of func(Run) string) bool {
	opening = append(opening, of)
	return true
}

// Tables are the tables of a run.
func Tables(run *record.Run) []table.Table {
	gathered := Gather(run)
	var list []table.Table
	for _, e := range entries {
		if t, ok := e.build(gathered); ok {
			list = append(list, t)
		}
	}
	return list
}
