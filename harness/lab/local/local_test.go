package local

import (
	"io"
	"strings"
	"testing"

	"connbench/clients/control"
	"connbench/harness/explain"
	"connbench/harness/lab"
)

func TestRefused(t *testing.T) {
	for _, test := range []struct{ name, engine, want string }{
		{"local", control.EnginePacket, "LAB=netns"},
		{"local-2", control.EngineSocket, "local"},
	} {
		_, err := lab.Open(t.Context(), test.name, lab.Options{Engine: test.engine})
		if err == nil || explain.Print(io.Discard, err) != explain.StatusUsage || !strings.Contains(explain.HintOf(err), test.want) {
			t.Errorf("%s with engine %s: error %v", test.name, test.engine, err)
		}
	}
}
