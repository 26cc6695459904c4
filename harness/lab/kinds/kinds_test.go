package kinds

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connbench/harness/lab"
)

var update = flag.Bool("update", false, "write ../README.md")

const page = "../README.md"

// The page of labs has the table of the kinds. `go test ./harness/lab/kinds -update`
// writes it.
func TestPageListsEveryKind(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(text), "<!-- kinds -->\n")
	_, after, ends := strings.Cut(rest, "<!-- end of kinds -->\n")
	if !begins || !ends {
		t.Fatalf("%s has no marks for the table", page)
	}
	want := before + "<!-- kinds -->\n" + lab.Index() + "<!-- end of kinds -->\n" + after
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(text) != want {
		t.Errorf("%s is not up to date: go test ./harness/lab/kinds -update", page)
	}
}

// Every kind has what help, completion and documentation say of it.
func TestKindsAreComplete(t *testing.T) {
	for _, k := range lab.Kinds() {
		if k.Form == "" && k.File == "" || k.About == "" || k.Open == nil || (k.Paper != nil) != (k.File != "") {
			t.Errorf("%s lacks something: %+v", k.Name, k)
		}
		if k.Form != "" && !strings.HasPrefix(k.Form, k.Name) {
			t.Errorf("%s has the form %q", k.Name, k.Form)
		}
		text, err := os.ReadFile(filepath.Join("..", k.Name, "README.md"))
		if err != nil || string(text) != k.Doc {
			t.Errorf("the documentation of %s is not that of its folder: %v", k.Name, err)
		}
	}
}
