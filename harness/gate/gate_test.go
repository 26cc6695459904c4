package gate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"connbench/harness/variant"
	"connbench/servers/conform"
	"connbench/servers/contract"
)

// judged is a program with a verdict of an earlier examination, in which a check may
// have failed.
func judged(t *testing.T, name string, fails string, change func(*Verdict)) variant.Program {
	t.Helper()
	p := variant.Program{
		Choice: variant.Choice{Variant: variant.Variant{Name: name, Classes: map[string]variant.Class{"tuned": {Run: []string{"{program}", "--fast"}}}}, Class: "tuned"},
		SHA256: "abc", Path: filepath.Join(t.TempDir(), name),
	}
	v := Verdict{Subject: SubjectOf(p), Passed: fails == ""}
	for _, check := range conform.Checks(contract.Options{}, false) {
		v.Results = append(v.Results, conform.Result{Check: check.Name, Section: check.Section, Passed: check.Name != fails, Detail: map[bool]string{true: "for the test"}[check.Name == fails]})
	}
	if change != nil {
		change(&v)
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(verdictFile(p), text, 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

// A verdict holds for the same program, started the same way, and the same gate, if it
// passed all checks.
func TestEarlierVerdicts(t *testing.T) {
	first := conform.Checks(contract.Options{}, false)[0].Name
	for name, test := range map[string]struct {
		fails  string
		change func(*Verdict)
		holds  bool
	}{
		"passed":          {"", nil, true},
		"failed":          {first, nil, false},
		"another program": {"", func(v *Verdict) { v.SHA256 = "def" }, false},
		"other arguments": {"", func(v *Verdict) { v.Command = v.Command[:1] }, false},
		"other options":   {"", func(v *Verdict) { v.Options.Loops++ }, false},
		"another class":   {"", func(v *Verdict) { v.Options.Class = "default" }, false},
		"another gate":    {"", func(v *Verdict) { v.Gate = "0" }, false},
		"of old, no gate": {"", func(v *Verdict) { v.Subject = Subject{SHA256: v.SHA256} }, false},
	} {
		p := judged(t, "gnet", test.fails, test.change)
		if _, holds := earlier(p); holds != test.holds {
			t.Errorf("%s: holds %v", name, holds)
		}
	}
}

func TestPassedProgramsAreNotExaminedAgain(t *testing.T) {
	programs := []variant.Program{judged(t, "gnet", "", nil), judged(t, "floor", "", nil)}
	passing, failing, err := Pass(t.Context(), programs, func(format string, args ...any) {
		t.Errorf("said: "+format, args...)
	})
	if err != nil || len(passing) != 2 || len(failing) != 0 {
		t.Errorf("%d pass, %d fail, %v", len(passing), len(failing), err)
	}
	if _, _, err := Pass(t.Context(), nil, nil); err == nil || !strings.Contains(err.Error(), "nothing to measure") {
		t.Errorf("no program: %v", err)
	}
}

// Several are examined at a time, and what is found of each stands in its place. Once the
// context has ended, no other is begun.
func TestEachIsJudgedInItsPlace(t *testing.T) {
	programs := make([]variant.Program, 5)
	for i := range programs {
		programs[i].SHA256 = fmt.Sprint(i)
	}
	var together sync.WaitGroup // the first ones wait for each other
	together.Add(atOnce)
	verdicts, errs := Each(t.Context(), programs, func(string, ...any) {}, func(_ context.Context, p variant.Program, say Say) (Verdict, error) {
		if p.SHA256 < fmt.Sprint(atOnce) {
			together.Done()
			together.Wait()
		}
		if say("said"); p.SHA256 == "3" {
			return Verdict{}, errors.New("for the test")
		}
		return Verdict{Subject: Subject{SHA256: p.SHA256}}, nil
	})
	for i, p := range programs {
		if failed := i == 3; failed != (errs[i] != nil) || !failed && verdicts[i].SHA256 != p.SHA256 {
			t.Errorf("%d: %+v, %v", i, verdicts[i], errs[i])
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var begun atomic.Int64
	Each(ctx, programs, func(string, ...any) {}, func(context.Context, variant.Program, Say) (Verdict, error) {
		begun.Add(1)
		cancel()
		return Verdict{}, nil
	})
	if n := begun.Load(); n > atOnce {
		t.Errorf("%d were begun after the context had ended", n)
	}
}

func TestVerdictsAsText(t *testing.T) {
	first := conform.Checks(contract.Options{}, false)[0]
	programs := []variant.Program{judged(t, "gnet", "", nil), judged(t, "floor", first.Name, nil)}
	verdicts := map[string]Verdict{}
	for _, p := range programs {
		verdicts[p.Choice.String()], _ = earlier(p)
	}
	var out bytes.Buffer
	if err := WriteVerdicts(&out, 1000, programs, verdicts, true); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"gnet/tuned", first.Title, "FAIL", fmt.Sprintf("floor/tuned, %s FAIL: for the test\n", first.Name), strings.Fields(conform.Sections()[0])[1], "all 4", "12 of 13"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	out.Reset()
	if err := WriteMarkdown(&out, "bin/connbench conform", programs, verdicts); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"`bin/connbench conform`", "| gnet/tuned", " all 4 ", " 12 of 13 ", fmt.Sprintf("- floor/tuned, %s FAIL: for the test\n", first.Name)} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
