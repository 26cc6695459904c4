package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"connbench/harness/probe/tree"
)

// Group is a memory control group for processes. It separates their kernel memory
// from everybody else's: if both ends of a connection are on one kernel, it counts
// the server's end alone.
type Group struct {
	files   tree.Tree
	folder  string
	version int
}

// groupPrefix begins the names of groups; the number of the process that made the
// group follows.
const groupPrefix = "connbench-"

// NewGroup makes an empty group, and removes the groups of processes that were
// killed. It fails if this host does not let us make one.
func (r *Reader) NewGroup() (*Group, error) {
	parent, version, err := r.home()
	if err != nil {
		return nil, err
	}
	r.removeLeft(parent)
	g := &Group{files: r.files, folder: path.Join(parent, groupPrefix+strconv.Itoa(os.Getpid())), version: version}
	if err := os.Mkdir(r.files.Path(g.folder), 0o755); err != nil {
		return nil, err
	}
	if _, err := g.KernelBytes(); err != nil {
		g.Remove()
		return nil, err
	}
	return g, nil
}

// home is the folder in which groups are made.
func (r *Reader) home() (folder string, version int, err error) {
	own, err := r.membership(memoryController)
	if err != nil {
		return "", 0, err
	}
	if own == nil {
		return "", 0, errors.New("this kernel has no control groups for memory")
	}
	if own.version == 2 {
		folder, err = r.handsOn(own)
		return folder, own.version, err
	}
	return path.Join(own.folder, own.group), own.version, nil
}

// emptyPatience is how long the kernel may take to end processes that were killed.
const emptyPatience = 5 * time.Second

// RemoveLeft removes the groups that killed processes left behind, and waits for what
// is in them to end.
func (r *Reader) RemoveLeft() {
	parent, _, err := r.home()
	if err != nil {
		return // then there is none
	}
	for deadline := time.Now().Add(emptyPatience); r.removeLeft(parent) && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
}

// removeLeft removes the groups in a folder that killed processes left behind. It is
// true if one still has a process.
func (r *Reader) removeLeft(parent string) (busy bool) {
	left, _ := filepath.Glob(r.files.Path(parent, groupPrefix+"*")) // the pattern is sound
	for _, folder := range left {
		maker := strings.TrimPrefix(filepath.Base(folder), groupPrefix)
		if _, err := os.Stat(r.files.Path("proc", maker)); errors.Is(err, fs.ErrNotExist) {
			busy = errors.Is(os.Remove(folder), unix.EBUSY) || busy
		}
	}
	return busy
}

// handsOn finds the nearest group around our own that hands the memory controller
// on to groups within it; a group with processes cannot do that (cgroup-v2.rst, "No
// Internal Process Constraint"). A group that hands on CPUs too is refused:
// processes in a new group there would get other shares of them. So is one beyond a
// memory limit, which would not hold in the new group.
func (r *Reader) handsOn(own *membership) (string, error) {
	for folder := range own.outwards() {
		content, err := r.files.Text(path.Join(folder, "cgroup.subtree_control"))
		if err != nil {
			return "", err
		}
		controllers := strings.Fields(content)
		switch {
		case slices.Contains(controllers, "cpu") || slices.Contains(controllers, "cpuset"):
			return "", fmt.Errorf("groups within %s have CPU shares of their own", folder)
		case slices.Contains(controllers, "memory"):
			return folder, nil
		}
		if limit, err := r.limit(path.Join(folder, "memory.max")); limit != nil || err != nil {
			return "", errors.Join(errors.New(folder+" limits memory"), err)
		}
	}
	return "", errors.New("no control group hands the memory controller on")
}

// Add moves a process into the group. The memory that it already has stays charged
// to the group that it comes from.
func (g *Group) Add(pid int) error {
	return os.WriteFile(g.files.Path(g.folder, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
}

// KernelBytes returns the kernel memory charged to the group: slab, page tables,
// stacks and socket buffers (cgroup-v1/memory.rst, "Kernel Memory Extension";
// cgroup-v2.rst, memory.stat, since Linux 5.18). The kernel makes the socket of a
// connection when its packets come in, on nobody's account. Version 1 never charges
// it to the group that accepts it, version 2 does in recent kernels.
func (g *Group) KernelBytes() (int64, error) {
	if g.version == 1 {
		kernel, err := g.files.Number(path.Join(g.folder, "memory.kmem.usage_in_bytes"))
		if err != nil {
			return 0, err
		}
		sockets, err := g.files.Number(path.Join(g.folder, "memory.kmem.tcp.usage_in_bytes"))
		return kernel + sockets, err
	}
	stat, err := g.files.Pairs(path.Join(g.folder, "memory.stat"))
	if err != nil {
		return 0, err
	}
	kernel, known := stat["kernel"]
	if !known {
		return 0, fmt.Errorf("%s: memory.stat does not have the kernel's part", g.folder)
	}
	return kernel + stat["sock"], nil
}

// Remove removes the group, which must have no process any more.
func (g *Group) Remove() error { return os.Remove(g.files.Path(g.folder)) }
