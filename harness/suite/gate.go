package suite

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"connbench/harness/record"
	"connbench/harness/variant"
	"connbench/servers/conform"
	"connbench/servers/contract"
)

// gateOptions are the settings under which servers are examined: two loops, so
// that what only one of them does right shows.
var gateOptions = contract.Options{MaxMessage: 64 << 10, Backlog: 4096, Loops: 2}

// Verdict is what the gate said of a program.
type Verdict struct {
	// SHA256 is the program's: a verdict holds for that very file.
	SHA256  string           `json:"sha256"`
	Passed  bool             `json:"passed"`
	Results []conform.Result `json:"results"`
}

// verdictFile lies beside the program, so that one that has not changed need
// not be examined again.
func verdictFile(p variant.Program) string { return p.Path + ".verdict.json" }

// Judge is the verdict on a built program: that of an earlier examination if it
// passed all the checks that there are now, or else a new one, of which
// examining is told before it begins.
func Judge(ctx context.Context, p variant.Program, examining func(variant.Choice)) (Verdict, error) {
	if v, passed := earlier(p); passed {
		return v, nil
	}
	examining(p.Choice)
	return Examine(ctx, p)
}

// Examine puts a built program through the gate and notes the verdict. A failure
// to start is an error, not a verdict.
func Examine(ctx context.Context, p variant.Program) (Verdict, error) {
	options := gateOptions
	options.Class = p.Class
	results, err := conform.Run(ctx, conform.Program{Command: p.CommandAt(p.Path), Options: options}, nil)
	if err != nil {
		return Verdict{}, fmt.Errorf("%s: %w", p.Choice, err)
	}
	v := Verdict{SHA256: p.SHA256, Passed: true, Results: results}
	for _, result := range results {
		v.Passed = v.Passed && result.Passed
	}
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return v, err
	}
	return v, record.WriteFile(verdictFile(p), text)
}

// earlier is the verdict that lies beside p, and whether p passed by it.
func earlier(p variant.Program) (Verdict, bool) {
	var v Verdict
	text, err := os.ReadFile(verdictFile(p))
	if err != nil || json.Unmarshal(text, &v) != nil || !v.Passed || v.SHA256 != p.SHA256 {
		return v, false
	}
	return v, slices.EqualFunc(v.Results, conform.Checks(), func(r conform.Result, c conform.Check) bool { return r.Check == c.Name })
}

// ServersFolder is where built servers lie below the folder of programs.
func ServersFolder(bin string) string { return filepath.Join(bin, "servers") }
