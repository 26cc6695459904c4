package variant

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"connbench/harness/naming"
)

// A need names a program, a version and a package; what is missing is said with the package
// that brings it.
func TestNeeds(t *testing.T) {
	folder := t.TempDir()
	for name, says := range map[string]string{"tool": "Tool version 18.2.1 (2024)", "mute": "no number"} {
		script := fmt.Sprintf("#!/bin/sh\necho '%s'\n", says)
		if err := os.WriteFile(filepath.Join(folder, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
	for text, want := range map[string]string{
		"tool":                       "",
		"tool >= 18":                 "",
		"tool >= 18.2.1":             "",
		"tool >= 18.2.1.0 from tool": "",
		"tool >= 18.10":              "tool >= 18.10 is needed, and version 18.2.1 is here",
		"tool >= 19 from toolset":    "tool >= 19 is needed, and version 18.2.1 is here",
		"mute":                       "",
		"mute >= 1":                  "mute >= 1 is needed, and the one here does not say its version",
		"no-such-tool":               "no-such-tool is missing (Debian package no-such-tool)",
		"no-such-tool >= 2 from box": "no-such-tool >= 2 is missing (Debian package box)",
		"pkg-config:no-such-lib":     "pkg-config:no-such-lib is missing (Debian package no-such-lib)",
		"file:/proc/self/stat":       "",
		"file:/no/such/jar from box": "file:/no/such/jar is missing (Debian package box)",
		"python3:no-such from box":   "python3:no-such is missing (Debian package box)",
	} {
		var need Need
		if err := need.UnmarshalText([]byte(text)); err != nil {
			t.Error(err)
			continue
		}
		if got := need.missing(t.Context()); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
		if back, _ := need.MarshalText(); string(back) != text {
			t.Errorf("%s: written as %s", text, back)
		}
	}
	for _, text := range []string{"", " ", "node>=18", "node >= eighteen", "node > 18", "-rf", "node from", "no\nde", "node >= 18 from A B"} {
		if err := new(Need).UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), "is not a need") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// No package is looked for that would bring what is a part of the kernel.
func TestKernelPartsAreNoPackages(t *testing.T) {
	text, err := exec.Command("../../scripts/setup.sh", "tests", "--print").Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := strings.Fields(string(text))
	if !slices.Contains(packages, "nodejs") {
		t.Errorf("the packages that servers need are not in %q", packages)
	}
	for name := range inKernel {
		if slices.Contains(packages, name) {
			t.Errorf("scripts/setup.sh tests would install %q", name)
		}
	}
}

// One missing tool leaves out its variant, in both classes, with one line.
func TestAvailable(t *testing.T) {
	here := Variant{Name: "here", Folder: "/here"}
	gone := Variant{Name: "gone", Folder: "/gone", Needs: []Need{{Name: "no-such-tool", Least: "3"}, {Name: "nor-this"}}}
	choices := []Choice{{Variant: gone, Class: ClassDefault}, {Variant: here, Class: ClassTuned}, {Variant: gone, Class: ClassTuned}}
	var said []string
	left := Available(t.Context(), choices, func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) })
	if len(left) != 1 || left[0].Name != "here" {
		t.Errorf("%v", left)
	}
	want := "gone is left out: no-such-tool >= 3 is missing (Debian package no-such-tool); nor-this is missing (Debian package nor-this)"
	if len(said) != 1 || said[0] != want {
		t.Errorf("said %q, want %q", said, want)
	}
}

// Tables group by model: the suite's own variants keep to the list.
func TestModels(t *testing.T) {
	all, err := Discover("../../servers")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range all {
		if ModelOf(v.Model) == "" {
			t.Errorf("%s: model %q begins with none of %q", v.Name, v.Model, Models)
		}
	}
	choices, err := Select(all, []string{"reactor:*"}, []string{ClassTuned})
	if err != nil || len(choices) == 0 {
		t.Fatalf("%v, %v", choices, err)
	}
	for _, c := range choices {
		if ModelOf(c.Model) != "reactor" {
			t.Errorf("%s is among the reactors: %s", c, c.Model)
		}
	}
	if choices, err := Select(all, []string{"goroutine-per-connection:*"}, Classes); err != nil || len(choices) == 0 {
		t.Errorf("%v, %v", choices, err)
	}
	if _, err := Select(all, []string{"reactors:*"}, nil); err == nil {
		t.Error("a model that does not exist was taken")
	}
}

// Each release of Go builds every server in Go; the others are measured once.
func TestReleasesOfGo(t *testing.T) {
	choices := []Choice{{Variant: Variant{Name: "a", Language: "Go"}, Class: ClassTuned}, {Variant: Variant{Name: "b", Language: "C"}, Class: ClassTuned}}
	expanded, err := ByRelease(choices, []string{"1.26.8", "1.27rc1"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range expanded {
		names = append(names, c.String()+" by "+c.Go)
		if err := naming.Check("name", c.Name); err != nil {
			t.Error(err)
		}
	}
	if got, want := strings.Join(names, ", "), "a@go1.26.8/tuned by 1.26.8, a@go1.27rc1/tuned by 1.27rc1, b/tuned by "; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if same, err := ByRelease(choices, nil); err != nil || len(same) != 2 || same[0].Go != "" {
		t.Errorf("%v, %v", same, err)
	}
	for _, wrong := range []string{"go1.26.8", "1", "1.26.8 ", "latest", "1.26.8+x"} {
		if _, err := ByRelease(choices, []string{wrong}); err == nil {
			t.Errorf("%q was taken for a release", wrong)
		}
	}
}
