package build

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"connbench/harness/variant"
)

// repository makes a git repository of one variant for each name, and makes it the working
// directory.
func repository(t *testing.T, names ...string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for _, name := range names {
		write(t, name, "committed")
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "."}, {"-c", "user.name=a", "-c", "user.email=a@example.invalid", "commit", "-q", "-m", "first"}} {
		if text, err := exec.Command("git", args...).CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, text)
		}
	}
}

func write(t *testing.T, name, settings string) {
	t.Helper()
	folder := filepath.Join("servers", name)
	text := fmt.Sprintf("name = %[1]q\ntitle = %[1]q\nmodel = \"m\"\nlanguage = \"Go\"\n[class.tuned]\nsettings = %[2]q\nbuild = [\"true\"]\nrun = [\"{program}\"]\n", name, settings)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, variant.File), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The folders of a tree may be relative to the working directory, which is not git's.
func TestBaseIsTheCommittedServers(t *testing.T) {
	repository(t, "a")
	write(t, "a", "changed")
	write(t, "b", "new")
	if err := os.Mkdir("elsewhere", 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir("elsewhere")
	tree := Tree{Servers: "../servers", Bin: "bin"}
	base, err := tree.At(t.Context(), "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	present, err := tree.Choose(nil, variant.Classes)
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	joined, err := base.Join(present, func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) })
	if err != nil || len(joined) != 2 {
		t.Fatalf("%v, %v", joined, err)
	}
	if got, want := joined[0], "a@"+base.Commit; got.Name != want || got.Commit != base.Commit || got.Classes[got.Class].Settings != "committed" {
		t.Errorf("%+v, want %s", got, want)
	}
	if got := joined[1]; got.Name != "a" || got.Commit != "" || got.Classes[got.Class].Settings != "changed" {
		t.Errorf("%+v", got)
	}
	if want := "b/tuned is not in revision " + base.Commit + ", and is left out"; len(said) != 1 || said[0] != want {
		t.Errorf("said %q, want %q", said, want)
	}
	if err := base.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir("bin"); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}
