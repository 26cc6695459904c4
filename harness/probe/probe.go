// Package probe reads what the kernel says about a host and its processes: facts
// that stay the same, for a run's manifest ([Reader.Host]), and figures that change,
// for samples and for the steps of a ramp ([Reader.Process], [Reader.System]). It
// runs on the measured host, and its readings travel as JSON. What the figures mean
// is computed from readings alone ([System.Since], [System.KernelBytes],
// [System.WithoutForeign]).
//
// A figure that cannot be read is nil, and a warning says why; it is never 0. No
// reading takes longer because there are more connections, except [Established].
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
	// Light is for samples several times a second. It reads a handful of small files.
	Light Level = iota
	// Detail is for the points between which something is measured. It also reads a
	// process's memory map and threads, and the kernel's slab caches.
	Detail
)

// Reader reads /proc, /sys and /etc below a root folder.
type Reader struct {
	root string
	proc procfs.FS
	// live is true if /proc is the kernel's own and not a copy of some files of it.
	// System calls about a process make sense only there.
	live bool
	// parent is the process that started the reader. It sees the host's mounts even
	// if the reader was started in namespaces of its own.
	parent int

	configOnce sync.Once
	inTasks    bool

	event event

	lock      sync.Mutex
	histories map[identity]*history
	noCounter error // why the kernel lets us count no events; nil: it was not asked, or does
}

// Open returns a Reader of this host.
func Open() (*Reader, error) {
	reader, err := OpenTree("/")
	if err != nil {
		return nil, err
	}
	reader.live, reader.parent = true, os.Getppid()
	return reader, nil
}

// OpenTree returns a Reader of a copy of /proc, /sys and /etc in the folder root.
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

// text returns a file's content without the white space around it.
func (r *Reader) text(path string) (string, error) {
	content, err := os.ReadFile(r.path(path))
	return strings.TrimSpace(string(content)), err
}

// number returns the first number of a file.
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

// add notes why a figure could not be read.
func (w *warnings) add(what string, err error) {
	*w = append(*w, what+": "+err.Error())
}

// figure returns a pointer to value or, after an error, nil and a warning.
func figure[T any](w *warnings, what string, value T, err error) *T {
	if err != nil {
		w.add(what, err)
		return nil
	}
	return &value
}

// signed converts a figure of procfs, which is nil if the kernel does not have it.
func signed(value *uint64) *int64 {
	if value == nil {
		return nil
	}
	result := int64(*value)
	return &result
}
