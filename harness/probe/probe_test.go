package probe

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// here is a reader of the machine that the test runs on.
func here(t testing.TB) *Reader {
	t.Helper()
	reader, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	return reader
}

// copyOf is a reader of a made-up host. Files are given by their paths; one whose
// content begins with "-> " is a symbolic link.
func copyOf(t *testing.T, files ...map[string]string) *Reader {
	t.Helper()
	root := t.TempDir()
	for _, group := range files {
		for name, content := range group {
			path := filepath.Join(root, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			var err error
			if target, link := strings.CutPrefix(content, "-> "); link {
				err = os.Symlink(target, path)
			} else {
				err = os.WriteFile(path, []byte(content), 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	reader, err := OpenTree(root)
	if err != nil {
		t.Fatal(err)
	}
	return reader
}

// is fails the test unless the figure is there and has this value.
func is[T comparable](t *testing.T, what string, got *T, want T) {
	t.Helper()
	if got == nil {
		t.Errorf("%s is missing, want %v", what, want)
	} else if *got != want {
		t.Errorf("%s is %v, want %v", what, *got, want)
	}
}

// missing fails the test if the figure is there, or is missed without a warning
// in which the words about occur.
func missing[T any](t *testing.T, what string, got *T, warnings []string, about string) {
	t.Helper()
	if got != nil {
		t.Errorf("%s is %v, want none", what, *got)
	}
	if !strings.Contains(strings.Join(warnings, "\n"), about) {
		t.Errorf("%s: no warning about %q in %q", what, about, warnings)
	}
}

func TestOpenTreeWithoutProc(t *testing.T) {
	if _, err := OpenTree(t.TempDir()); err == nil || !strings.Contains(err.Error(), "is /proc mounted?") {
		t.Errorf("got error %v, want one that asks for /proc", err)
	}
}

func TestReadingsSurviveJSON(t *testing.T) {
	reader := here(t)
	process, err := reader.Process(os.Getpid(), Detail)
	if err != nil {
		t.Fatal(err)
	}
	host, _ := reader.Host("here")
	before := reader.System(Detail)
	after := reader.System(Detail)
	for _, sent := range []any{process, host, after, after.Since(before, nil)} {
		line, err := json.Marshal(sent)
		if err != nil {
			t.Fatal(err)
		}
		back := reflect.New(reflect.TypeOf(sent))
		strict := json.NewDecoder(bytes.NewReader(line))
		strict.DisallowUnknownFields()
		if err := strict.Decode(back.Interface()); err != nil {
			t.Fatal(err)
		}
		if got := back.Elem().Interface(); !reflect.DeepEqual(got, sent) {
			t.Errorf("sent %+v\ngot %+v", sent, got)
		}
	}
}

func TestSpinCalculates(t *testing.T) {
	before := spun.Load()
	if took := Spin(); took <= 0 {
		t.Errorf("Spin took %v", took)
	}
	if spun.Load() == before {
		t.Error("Spin left its result as it was")
	}
}

func BenchmarkLightProcess(b *testing.B)  { benchmarkProcess(b, Light) }
func BenchmarkDetailProcess(b *testing.B) { benchmarkProcess(b, Detail) }

func benchmarkProcess(b *testing.B, level Level) {
	reader := here(b)
	for b.Loop() {
		if _, err := reader.Process(os.Getpid(), level); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLightSystem(b *testing.B)  { benchmarkSystem(b, Light) }
func BenchmarkDetailSystem(b *testing.B) { benchmarkSystem(b, Detail) }

func benchmarkSystem(b *testing.B, level Level) {
	reader := here(b)
	for b.Loop() {
		reader.System(level)
	}
}

func BenchmarkSpin(b *testing.B) {
	for b.Loop() {
		Spin()
	}
}
