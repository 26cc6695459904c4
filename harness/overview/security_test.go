package overview

import (
	"slices"
	"testing"

	"connbench/harness/record"
	"connbench/harness/table"
)

// What TLS adds is the difference within each round, and nothing where the rounds disagree
// on its sign.
func TestWhatTLSAdds(t *testing.T) {
	run := &record.Run{Manifest: record.Manifest{Schema: record.Schema}}
	add := func(name, layer string, rss, settled [3]float64) {
		run.Manifest.Variants = append(run.Manifest.Variants, record.Variant{Name: name, Class: "tuned", Model: "reactor", Security: layer})
		for round := range 3 {
			trial := record.Trial{Trial: len(run.Trials) + 1, Round: round + 1, Variant: name, Class: "tuned", Valid: true, Security: layer}
			trial.PerConnection.RSSBytes, trial.PerConnection.RSSSettledBytes = &rss[round], &settled[round]
			run.Trials = append(run.Trials, trial)
		}
	}
	shown := func() (table.Table, bool) {
		for _, each := range Tables(run) {
			if each.Title == "TLS: what it adds to a connection without it" {
				return each, true
			}
		}
		return table.Table{}, false
	}
	add("a", "", [3]float64{8000, 9000, 10000}, [3]float64{6000, 6000, 6000})
	add("alone+tls", "tls", [3]float64{1, 1, 1}, [3]float64{1, 1, 1})
	if _, ok := shown(); ok {
		t.Error("there is a table of nothing")
	}
	add("a+tls", "tls", [3]float64{20000, 21000, 22100}, [3]float64{5999, 6001, 6000})
	got, ok := shown()
	if !ok || len(got.Rows) != 1 {
		t.Fatalf("%d rows, want one", len(got.Rows))
	}
	cell := func(title string) table.Cell {
		at := slices.IndexFunc(got.Columns, func(c table.Column) bool { return c.Title == title })
		if at < 0 {
			t.Fatalf("there is no column %q", title)
		}
		return got.Rows[0][at]
	}
	if rss := cell("RSS"); rss.Value == nil || *rss.Value != 12000 {
		t.Errorf("RSS: %+v", rss)
	}
	if settled := cell("settled RSS"); settled.Text != table.Missing || settled.Mark == "" {
		t.Errorf("settled RSS: %+v", settled)
	}
}
