// Package probe reads what the kernel says about a host and its processes: facts
// that stay the same, for a run's manifest ([Reader.Host]), and figures that change,
// for samples and for the steps of a ramp ([Reader.Process], [Reader.System]). It
// runs on the measured host. No reading takes longer because there are more
// connections.
package probe

import (
	"fmt"
	"os"
	"sync"

	"github.com/prometheus/procfs"

	"connbench/harness/probe/cgroup"
	"connbench/harness/probe/perf"
	"connbench/harness/probe/tree"
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
	files   tree.Tree
	proc    procfs.FS
	cgroups *cgroup.Reader
	// live is true if /proc is the kernel's own and not a copy of some files of it.
	// System calls about a process make sense only there.
	live bool

	configOnce sync.Once
	inTasks    bool

	event perf.Event

	lock      sync.Mutex
	histories map[identity]*history
	noCounter error // why the kernel lets us count no events; nil: it was not asked, or does
}

// Open returns a Reader of this host.
func Open() (*Reader, error) {
	reader, err := open("/", os.Getppid())
	if err != nil {
		return nil, err
	}
	reader.live = true
	return reader, nil
}

// OpenTree returns a Reader of a copy of /proc, /sys and /etc in the folder root.
func OpenTree(root string) (*Reader, error) { return open(root, 1) }

// open returns a Reader that the process parent has started.
func open(root string, parent int) (*Reader, error) {
	files := tree.Tree(root)
	proc, err := procfs.NewFS(files.Path("proc"))
	if err != nil {
		return nil, fmt.Errorf("cannot read this host: %w; is /proc mounted?", err)
	}
	return &Reader{
		files: files, proc: proc, cgroups: cgroup.New(files, proc, parent),
		event:     perf.Instructions,
		histories: map[identity]*history{},
	}, nil
}

// NewGroup makes a control group that counts the kernel memory of processes: see
// [cgroup.Reader.NewGroup].
func (r *Reader) NewGroup() (*cgroup.Group, error) { return r.cgroups.NewGroup() }

// RemoveLeftGroups removes the groups of processes that were killed: see
// [cgroup.Reader.RemoveLeft].
func (r *Reader) RemoveLeftGroups() { r.cgroups.RemoveLeft() }

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
