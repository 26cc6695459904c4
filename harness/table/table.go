// Package table writes tables for people, to terminals and as Markdown, and the numbers
// in them.
package table

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/pkg/twwidth"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"

	"connbench/harness/figure"
	"connbench/harness/plain"
	"connbench/harness/stats"
)

// Table is a table before it is written as text, Markdown or HTML.
type Table struct {
	Title   string
	Columns []Column
	Rows    [][]Cell
	// Notes are the lines below it.
	Notes []string
}

// Column is the head of a column.
type Column struct {
	Title, Unit string
	// Text says that the column holds words rather than numbers.
	Text bool
	// Means is the definition, for readers who ask.
	Means string
}

// Cell is one entry: a figure with its spread and the letters that it shares with those
// figures of its column from which it does not differ.
type Cell struct {
	Text, Spread, Ties string
	// Mark points to a footnote, "¹".
	Mark string
	// Value is what the page sorts by, nil for words.
	Value *float64
	// Summary has the rounds behind a figure.
	Summary stats.Summary
}

// String is the entry as it is read.
func (c Cell) String() string {
	return strings.TrimSpace(strings.Join([]string{c.Text + c.Mark, c.Spread, c.Ties}, " "))
}

// Words is an entry without a figure.
func Words(text string) Cell { return Cell{Text: text} }

// Summary shows a median over the rounds with its spread, in the unit that people read.
func Summary(s stats.Summary, u figure.Unit) Cell {
	format := Value(u)
	if s.N() == 0 {
		return Words(Missing)
	}
	c := Cell{Text: format(s.Median), Value: &s.Median, Summary: s}
	switch spread := s.Spread(); {
	case s.High == s.Low:
	case spread < 1:
		c.Spread = "±" + Percent(spread)
	case s.Low > 0: // far apart, but not 0: both ends, and the median as it is
		c.Spread = format(s.Low) + "–" + format(s.High)
	default: // it may as well be 0: a relative spread would say nothing
		half := math.Max(u.Finest, scale(u)*math.Max(s.High-s.Median, s.Median-s.Low))
		c.Text, c.Spread = NumberTo(scale(u)*s.Median, half), "±"+NumberTo(half, half)
	}
	return c
}

// WriteMarkdown writes the table as Markdown.
func (t Table) WriteMarkdown(w io.Writer) error {
	head := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		head[i] = Markdown(c.Title)
		if c.Unit != "" {
			head[i] += ", " + Markdown(c.Unit)
		}
	}
	rows := make([][]string, len(t.Rows))
	for i, row := range t.Rows {
		for _, c := range row {
			rows[i] = append(rows[i], Markdown(c.String()))
		}
	}
	return draw(w, renderer.NewMarkdown(), head, rows, t.alignment())
}

// WriteText writes the table for a terminal of the given width in columns. It cuts a wider
// table between columns and repeats the first column in each part.
func (t Table) WriteText(w io.Writer, width int) error {
	rows := t.alignedRows()
	head := t.heads(rows)
	alignment := t.alignment()
	for _, columns := range t.parts(head, rows, width) {
		style := renderer.NewBlueprint(tw.Rendition{
			Symbols: tw.NewSymbols(tw.StyleLight),
			Borders: tw.Border{Left: tw.Off, Right: tw.Off, Top: tw.Off, Bottom: tw.Off},
		})
		partRows := make([][]string, len(rows))
		for i, row := range rows {
			partRows[i] = pick(row, columns)
		}
		if err := draw(w, style, lower(pick(head, columns)), partRows, pick(alignment, columns)); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	return nil
}

func draw(w io.Writer, style tw.Renderer, head []string, rows [][]string, alignment []tw.Align) error {
	plainCells := tw.CellFormatting{AutoWrap: tw.WrapNone, AutoFormat: tw.Off}
	out := tablewriter.NewTable(w,
		tablewriter.WithRenderer(style),
		tablewriter.WithTrimSpace(tw.Off), // figures are aligned by spaces
		tablewriter.WithConfig(tablewriter.Config{
			Header: tw.CellConfig{Formatting: plainCells, Alignment: tw.CellAlignment{PerColumn: alignment}},
			Row:    tw.CellConfig{Formatting: plainCells, Alignment: tw.CellAlignment{PerColumn: alignment}},
		}),
	)
	out.Header(head)
	for _, row := range rows {
		if err := out.Append(row); err != nil {
			return fmt.Errorf("table: %w", err)
		}
	}
	if err := out.Render(); err != nil {
		return fmt.Errorf("table: %w", err)
	}
	return nil
}

func (t Table) alignment() []tw.Align {
	var alignment []tw.Align
	for _, c := range t.Columns {
		if c.Text {
			alignment = append(alignment, tw.AlignLeft)
		} else {
			alignment = append(alignment, tw.AlignRight)
		}
	}
	return alignment
}

// alignedRows are the cells as text, with the numbers, spreads and letters of a column
// aligned.
func (t Table) alignedRows() [][]string {
	rows := make([][]string, len(t.Rows))
	for at, c := range t.Columns {
		var spread, ties int
		for _, row := range t.Rows {
			spread = max(spread, twwidth.Width(row[at].Spread))
			ties = max(ties, len(row[at].Ties))
		}
		for i, row := range t.Rows {
			text := plain.Line(row[at].Text) + row[at].Mark
			if spread > 0 {
				text += " " + padLeft(row[at].Spread, spread)
			}
			if ties > 0 {
				text += fmt.Sprintf(" %-*s", ties, row[at].Ties)
			}
			if c.Text {
				text = plain.Line(row[at].String())
			}
			rows[i] = append(rows[i], text)
		}
	}
	return rows
}

// heads are the heads of the columns, broken into lines no longer than the column is
// wide, with the unit in the last line.
func (t Table) heads(rows [][]string) []string {
	lines := make([][]string, len(t.Columns))
	tallest := 0
	units := slices.ContainsFunc(t.Columns, func(c Column) bool { return c.Unit != "" })
	for i, c := range t.Columns {
		width := 0
		for _, row := range rows {
			width = max(width, twwidth.Width(row[i]))
		}
		for word := range strings.SplitSeq(c.Title, " ") {
			last := len(lines[i]) - 1
			if last >= 0 && twwidth.Width(lines[i][last]+" "+word) <= width {
				lines[i][last] += " " + word
			} else {
				lines[i] = append(lines[i], word)
			}
		}
		if units {
			lines[i] = append(lines[i], c.Unit)
		}
		tallest = max(tallest, len(lines[i]))
	}
	heads := make([]string, len(lines))
	for i := range heads {
		heads[i] = strings.Repeat("\n", tallest-len(lines[i])) + strings.Join(lines[i], "\n")
	}
	return heads
}

// lower removes the empty lines at the top that all heads have.
func lower(heads []string) []string {
	for !slices.ContainsFunc(heads, func(head string) bool { return !strings.HasPrefix(head, "\n") }) {
		for i := range heads {
			heads[i] = heads[i][1:]
		}
	}
	return heads
}

func padLeft(text string, width int) string {
	return strings.Repeat(" ", max(0, width-twwidth.Width(text))) + text
}

// parts groups the columns so that each group, with the first column before it,
// fits the width. A group has at least one column of its own.
func (t Table) parts(head []string, rows [][]string, width int) [][]int {
	const between = 3 // " │ "
	widths := make([]int, len(head))
	for i, title := range head {
		for line := range strings.SplitSeq(title, "\n") {
			widths[i] = max(widths[i], twwidth.Width(line))
		}
		for _, row := range rows {
			widths[i] = max(widths[i], twwidth.Width(row[i]))
		}
	}
	const outside = 2 // a space at either end
	parts := [][]int{{0}}
	used := outside + widths[0]
	for i := 1; i < len(head); i++ {
		last := len(parts) - 1
		if used += between + widths[i]; used > width && len(parts[last]) > 1 {
			parts = append(parts, []int{0})
			last++
			used = outside + widths[0] + between + widths[i]
		}
		parts[last] = append(parts[last], i)
	}
	return parts
}

func pick[T any](list []T, at []int) []T {
	var picked []T
	for _, i := range at {
		picked = append(picked, list[i])
	}
	return picked
}
