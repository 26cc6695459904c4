package programs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Programs are kept where nobody else can write, and else nowhere.
func TestFolderIsPrivate(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		prepare func(cache, temp string) // makes things before
		noHome  bool
		want    string // "cache", "temp", or what the error has
		root    bool   // takes root
	}{
		"as usual":        {func(string, string) {}, false, "cache", false},
		"no HOME":         {func(string, string) {}, true, "temp", false},
		"cache is a file": {func(cache, _ string) { must(os.WriteFile(cache, nil, 0o600)) }, false, "temp", false},
		"open to others": {func(cache, _ string) {
			must(os.Mkdir(cache, 0o700))
			must(os.Mkdir(cache+"/connbench", 0o700))
			must(os.Chmod(cache+"/connbench", 0o777))
		}, false, "temp", false},
		"open to the group": {func(cache, _ string) {
			must(os.MkdirAll(cache+"/connbench/programs", 0o700))
			must(os.Chmod(cache+"/connbench/programs", 0o770))
		}, false, "temp", false},
		"a link": {func(cache, temp string) { must(os.Mkdir(cache, 0o700)); must(os.Symlink(temp, cache+"/connbench")) }, false, "temp", false},
		"somebody else's": {func(cache, _ string) {
			must(os.MkdirAll(cache+"/connbench", 0o700))
			must(os.Chown(cache+"/connbench", 12345, 12345))
		}, false, "temp", true},
		"replaceable":          {func(cache, _ string) { must(os.Mkdir(cache, 0o700)); must(os.Chmod(cache, 0o777)) }, false, "temp", false},
		"temp is open as well": {func(_, temp string) { must(os.Chmod(temp, 0o777)) }, true, "anybody can write to ", false},
		"temp is taken": {func(_, temp string) {
			must(os.WriteFile(filepath.Join(temp, fmt.Sprintf("connbench-%d", os.Geteuid())), nil, 0o600))
		}, true, "is no folder", false},
	} {
		t.Run(name, func(t *testing.T) {
			if test.root && os.Geteuid() != 0 {
				t.Skip("needs root")
			}
			folder := t.TempDir()
			cache, temp := filepath.Join(folder, "cache"), filepath.Join(folder, "temp")
			must(os.Mkdir(temp, 0o700))
			must(os.Chmod(temp, 0o777|os.ModeSticky)) // as /tmp is
			t.Setenv("TMPDIR", temp)
			t.Setenv("XDG_CACHE_HOME", cache)
			if test.noHome {
				t.Setenv("XDG_CACHE_HOME", "")
				t.Setenv("HOME", "")
			}
			test.prepare(cache, temp)
			got, err := Folder()
			switch want := map[string]string{
				"cache": filepath.Join(cache, "connbench", "programs"),
				"temp":  filepath.Join(temp, fmt.Sprintf("connbench-%d", os.Geteuid()), "programs"),
			}[test.want]; {
			case want == "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("%s, error %v, want %q", got, err, test.want)
			case want != "" && (err != nil || got != want):
				t.Errorf("%s, error %v, want %s", got, err, want)
			}
			if err == nil {
				if info, err := os.Stat(got); err != nil || info.Mode().Perm() != 0o700 {
					t.Errorf("%v, %v", info.Mode(), err)
				}
			}
		})
	}
}
