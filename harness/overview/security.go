package overview

import (
	"slices"

	"connbench/harness/figure"
	"connbench/harness/stats"
	"connbench/harness/table"
	"connbench/harness/variant"
)

// What TLS adds, in runs that measure the same servers with it and without.
var _ = Add(250, Table{
	Name: "security", Title: "TLS: what it adds to a connection without it",
	Rows: secured, Shown: func(run Run) bool { return len(secured(run)) > 0 },
	Columns: func(run Run) []Column {
		columns := Labels(run)
		for _, f := range figure.Of(run.Run) {
			if !addedTo(f) {
				continue
			}
			if column, measured := added(run, f); measured {
				columns = append(columns, column)
			}
		}
		return columns
	},
	Notes: func(Run) []string {
		return []string{"Each round's figure with TLS, less that of the same server without it in the same round."}
	},
})

// addedTo says whether the table has a figure: the memory of a connection, and the CPU time
// of something that a connection does.
func addedTo(f figure.Figure) bool {
	return f.In(figure.TableCost) && f.Phase != "hold" || f.Kind == figure.CPU && f.In(figure.TableLoad)
}

// secured are the variants with TLS that are measured without it too.
func secured(run Run) (list []figure.Variant) {
	for _, v := range run.Variants {
		if plain(run, v) != nil {
			list = append(list, v)
		}
	}
	return list
}

// plain is a variant with TLS without it, nil if it is not measured.
func plain(run Run, v figure.Variant) *figure.Variant {
	trials := slices.Concat(v.Valid, v.Invalid)
	if len(trials) == 0 {
		return nil
	}
	name := variant.Plain(v.Name, trials[0].Security)
	if name == v.Name {
		return nil // without TLS, or somebody else's, which is measured one way alone
	}
	at := slices.IndexFunc(run.Variants, func(other figure.Variant) bool { return other.Name == name && other.Class == v.Class })
	if at < 0 {
		return nil
	}
	return &run.Variants[at]
}

// added is a column of what TLS adds to a figure, and whether a variant has that.
func added(run Run, f figure.Figure) (c Column, measured bool) {
	differences := map[string]stats.Summary{}
	for _, v := range secured(run) {
		s := difference(*plain(run, v), v, f)
		differences[v.String()] = s
		measured = measured || s.N() > 0
	}
	return Column{
		Column: table.Column{Title: f.Title, Unit: table.Unit(f.Unit), Means: f.FullTitle() + " with TLS, less that without."},
		Cell: func(v figure.Variant) table.Cell {
			s := differences[v.String()]
			if doubtOf(s) != "" {
				return table.Words(table.Missing)
			}
			return table.Summary(s, f.Unit)
		},
		Doubt: func(v figure.Variant) string { return doubtOf(differences[v.String()]) },
	}, measured
}

// doubtOf says why a difference is not shown.
func doubtOf(s stats.Summary) string {
	if s.N() > 1 && s.Low <= 0 && s.High >= 0 {
		return "within the noise: the rounds disagree on its sign"
	}
	return ""
}

// difference is what a figure of b has more than that of a, over the rounds in which both
// have it.
func difference(a, b figure.Variant, f figure.Figure) stats.Summary {
	byRound := map[int]float64{}
	for _, t := range a.Valid {
		if value, doubt := f.Value(t); value != nil && doubt == "" {
			byRound[t.Round] = *value
		}
	}
	var values []float64
	for _, t := range b.Valid {
		value, doubt := f.Value(t)
		if before, ok := byRound[t.Round]; ok && value != nil && doubt == "" {
			values = append(values, *value-before)
		}
	}
	return stats.Summarize(values)
}
