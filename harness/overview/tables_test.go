package overview

import (
	"slices"
	"testing"

	"connbench/harness/record"
)

func TestWhoseWebSocket(t *testing.T) {
	own := func(name, class string) record.Variant {
		return record.Variant{Name: name, Class: class, WebSocket: "our own"}
	}
	for name, test := range map[string]struct {
		variants []record.Variant
		want     []string
	}{
		"all their library's": {[]record.Variant{{Name: "nbio"}, {Name: "goroutine"}}, nil},
		"all our own":         {[]record.Variant{own("floor", "tuned"), own("gnet", "default"), own("gnet", "tuned")}, []string{"WebSocket of floor and gnet: our own."}},
		"one is attached":     {[]record.Variant{own("floor", "tuned"), {Name: "chat", Class: record.ClassAttached}}, []string{"WebSocket of floor: our own."}},
		"some":                {[]record.Variant{own("floor", "tuned"), {Name: "nbio"}}, []string{"WebSocket of floor: our own. That of the others is their library's."}},
	} {
		if got := whoseWebSocket(test.variants); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
