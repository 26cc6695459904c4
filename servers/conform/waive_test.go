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
	judged := waive(results, map[string]string{"waived": "the library cannot", "keeps-after-all": "once it could not", "not-here": "cannot", "no-check": "typo"})
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
