package overview

import (
	"slices"

	"connbench/harness/figure"
	"connbench/harness/stats"
	"connbench/harness/table"
	"connbench/harness/variant"
	"connbench/servers/contract"
)

// addition is what a layer adds to a connection, in runs that measure the same servers with it and
// without.
type addition struct {
	name        figure.Table
	title, note string
	// below is a variant without the layer, nil if that is not measured or the variant has no
	// such layer.
	below func(Run, figure.Variant) *figure.Variant
	// without completes a column's "...".
	without string
}

var (
	_ = addition{
		name: "protocols", title: "Protocols: what they add to bytes alone", below: bytes, without: "less that of bytes without a protocol",
		note: "Each round's figure, less that of the same server in the same round where it just sends back every byte.",
	}.add(240)
	_ = addition{
		name: "security", title: "TLS: what it adds to a connection without it", below: plain, without: "with TLS, less that without",
		note: "Each round's figure with TLS, less that of the same server without it in the same round.",
	}.add(250)
	_ = addition{
		name: "compression", title: "Compression: what it adds to an uncompressed connection", below: uncompressed, without: "with permessage-deflate, less that without",
		note: "Each round's figure with permessage-deflate (RFC 7692), less that of the same server without it in the same round. Messages are records of JSON with random words and numbers, from the seed of the plan: by itself, DEFLATE makes a message of 2,000 bytes about half as long.",
	}.add(260)
)

// add adds the table.
func (a addition) add(place int) Table {
	return Add(place, Table{
		Name: a.name, Title: a.title,
		Rows: a.rows, Shown: func(run Run) bool { return len(a.rows(run)) > 0 },
		Columns: func(run Run) []Column {
			columns := Labels(run)
			for _, f := range figure.Of(run.Run) {
				if !addedTo(f) {
					continue
				}
				if column, measured := a.column(run, f); measured {
					columns = append(columns, column)
				}
			}
			return columns
		},
		Notes: func(Run) []string { return []string{a.note} },
	})
}

// rows are the variants with the layer that are measured without it too.
func (a addition) rows(run Run) (list []figure.Variant) {
	for _, v := range run.Variants {
		if a.below(run, v) != nil {
			list = append(list, v)
		}
	}
	return list
}

// addedTo says whether the table has a figure: the memory of a connection, the CPU time of
// something that a connection does, and the bytes that are sent for it.
func addedTo(f figure.Figure) bool {
	return f.In(figure.TableAdded) || f.In(figure.TableCost) && f.Phase != "hold" || f.Kind == figure.CPU && f.In(figure.TableLoad)
}

// plain is a variant with TLS without it.
func plain(run Run, v figure.Variant) *figure.Variant {
	t := v.Any()
	if t == nil || t.Security == "" {
		return nil
	}
	return sibling(run, variant.Plain(v.Name, t.Security), v)
}

// uncompressed is a variant with compression without it.
func uncompressed(run Run, v figure.Variant) *figure.Variant {
	t := v.Any()
	if t == nil || t.Compression == "" {
		return nil
	}
	return sibling(run, variant.Plain(v.Name, t.Compression), v)
}

// bytes is a variant with a protocol without one.
func bytes(run Run, v figure.Variant) *figure.Variant {
	t := v.Any()
	if t == nil || t.Protocol == contract.ProtocolTCP || t.Compression != "" {
		return nil // a compressed one is read against that without compression
	}
	name := variant.With(variant.Plain(variant.Plain(v.Name, t.Security), t.Protocol), contract.ProtocolTCP)
	if t.Security != "" {
		name = variant.With(name, t.Security)
	}
	return sibling(run, name, v)
}

// sibling is the variant of that name in the class of like. It is nil if there is none, or if
// that is like itself.
func sibling(run Run, name string, like figure.Variant) *figure.Variant {
	at := slices.IndexFunc(run.Variants, func(other figure.Variant) bool { return other.Name == name && other.Class == like.Class })
	if at < 0 || name == like.Name {
		return nil // somebody else's server is measured one way alone
	}
	return &run.Variants[at]
}

// column is what the layer adds to a figure; measured says whether a variant has that.
func (a addition) column(run Run, f figure.Figure) (c Column, measured bool) {
	differences := map[string]stats.Summary{}
	for _, v := range a.rows(run) {
		s := difference(*a.below(run, v), v, f)
		differences[v.String()] = s
		measured = measured || s.N() > 0
	}
	return Column{
		Column: table.Column{Title: f.Title, Unit: table.Unit(f.Unit), Means: f.FullTitle() + " " + a.without + "."},
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
