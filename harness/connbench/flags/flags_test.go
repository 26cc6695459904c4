package flags

import (
	"slices"
	"testing"

	"github.com/spf13/cobra"
)

func TestNumbersOfTheCommandLine(t *testing.T) {
	f := &Flags{}
	c := &cobra.Command{}
	f.Add(c, "connections", "budget", "rounds", "processes", "variants")
	if err := c.ParseFlags([]string{"--rounds", "1_000", "--processes=0", "--connections", "20_000", "--budget", "1.5GiB", "--variants", "a, b/tuned,,c"}); err != nil {
		t.Fatal(err)
	}
	if *f.Rounds != 1000 || *f.Processes != 0 || *f.Connections != 20_000 || *f.BudgetBytes != 3<<29 || !slices.Equal(f.Variants, []string{"a", "b/tuned", "c"}) {
		t.Errorf("%+v", f.Request)
	}
	f = &Flags{}
	if f.Rounds != nil || f.Processes != nil || f.Connections != nil || f.BudgetBytes != nil {
		t.Errorf("%+v", f.Request)
	}
}
