package control

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Nothing is listed that cannot occur: the swarm names each phase and each error
// that is not an errno, and every errno is one of the kernel's.
func TestFailureKindsOccur(t *testing.T) {
	constants := stringConstants(t, "failure.go")
	named := namedBySwarm(t)
	errnos := map[Error]bool{}
	for errno := range syscall.Errno(200) {
		errnos[Error(unix.ErrnoName(errno))] = true
	}
	for _, kind := range FailureKinds() {
		if name := constants[string(kind.Phase)]; !named[name] {
			t.Errorf("%q: no program of the swarm names the phase", kind)
		}
		if name, ours := constants[string(kind.Error)]; ours && !named[name] {
			t.Errorf("%q: no program of the swarm names the error", kind)
		} else if !ours && !errnos[kind.Error] {
			t.Errorf("%q: there is no such errno", kind)
		}
	}
}

func TestFailureKindsAreComplete(t *testing.T) {
	kinds := FailureKinds()
	for value, name := range stringConstants(t, "failure.go") {
		if !slices.ContainsFunc(kinds, func(k FailureKind) bool { return string(k.Phase) == value || string(k.Error) == value }) {
			t.Errorf("%s is in no kind of failure", name)
		}
	}
	for i, kind := range kinds {
		if slices.Contains(kinds[:i], kind) {
			t.Errorf("%q is listed twice", kind)
		}
	}
}

func TestErrnoError(t *testing.T) {
	for errno, want := range map[syscall.Errno]Error{0: "closed", unix.ECONNRESET: "ECONNRESET", 4000: "errno 4000"} {
		if got := ErrnoError(errno); got != want {
			t.Errorf("%d is %q, want %q", int(errno), got, want)
		}
	}
}

// stringConstants are the constants that a file declares, by value.
func stringConstants(t *testing.T, file string) map[string]string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	ast.Inspect(parsed, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Values) == 1 {
			if value, ok := spec.Values[0].(*ast.BasicLit); ok {
				names[strings.Trim(value.Value, `"`)] = spec.Names[0].Name
			}
		}
		return true
	})
	return names
}

// namedBySwarm are the names of this package that the swarm's own files use.
func namedBySwarm(t *testing.T) map[string]bool {
	t.Helper()
	named := map[string]bool{}
	err := filepath.WalkDir("../internal", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if selector, ok := n.(*ast.SelectorExpr); ok {
				if of, ok := selector.X.(*ast.Ident); ok && of.Name == "control" {
					named[selector.Sel.Name] = true
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return named
}
