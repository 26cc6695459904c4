package table

import (
	"bytes"
	"strings"
	"testing"

	"connbench/harness/figure"
	"connbench/harness/stats"
)

func made() Table {
	f := func(values ...float64) Cell { return Summary(stats.Summarize(values), figure.Unit{}) }
	tied := f(95, 96, 97)
	tied.Ties = "a"
	return Table{
		Columns: []Column{{Title: "variant", Text: true}, {Title: "resident memory", Unit: "B/conn"}, {Title: "why|not", Text: true}},
		Rows: [][]Cell{
			{Words("floor"), f(9000, 9214, 9400), Words("a\x1b[2J|b")},
			{Words("gnet"), tied, Words("")},
			{Words("nbio"), f(), Words("x")},
		},
	}
}

func TestText(t *testing.T) {
	var out bytes.Buffer
	if err := made().WriteText(&out, 100); err != nil {
		t.Fatal(err)
	}
	want := `         │      resident │         
 variant │        memory │ why|not 
         │        B/conn │         
─────────┼───────────────┼─────────
 floor   │ 9,210 ±2.3%   │ a [2J|b 
 gnet    │  96.0 ±1.0% a │         
 nbio    │     –         │ x       

`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestNarrowTerminalGetsTheTableInParts(t *testing.T) {
	var out bytes.Buffer
	if err := made().WriteText(&out, 30); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), " floor "); n != 2 {
		t.Errorf("%d parts:\n%s", n, out.String())
	}
}

func TestMarkdown(t *testing.T) {
	var out bytes.Buffer
	if err := made().WriteMarkdown(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"resident memory, B/conn", `why\|not`, ` 9,210 ±2.3% |`, `a \[2J\|b`, "96.0 ±1.0% a |"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s is missing in\n%s", want, out.String())
		}
	}
}

func TestPrintWrapsTheWidestColumn(t *testing.T) {
	var out bytes.Buffer
	rows := [][]string{{"net.core.somaxconn", strings.Repeat("many words ", 12)}}
	if err := Print(&out, 60, []string{"limit", "because"}, rows); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 60 {
			t.Errorf("a line takes %d columns: %s", n, line)
		}
	}
	if strings.Count(out.String(), "many words") < 10 {
		t.Errorf("words are lost:\n%s", out.String())
	}
}

// A wide range must not round the median away: nothing measured reads as 0.
func TestSummaryOfFiguresFarApart(t *testing.T) {
	c := Summary(stats.Summarize([]float64{2_000, 2_750, 90_000}), figure.Unit{})
	if c.Text != "2,750" || c.Spread != "2,000–90,000" {
		t.Errorf("%q %q", c.Text, c.Spread)
	}
}

// A share is read in percent, however far apart its rounds are.
func TestSummaryIsInTheUnitThatPeopleRead(t *testing.T) {
	for want, values := range map[string][]float64{
		"12.0 ±17%":     {0.10, 0.12, 0.14},
		"12.0 1.00–240": {0.01, 0.12, 2.40},
		"10 ±20":        {0, 0.1, 0.3},
	} {
		if got := Summary(stats.Summarize(values), figure.UnitShare).String(); got != want {
			t.Errorf("%v are %q, want %q", values, got, want)
		}
	}
}

// What is 0 but for rounding is written to the finest digit that means anything.
func TestSummaryOfNothing(t *testing.T) {
	if got := Summary(stats.Summarize([]float64{-3e-9, -1e-9, 2e-9}), figure.UnitBytes).String(); got != "0.0 ±0.1" {
		t.Errorf("nothing is %q", got)
	}
}
