package variant

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"connbench/harness/explain"
	"connbench/scripts/needs"
)

const description = `name = %q
title = "T"
model = "M"
language = "sh"
[class.default]
settings = "none"
build = ["cp", "server.sh", "{program}"]
run = ["{program}", "--quiet"]
`

// tree makes a folder of variants, each with the text of its variant.toml.
func tree(t *testing.T, texts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range texts {
		folder := filepath.Join(dir, name)
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		for file, content := range map[string]string{File: text, "server.sh": "#!/bin/sh\n"} {
			if err := os.WriteFile(filepath.Join(folder, file), []byte(content), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

func TestDiscoverNamesWhatIsWrong(t *testing.T) {
	good := fmt.Sprintf(description, "a")
	for _, test := range []struct{ name, text, want string }{
		{"good", good, ""},
		{"other name", fmt.Sprintf(description, "b"), `name is "b", but the folder is "a"`},
		{"unknown key", "nmae = \"a\"\n" + good, `variant.toml:1:1: unknown key "nmae"`},
		{"syntax", good + "run = \n", "variant.toml:9:"},
		{"unknown class", good + "[class.fast]\nsettings = \"s\"\nbuild = [\"x\"]\nrun = [\"x\"]\n", ":9: class.fast: a class is"},
		{"no run", good + "[class.tuned]\nsettings = \"s\"\n", ":9: class.tuned: run is missing"},
		{"no settings", good + "[class.tuned]\nbuild = [\"x\"]\nrun = [\"x\"]\n", ":9: class.tuned: settings is missing"},
		{"no class", "name = \"a\"\ntitle = \"T\"\nmodel = \"M\"\nlanguage = \"C\"\n", "no [class.default]"},
		{"no model", "name = \"a\"\ntitle = \"T\"\nlanguage = \"C\"\n", "model"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Discover(tree(t, map[string]string{"a": test.text}))
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error %v, want %q in it", err, test.want)
			}
		})
	}
	if _, err := Discover(t.TempDir()); err == nil || !strings.Contains(explain.HintOf(err), "--servers") {
		t.Errorf("an empty folder: error %v", err)
	}
}

func TestSelect(t *testing.T) {
	both := map[string]Class{ClassDefault: {}, ClassTuned: {}}
	all := []Variant{
		{Name: "floor", Classes: map[string]Class{ClassTuned: {}}},
		{Name: "gnet", Classes: both},
		{Name: "nbio", Classes: both},
	}
	for _, test := range []struct {
		names, classes []string
		want           []string
		err            string
	}{
		{[]string{"gnet"}, []string{"tuned"}, []string{"gnet/tuned"}, ""},
		{[]string{"gnet", "floor"}, []string{"default", "tuned"}, []string{"gnet/default", "gnet/tuned", "floor/tuned"}, ""},
		{[]string{"floor"}, []string{"default"}, []string{"floor/tuned"}, ""},
		{[]string{"nbio", "gnet", "nbio/tuned", "nbio"}, []string{"tuned"}, []string{"nbio/tuned", "gnet/tuned"}, ""}, // once each
		{[]string{"nbio/default"}, []string{"tuned"}, []string{"nbio/default"}, ""},
		{[]string{"nosuch"}, []string{"tuned"}, nil, `there is no variant "nosuch"`},
		{[]string{"floor/default"}, []string{"tuned"}, nil, `has no class "default"`},
	} {
		choices, err := Select(all, test.names, test.classes)
		var got []string
		for _, c := range choices {
			got = append(got, c.String())
		}
		if test.err == "" && (err != nil || !slices.Equal(got, test.want)) {
			t.Errorf("%v of %v: %v, error %v, want %v", test.names, test.classes, got, err, test.want)
		}
		if test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%v: error %v, want %q in it", test.names, err, test.err)
		}
	}
}

func TestBuild(t *testing.T) {
	all, err := Discover(tree(t, map[string]string{"a": fmt.Sprintf(description, "a")}))
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(t.TempDir(), "bin")
	program, err := Choice{Variant: all[0], Class: ClassDefault}.Build(t.Context(), bin, runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	if program.Path != filepath.Join(bin, "a-default") || len(program.SHA256) != 64 {
		t.Errorf("built %s with hash %q", program.Path, program.SHA256)
	}
	if got := program.CommandAt("/elsewhere/a"); !slices.Equal(got, []string{"/elsewhere/a", "--quiet"}) {
		t.Errorf("command %v", got)
	}

	broken := all[0]
	broken.Classes = map[string]Class{ClassDefault: {Build: []string{"sh", "-c", "echo no such library >&2; exit 1"}}}
	if _, err := (Choice{Variant: broken, Class: ClassDefault}).Build(t.Context(), bin, runtime.GOARCH); err == nil || !strings.Contains(err.Error(), "no such library") {
		t.Errorf("error %v does not hold what the build said", err)
	}
}

// A build must make a program, and end.
func TestBuildsThatMakeNoProgram(t *testing.T) {
	interrupted, interrupt := context.WithCancel(t.Context())
	interrupt()
	for name, test := range map[string]struct {
		ctx   context.Context
		build []string
		want  string
	}{
		"nothing":       {t.Context(), []string{"true"}, "no such file"},
		"a named pipe":  {t.Context(), []string{"mkfifo", "{program}"}, "is no file, but a named pipe"},
		"a folder":      {t.Context(), []string{"mkdir", "{program}"}, "is no file, but a folder"},
		"a device":      {t.Context(), []string{"ln", "-s", "/dev/zero", "{program}"}, "is no file, but a device"},
		"no program":    {t.Context(), []string{"touch", "{program}"}, "may not be run: its mode is -rw"},
		"a failure":     {t.Context(), []string{"sh", "-c", "echo bad luck >&2; exit 3"}, "exit status 3\nbad luck"},
		"endless words": {t.Context(), []string{"sh", "-c", "head -c 10000000 /dev/zero; exit 3"}, "exit status 3\n"},
		"a child":       {t.Context(), []string{"sh", "-c", `setsid sleep 20 & echo "#" >"$0"; chmod 755 "$0"`, "{program}"}, "it left a process behind"},
		"interruption":  {interrupted, []string{"sleep", "1000"}, "context canceled"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := Variant{Name: "a", Folder: t.TempDir(), Classes: map[string]Class{ClassTuned: {Build: test.build, Run: []string{"{program}"}}}}
			_, err := Choice{Variant: v, Class: ClassTuned}.Build(test.ctx, t.TempDir(), runtime.GOARCH)
			if err == nil || !strings.Contains(err.Error(), test.want) || len(err.Error()) > 100<<10 {
				t.Errorf("error %.1000v, want %q", err, test.want)
			}
		})
	}
}

// The release of Go that is asked for builds the server.
func TestBuildByARelease(t *testing.T) {
	needs.Server(t)
	folder := t.TempDir()
	for file, text := range map[string]string{"go.mod": "module x\n", "main.go": "package main\n\nfunc main() {}\n"} {
		if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	v := Variant{Name: "x", Language: "Go", Folder: folder, Classes: map[string]Class{ClassTuned: {Build: []string{"go", "build", "-o", "{program}", "."}, Run: []string{"{program}"}}}}
	choices, err := ByRelease([]Choice{{Variant: v, Class: ClassTuned}}, []string{strings.TrimPrefix(runtime.Version(), "go")})
	if err != nil {
		t.Fatal(err)
	}
	program, err := choices[0].Build(t.Context(), t.TempDir(), runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := buildinfo.ReadFile(program.Path); err != nil || info.GoVersion != runtime.Version() {
		t.Errorf("%+v, %v", info, err)
	}
}

// Revisions without broadcasts over HTTP can be measured too.
func TestEarlierBroadcast(t *testing.T) {
	text := "broadcast = true\n" + fmt.Sprintf(description, "a")
	all, err := Discover(tree(t, map[string]string{"a": text}))
	if err != nil || !slices.Equal(all[0].Broadcast, []string{"websocket"}) {
		t.Errorf("%+v, %v", all, err)
	}
}
