package gate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connbench/harness/variant"
	"connbench/servers/conform"
)

// judged is a program with a verdict of an earlier examination, in which a check may
// have failed.
func judged(t *testing.T, name string, fails string, change func(*Verdict)) variant.Program {
	t.Helper()
	p := variant.Program{Choice: variant.Choice{Variant: variant.Variant{Name: name}, Class: "tuned"}, SHA256: "abc", Path: filepath.Join(t.TempDir(), name)}
	v := Verdict{SHA256: p.SHA256, Passed: fails == ""}
	for _, check := range conform.Checks() {
		v.Results = append(v.Results, conform.Result{Check: check.Name, Passed: check.Name != fails, Detail: map[bool]string{true: "for the test"}[check.Name == fails]})
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

// A verdict holds for the same program and the same checks, if all were passed.
func TestEarlierVerdicts(t *testing.T) {
	first := conform.Checks()[0].Name
	for name, test := range map[string]struct {
		fails  string
		change func(*Verdict)
		holds  bool
	}{
		"passed":          {"", nil, true},
		"failed":          {first, nil, false},
		"another program": {"", func(v *Verdict) { v.SHA256 = "def" }, false},
		"fewer checks":    {"", func(v *Verdict) { v.Results = v.Results[1:] }, false},
		"another check":   {"", func(v *Verdict) { v.Results[0].Check = "other" }, false},
	} {
		if _, holds := earlier(judged(t, "gnet", test.fails, test.change)); holds != test.holds {
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

func TestVerdictsAsText(t *testing.T) {
	first := conform.Checks()[0]
	programs := []variant.Program{judged(t, "gnet", "", nil), judged(t, "floor", first.Name, nil)}
	verdicts := map[string]Verdict{}
	for _, p := range programs {
		verdicts[p.Choice.String()], _ = earlier(p)
	}
	var out bytes.Buffer
	if err := WriteVerdicts(&out, 1000, programs, verdicts); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"gnet/tuned", first.Title, "FAIL", fmt.Sprintf("floor/tuned, %s: for the test\n", first.Name)} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
