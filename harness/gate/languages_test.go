package gate

import (
	"os"
	"runtime"
	"testing"

	"connbench/harness/variant"
	"connbench/scripts/needs"
	"connbench/servers/contract"
)

// The servers in Go have a test of their own each, with the race detector. The others go
// through the gate here, as connbench builds and examines them.
func TestServersInOtherLanguages(t *testing.T) {
	needs.Server(t)
	all, err := variant.Discover("../../servers")
	if err != nil {
		t.Fatal(err)
	}
	languages := map[string]bool{}
	for _, v := range all {
		if v.Language == "Go" {
			continue
		}
		languages[v.Language] = true
		t.Run(v.Name, func(t *testing.T) {
			if v.Language == "Java" && os.Getenv("SLOW_TESTS") == "" {
				t.Skip("needs SLOW_TESTS=1: each of the checks starts a Java machine, which takes minutes beside other tests")
			}
			if lack := v.Missing(t.Context()); len(lack) > 0 {
				t.Skip("needs what scripts/setup.sh tests installs:", lack)
			}
			choices, err := variant.Select([]variant.Variant{v}, []string{v.Name}, variant.Classes)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range choices {
				t.Run(c.Class, func(t *testing.T) {
					program, err := c.Build(t.Context(), t.TempDir(), runtime.GOARCH)
					if err != nil {
						t.Fatal(err)
					}
					for _, program := range variant.ByProtocol([]variant.Program{program}, contract.Protocols) {
						verdict, err := Examine(t.Context(), program)
						if err != nil {
							t.Fatal(err)
						}
						for _, result := range verdict.Results {
							if !result.Passed {
								t.Errorf("%s: %s: %s: %s", program.Choice, result.Check, result.Title, result.Detail)
							}
						}
					}
				})
			}
		})
	}
	if len(languages) < 3 {
		t.Errorf("servers in %d other languages: %v", len(languages), languages)
	}
}
