package overview_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	_ "connbench/harness/phase/all"

	"connbench/harness/overview"
	_ "connbench/harness/phase" // its figures
)

var update = flag.Bool("update", false, "write the documentation of the figures anew")

// The documentation has every figure as the program has it:
// go test ./harness/overview -update writes it anew.
func TestEveryFigureIsDocumented(t *testing.T) {
	const file, begin, end = "../../results/README.md", "<!-- figures: begin (generated, do not edit) -->\n", "<!-- figures: end -->"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	is, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no place for the figures: it needs the lines %s and %s", file, begin, end)
	}
	want := overview.Reference()
	if *update {
		if err := os.WriteFile(file, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if is != want {
		t.Errorf("%s is not as the program has it: go test ./harness/overview -update writes it anew", file)
	}
}
