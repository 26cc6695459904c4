package perf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"connbench/harness/probe/tree"
)

func TestTotal(t *testing.T) {
	for _, test := range []struct {
		name  string
		parts []part
		want  int64
		fails string
	}{
		{"nothing", nil, 0, ""},
		{"two threads", []part{{5_000_000_000, 7e6, 7e6}, {3, 1, 1}}, 5_000_000_003, ""},
		{"one that never ran", []part{{10, 5, 5}, {0, 0, 0}}, 10, ""},
		{"counters shared", []part{{10, 5e6, 5e6}, {10, 8e6, 4e6}}, 0, "ours ran for 9 of 13 ms"},
	} {
		got, err := total(test.parts)
		if test.fails != "" {
			if err == nil || !strings.Contains(err.Error(), test.fails) {
				t.Errorf("%s: error %v, want one with %q", test.name, err, test.fails)
			}
		} else if err != nil || got != test.want {
			t.Errorf("%s: %d, %v, want %d", test.name, got, err, test.want)
		}
	}
}

func TestNoCounters(t *testing.T) {
	host := tree.Tree(t.TempDir())
	paranoid := host.Path("proc/sys/kernel/perf_event_paranoid")
	if err := os.MkdirAll(filepath.Dir(paranoid), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(paranoid, []byte("4\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		err  error
		want string
	}{
		{unix.ENOENT, "the CPU shows no counters, as in most virtual machines"},
		{unix.EACCES, "not permitted: kernel.perf_event_paranoid is 4"},
		{unix.ENOSYS, "this kernel has no perf_event_open(2)"},
		{unix.EMFILE, "too many open files"},
	} {
		if got := refusal(host, test.err).Error(); got != test.want {
			t.Errorf("%v: %q, want %q", test.err, got, test.want)
		}
	}
}
