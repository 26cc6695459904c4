package gate

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"connbench/harness/variant"
	"connbench/scripts/needs"
	"connbench/servers/conform"
	"connbench/servers/conform/exam"
	"connbench/servers/contract"
)

// TestMain lets the test's program be the helper that the gate starts in a namespace.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == HelperCommand {
		if err := Inside(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// The servers in Go have a test of their own each, with the race detector. The others, and
// those of a module of their own, go through the gate here, as connbench builds and examines
// them.
func TestServersInOtherLanguages(t *testing.T) {
	needs.Server(t)
	all, err := variant.Discover("../../servers")
	if err != nil {
		t.Fatal(err)
	}
	languages := map[string]bool{}
	for _, v := range all {
		if _, err := os.Stat(filepath.Join(v.Folder, "go.mod")); v.Language == "Go" && err != nil {
			continue
		}
		languages[v.Language] = true
		t.Run(v.Name, func(t *testing.T) {
			if v.Device != "" {
				needs.Namespaces(t)
			}
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
					for _, program := range variant.Expand([]variant.Program{program}, variant.Layers{Protocol: contract.Protocols, Compression: contract.Compressions}) {
						examineCompression(t, program)
					}
					for _, program := range variant.Expand([]variant.Program{program}, variant.Layers{Protocol: contract.Protocols}) {
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

// examineCompression examines a program by the checks of compression alone: it goes through the
// others without.
func examineCompression(t *testing.T, program variant.Program) {
	subject := SubjectOf(program)
	results, err := conform.Run(t.Context(), conform.Program{Command: subject.Command, Options: subject.Options, Waives: subject.Waives, Only: exam.Compression}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, result := range results {
		if !result.Passed {
			t.Errorf("%s: %s: %s: %s", program.Choice, result.Check, result.Title, result.Detail)
		}
	}
}
