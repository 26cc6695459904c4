package variant

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connbench/harness/naming"
)

// FuzzRead checks that a variant that is read can be chosen, built and started, and that
// any other file is refused with an error that a terminal can show.
func FuzzRead(f *testing.F) {
	real, err := filepath.Glob("../../servers/*/" + File)
	if err != nil || len(real) == 0 {
		f.Fatalf("%d variants, %v", len(real), err)
	}
	for _, file := range real {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		name := filepath.Base(filepath.Dir(file))
		f.Add([]byte(strings.Replace(string(text), `"`+name+`"`, `"v"`, 1)))
	}
	f.Add([]byte("name = \"v\"\ntitle = \"t\"\nmodel = \"m\"\nlanguage = \"l\"\n[class.tuned]\nsettings = \"s\"\nbuild = [\"\"]\nrun = [\"\"]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		folder := filepath.Join(t.TempDir(), "v")
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(folder, File)
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
		v, err := read(file)
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				line = strings.TrimSuffix(line, "\n")
				if !strings.HasPrefix(line, file) || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) {
					t.Errorf("a line of the error is %q", line)
				}
			}
			return
		}
		choices, err := Select([]Variant{v}, []string{v.Name}, Classes)
		if err != nil || len(choices) == 0 {
			t.Fatalf("it cannot be chosen: %v, %v", choices, err)
		}
		for _, c := range choices {
			if err := naming.Check("class", c.Class); err != nil {
				t.Error(err)
			}
			program := Program{Choice: c, Path: "/program"}
			if command := program.CommandAt("/program"); len(command) == 0 || command[0] == "" {
				t.Errorf("%s is started by %q", c, command)
			}
			if build := c.Classes[c.Class].Build; len(build) == 0 || build[0] == "" {
				t.Errorf("%s is built by %q", c, build)
			}
		}
	})
}
