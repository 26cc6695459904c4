package explain

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

func TestPrint(t *testing.T) {
	plain := errors.New("no lab moon")
	for name, test := range map[string]struct {
		err    error
		want   string
		status int
	}{
		"failure":          {plain, "connbench: no lab moon\n", StatusFailure},
		"usage":            {Usage(plain), "connbench: no lab moon\n", StatusUsage},
		"hint":             {Hint(plain, "take %s", "local"), "connbench: no lab moon\nhint: take local\n", StatusFailure},
		"both, and deeper": {fmt.Errorf("plan x: %w", Usage(Hint(plain, "take local"))), "connbench: plan x: no lab moon\nhint: take local\n", StatusUsage},
		"outermost hint":   {Hint(Hint(plain, "inner"), "outer"), "connbench: no lab moon\nhint: outer\n", StatusFailure},
		"joined":           {errors.Join(errors.New("first"), Hint(plain, "take local")), "connbench: first\nno lab moon\nhint: take local\n", StatusFailure},
		"formatted":        {Usagef("%s: %w", "flag", plain), "connbench: flag: no lab moon\n", StatusUsage},
		"already printed":  {Said, "", StatusFailure},
	} {
		var out bytes.Buffer
		if status := Print(&out, test.err); status != test.status || out.String() != test.want {
			t.Errorf("%s: status %d and %q, want %d and %q", name, status, out.String(), test.status, test.want)
		}
	}
}

func TestNilStaysNil(t *testing.T) {
	if Hint(nil, "take local") != nil || Usage(nil) != nil {
		t.Error("no error became one")
	}
}
