// Package probe reads what the kernel says about a host and about processes on
// it: facts that stay, for a run's manifest ([Reader.Host]), and figures that
// change, for samples and for the steps of a ramp ([Reader.Process],
// [Reader.System]). It runs on the measured host, and its readings travel as
// JSON.
//
// A figure that cannot be read is nil, and a warning says why; it is never 0.
// No reading takes longer because there are more connections.
package probe

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/procfs"
)

// Level says how much a reading takes in.
type Level int

const (
	// Light is for samples several times a second: a handful of small files.
	Light Level = iota
	// Detail is for the points between which something is measured: it also
	// walks a process's memory map and threads, and the kernel's slab caches.
	Detail
)

// Reader reads /proc, /sys and /etc below a root folder.
type Reader struct {
	root string
	proc procfs.FS
	// live is true where /proc is the kernel's own, not a copy of some files of
	// it: only there do system calls about a process make sense.
	live bool
	// parent is the process that started the reader. It sees the host where the
	// reader was started in namespaces of its own.
	parent int

	configOnce sync.Once
	inTasks    bool

	event event

	lock      sync.Mutex
	histories map[identity]*history
	noCounter error // why the kernel lets us count no events; nil: it was not asked, or does
}

// Open is a Reader of this host.
func Open() (*Reader, error) {
	reader, err := OpenTree("/")
	if err != nil {
		return nil, err
	}
	reader.live, reader.parent = true, os.Getppid()
	return reader, nil
}

// OpenTree is a Reader of a copy of /proc, /sys and /etc in the folder root.
func OpenTree(root string) (*Reader, error) {
	proc, err := procfs.NewFS(filepath.Join(root, "proc"))
	if err != nil {
		return nil, fmt.Errorf("cannot read this host: %w; is /proc mounted?", err)
	}
	return &Reader{
		root: root, proc: proc, parent: 1,
		event:     userInstructions,
		histories: map[identity]*history{},
	}, nil
}

func (r *Reader) path(elements ...string) string {
	return filepath.Join(append([]string{r.root}, elements...)...)
}

// text is a file's content without the white space around it.
func (r *Reader) text(path string) (string, error) {
	content, err := os.ReadFile(r.path(path))
	return strings.TrimSpace(string(content)), err
}

// number is the first number of a file.
func (r *Reader) number(path string) (int64, error) {
	content, err := r.text(path)
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(strings.ReplaceAll(content, "\t", " "), " ")
	value, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %q is not a number", path, first)
	}
	return value, nil
}

// warnings collects why figures are missing.
type warnings []string

// add notes that what could not be read.
func (w *warnings) add(what string, err error) {
	*w = append(*w, what+": "+err.Error())
}

// figure is a pointer to value, or nil and a warning.
func figure[T any](w *warnings, what string, value T, err error) *T {
	if err != nil {
		w.add(what, err)
		return nil
	}
	return &value
}

// signed converts what procfs leaves nil where the kernel does not tell.
func signed(value *uint64) *int64 {
	if value == nil {
		return nil
	}
	result := int64(*value)
	return &result
}
