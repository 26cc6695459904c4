package overview

import (
	"fmt"
	"slices"

	"connbench/harness/figure"
	"connbench/harness/stats"
	"connbench/harness/table"
)

// builder makes a table column by column.
type builder struct {
	Run
	table     table.Table
	footnotes table.Footnotes
	notes     []string
	// figures is true when some variant has one of the table's figures.
	figures bool
}

// build makes the table of a run; false where the run does not have it.
func (t Table) build(run Run) (table.Table, bool) {
	if t.Shown != nil && !t.Shown(run) {
		return table.Table{}, false
	}
	own := t.Columns(run)
	if t.Rows != nil {
		run.Variants = t.Rows(run)
	}
	b := builder{Run: run, table: table.Table{Title: t.Title, Rows: make([][]table.Cell, len(run.Variants))}}
	slices.SortStableFunc(own, func(a, b Column) int { return a.Place - b.Place })
	for _, f := range figure.Of(run.Run) {
		for len(own) > 0 && own[0].Place < f.Place {
			b.column(own[0])
			own = own[1:]
		}
		if f.In(t.Name) {
			b.figure(f)
		}
	}
	for _, c := range own {
		b.column(c)
	}
	if t.Shown == nil && !b.figures {
		return table.Table{}, false
	}
	if t.Notes != nil {
		b.note(t.Notes(run))
	}
	return b.done(), true
}

func (b *builder) column(c Column) {
	b.add(c.Column, func(v figure.Variant) table.Cell {
		cell := c.Cell(v)
		if c.Doubt != nil {
			cell.Mark = b.footnotes.Mark(c.Doubt(v))
		}
		return cell
	})
	b.note(c.Notes)
}

func (b *builder) add(c table.Column, of func(figure.Variant) table.Cell) {
	b.table.Columns = append(b.table.Columns, c)
	for i, v := range b.Variants {
		b.table.Rows[i] = append(b.table.Rows[i], of(v))
	}
}

func (b *builder) note(texts []string) {
	for _, text := range texts {
		if !slices.Contains(b.notes, text) {
			b.notes = append(b.notes, text)
		}
	}
}

// figure adds a figure's medians with their spreads, and letters at those that do not
// differ significantly.
func (b *builder) figure(f figure.Figure) {
	has := slices.ContainsFunc(b.Variants, func(v figure.Variant) bool { return len(v.Values(f)) > 0 || v.Doubt(f) != "" })
	if f.Optional && !has {
		return
	}
	b.figures = b.figures || has
	summaries, ranking := figure.Rank(b.Variants, f)
	ties := tieLetters(summaries, ranking)
	i := 0
	b.add(table.Column{Title: f.Title, Unit: table.Unit(f.Unit), Means: f.Means}, func(v figure.Variant) table.Cell {
		c := table.Summary(summaries[i], f.Unit)
		c.Mark = b.footnotes.Mark(v.Caveat(f))
		if f.Better != figure.None {
			c.Ties = ties[i]
		}
		i++
		return c
	})
	if f.OverFloor {
		b.add(table.Column{Title: "÷\u00a0floor", Means: f.FullTitle() + " as a multiple of the floor's."}, b.overFloor(f))
	}
	for _, of := range notes[f.Name] {
		b.note(of(b.Run.Run))
	}
}

// overFloor is a figure as a multiple of the floor's.
func (b *builder) overFloor(f figure.Figure) func(figure.Variant) table.Cell {
	return func(v figure.Variant) table.Cell {
		floor := figure.Floor(b.Variants, v)
		if floor == nil {
			return table.Words(table.Missing)
		}
		if v.Device != floor.Device {
			c := table.Words(table.Missing)
			c.Mark = b.footnotes.Mark(v.Note())
			return c
		}
		least, own := floor.Summary(f), v.Summary(f)
		switch {
		case own.N() == 0 || least.N() == 0 || least.Low <= 0:
			c := table.Words(table.Missing)
			c.Mark = b.footnotes.Mark(v.Doubt(f))
			if c.Mark == "" {
				c.Mark = b.footnotes.Mark(floor.Doubt(f))
			}
			return c
		case own.Low <= 0:
			return table.Words("≈ 0")
		}
		ratio := own.Median / least.Median
		return table.Cell{Text: table.Number(ratio), Value: &ratio}
	}
}

// tieLetters gives every sample the letters of the ties it is in, the lowest tie's
// first. Samples that all have one and the same value get none, since readers see that
// they are equal. Nor does any where there are too few rounds to tell.
func tieLetters(samples []stats.Summary, ranking stats.Ranking) []string {
	letters := make([]string, len(samples))
	if ranking.Undecided {
		return letters
	}
	letter := 'a'
	for _, tie := range ranking.Ties {
		tied := ranking.Order[tie[0] : tie[1]+1]
		first := samples[tied[0]].Low
		if !slices.ContainsFunc(tied, func(i int) bool { return samples[i].Low != first || samples[i].High != first }) {
			continue
		}
		for _, i := range tied {
			letters[i] += string(letter)
		}
		letter++
	}
	return letters
}

// done adds the notes. The first says how to read the table.
func (b *builder) done() table.Table {
	b.table.Notes = append(reading(b.table), b.notes...)
	unexplained := func(c table.Cell) bool { return c.Text == table.Missing && c.Mark == "" }
	if slices.ContainsFunc(b.table.Rows, func(row []table.Cell) bool { return slices.ContainsFunc(row, unexplained) }) {
		b.table.Notes = append(b.table.Notes, table.Missing+" not measured; the trials listed below say why.")
	}
	b.table.Notes = append(b.table.Notes, b.footnotes.Lines()...)
	return b.table
}

// reading explains the figures, the ± and the letters of a table, which depends on the
// number of rounds behind them.
func reading(t table.Table) []string {
	least, most, ties, interval := 0, 0, false, 0
	for _, row := range t.Rows {
		for _, c := range row {
			if n := c.Summary.N(); n > 0 && c.Mark == "" { // a footnote says of others how many
				most = max(most, n)
				if least == 0 || n < least {
					least = n
				}
				if c.Summary.Interval {
					interval = max(interval, n)
				}
			}
			ties = ties || c.Ties != ""
		}
	}
	var text string
	switch {
	case most == 0:
		return nil
	case most == 1:
		return []string{"One round: the spread of the figures is unknown, so no differences are marked. That takes three rounds."}
	case least == most:
		text = fmt.Sprintf("Medians of %s", table.Plural(most, "round"))
	default:
		text = fmt.Sprintf("Medians of %d to %s", least, table.Plural(most, "round"))
	}
	switch {
	case interval == 0:
		text += "; ± spans all of them (a 95% interval takes six)."
	case least < 6:
		text += "; ± is the 95% interval of the median, or spans all rounds where they are fewer than six."
	default:
		text += "; ± is the 95% interval of the median."
	}
	switch {
	case least < 3:
		text += " Too few to tell which figures differ: that takes three."
	case ties:
		text += " Figures of a column that share a letter are within the noise of each other; the rest differ" + differ(least) + "."
	default:
		text += " All unequal figures of a column differ" + differ(least) + "."
	}
	return []string{text}
}

// differ says what it means that two figures differ, see [stats.Compare].
func differ(rounds int) string {
	if rounds == 3 {
		return ": with three rounds, the gap between their ranges is wider than either range"
	}
	return " at the 95% level, tested pair by pair"
}
