package programs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCacheIsBounded(t *testing.T) {
	folder, now := t.TempDir(), time.Now()
	for name, program := range map[string]struct {
		age   time.Duration
		bytes int64
	}{
		"new":      {time.Minute, keepBytes},
		"needed":   {keepSurely / 2, keepBytes},
		"over":     {2 * keepSurely, 1},
		"outdated": {keep + time.Hour, 1},
	} {
		path := filepath.Join(folder, name)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		// Sparse: only its size is large.
		if err := os.WriteFile(filepath.Join(path, "server"), nil, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(path, "server"), program.bytes); err != nil {
			t.Fatal(err)
		}
		used := now.Add(-program.age)
		if err := os.Chtimes(path, used, used); err != nil {
			t.Fatal(err)
		}
	}
	prune(folder, now)
	left, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{filepath.Join(folder, "needed"), filepath.Join(folder, "new")}; !slices.Equal(left, want) {
		t.Errorf("left %v, want %v", left, want)
	}
}

func TestDamagedProgramIsRefused(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	in := Incoming{}
	if _, err := in.Add(Program{"00", "server"}, []byte("text"), true); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("error %v", err)
	}
}
