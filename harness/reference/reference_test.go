package reference_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"connbench/harness/reference"
)

var update = flag.Bool("update", false, "write the pages and schemas anew")

const root = "../.."

// The pages and schemas are those of the code.
func TestPages(t *testing.T) {
	pages, err := reference.Pages()
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range pages {
		path := filepath.Join(root, file)
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if is, err := os.ReadFile(path); err != nil || string(is) != want {
			t.Errorf("%s is not what the code says (%v): go test ./harness/reference -update", file, err)
		}
	}
}
