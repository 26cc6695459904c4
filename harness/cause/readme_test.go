package cause_test

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"connbench/harness/cause"
	"connbench/harness/limits"
)

var update = flag.Bool("update", false, "write the table of stop reasons in results/README.md anew")

const readme = "../../results/README.md"

// The table in results/README.md is between these lines.
const (
	begin = "<!-- stop reasons: go test ./harness/cause -update -->\n"
	end   = "<!-- end of stop reasons -->\n"
)

// documentation is the table, as Markdown.
func documentation() string {
	var b strings.Builder
	b.WriteString("| reason | what ended the ramp | evidence | predicted | what to do |\n| --- | --- | --- | --- | --- |\n")
	for _, c := range cause.All {
		cells := []string{"`" + c.Reason + "`", c.Meaning, c.Evidence(), strings.Join(predictions(c), ", "), c.Advice}
		b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
	}
	return b.String()
}

// predictions names the limits by which a cause is predicted.
func predictions(c *cause.Cause) (names []string) {
	for _, row := range limits.Rows {
		if row.Cause == c && !slices.Contains(names, row.Name) {
			names = append(names, row.Name)
		}
	}
	return names
}

func TestDocumentation(t *testing.T) {
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	there, after, complete := strings.Cut(rest, end)
	if !found || !complete {
		t.Fatalf("%s has no table between %q and %q", readme, begin, end)
	}
	want := documentation()
	if *update {
		if err := os.WriteFile(readme, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if there != want {
		t.Errorf("%s is not what the causes are: go test ./harness/cause -update", readme)
	}
}
