package cause_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"connbench/harness/cause"
)

var update = flag.Bool("update", false, "write the table of stop reasons in results/README.md anew")

const readme = "../../results/README.md"

// The table in results/README.md stands between these lines.
const (
	begin = "<!-- stop reasons: go test ./harness/cause -update -->\n"
	end   = "<!-- end of stop reasons -->\n"
)

// documentation is the table, as Markdown.
func documentation() string {
	var b strings.Builder
	b.WriteString("| reason | what ended the ramp | evidence | what to do |\n| --- | --- | --- | --- |\n")
	for _, c := range cause.All {
		b.WriteString("| " + strings.Join([]string{"`" + c.Reason + "`", c.Meaning, c.Evidence(), c.Advice}, " | ") + " |\n")
	}
	return b.String()
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
