package conform

import (
	"strings"
	"testing"
)

func TestWaive(t *testing.T) {
	results := []Result{
		{Check: "keeps", Passed: true},
		{Check: "breaks", Detail: "sent this, got that"},
		{Check: "waived", Detail: "sent this, got that"},
		{Check: "keeps-after-all", Passed: true},
		{Check: "not-here", Passed: true, Detail: "needs IPv6"},
	}
	judged := waive(results, map[string]string{"waived": "the library cannot", "keeps-after-all": "once it could not", "not-here": "cannot", "no-check": "typo", "request-chunks": "of HTTP"}, true)
	if len(judged) != len(results)+1 {
		t.Errorf("%d results", len(judged))
	}
	for i, want := range []struct {
		passed bool
		detail string
		waived string
	}{
		{true, "", ""},
		{false, "sent this", ""},
		{true, "sent this", "the library cannot"},
		{false, "passes after all", ""},
		{true, "needs IPv6", ""},
		{false, "no such check", ""},
	} {
		if got := judged[i]; got.Passed != want.passed || !strings.Contains(got.Detail, want.detail) || got.Waived != want.waived {
			t.Errorf("%s: %+v", got.Check, got)
		}
	}
	if results[2].Passed || results[2].Waived != "" {
		t.Error("the results that were handed in are changed")
	}
}

// A waived check must pass several times before its waiver is refused, and any other once.
func TestTry(t *testing.T) {
	pass, fail, skip := Result{Passed: true}, Result{Detail: "sent this, got that"}, Result{Passed: true, Detail: "needs IPv6"}
	for _, test := range []struct {
		waived  bool
		results []Result
		tries   int
		passed  bool
	}{
		{false, []Result{pass}, 1, true},
		{false, []Result{fail}, 1, false},
		{true, []Result{fail}, 1, false},
		{true, []Result{pass, fail}, 2, false},
		{true, []Result{pass, pass, fail}, 3, false},
		{true, []Result{pass, pass, pass}, 3, true},
		{true, []Result{skip}, 1, true},
	} {
		tries := 0
		got := try(test.waived, func() Result { tries++; return test.results[tries-1] })
		if tries != test.tries || got.Passed != test.passed {
			t.Errorf("%+v: %d tries, %+v", test, tries, got)
		}
	}
}
