package variant

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connbench/harness/explain"
)

// A new variant is a copy under its own name, and is found at once.
func TestCreate(t *testing.T) {
	servers := t.TempDir()
	folder := filepath.Join(servers, "example")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{
		File:      "name = \"example\"\ntitle = \"E\"\nmodel = \"reactor\"\nlanguage = \"Go\"\nlibrary = \"\"\ntemplate = true\n[class.tuned]\nsettings = \"name = kept\"\nbuild = [\"true\"]\nrun = [\"true\"]\n",
		"main.go": "// Command example serves.\npackage main\n",
	} {
		if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	all, err := Discover(servers)
	if err != nil {
		t.Fatal(err)
	}
	original, err := Template(all, "go")
	if err != nil {
		t.Fatal(err)
	}
	made, err := Create(servers, original, "mine")
	if err != nil {
		t.Fatal(err)
	}
	if all, err = Discover(servers); err != nil || len(all) != 2 {
		t.Fatalf("%d variants, %v", len(all), err)
	}
	mine := all[1]
	if mine.Name != "mine" || mine.Title != "mine" || mine.Template || mine.Classes["tuned"].Settings != "name = kept" {
		t.Errorf("%+v", mine)
	}
	if text, err := os.ReadFile(filepath.Join(made, "main.go")); err != nil || !strings.HasPrefix(string(text), "// Command mine serves.") {
		t.Errorf("%s, %v", text, err)
	}
	for name, want := range map[string]string{"mine": "is there already", "../evil": "is not a name", "": "is not a name"} {
		if _, err := Create(servers, original, name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := Template(all, "COBOL"); err == nil || !strings.Contains(explain.HintOf(err), "take one of go") {
		t.Errorf("%v", err)
	}
}
