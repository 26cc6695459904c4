package profile

import (
	"slices"
	"strings"
	"testing"

	"connbench/harness/bench"
	"connbench/harness/build"
)

func TestTagged(t *testing.T) {
	for command, want := range map[string]string{
		"go build -o {program} .":                    "go build -tags connbench_profile -o {program} .",
		"go build -tags a,b -o {program} .":          "go build -tags a,b,connbench_profile -o {program} .",
		"make PROGRAM={program}":                     "",
		"go run .":                                   "",
		"go build -o {program} . -tags":              "go build -tags connbench_profile -o {program} . -tags",
		"install -m 755 server.py {program} -tags x": "",
	} {
		got, is := tagged(strings.Fields(command))
		if is != (want != "") || is && strings.Join(got, " ") != want {
			t.Errorf("%s becomes %q, %v", command, got, is)
		}
	}
}

// What cannot be profiled is refused before anything is built.
func TestRefused(t *testing.T) {
	for want, test := range map[string]struct {
		plan, phase string
		variants    []string
	}{
		`plan default has no phase "nap"`:       {"default", "nap", []string{"gnet/tuned"}},
		"name a variant with its class":         {"full", "echo", []string{"gnet"}},
		"opens as many connections as there":    {"ceiling", "ramp", []string{"gnet"}},
		`there is no variant "nobody"`:          {"default", "echo", []string{"nobody"}},
		`plan complexity has no phase "worked"`: {"complexity", "worked", []string{"gnet"}},
	} {
		_, _, err := resolve(build.Tree{Servers: "../../servers"}, bench.Request{Plan: test.plan, Variants: test.variants}, test.phase)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", test, err, want)
		}
	}
}

func TestPhases(t *testing.T) {
	p, err := bench.Request{Plan: "default"}.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	if names := Phases(p); !slices.Contains(names, "echo") || slices.Contains(names, "settled ramp") {
		t.Errorf("phases are %q", names)
	}
}
