package probe

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
)

// Group is a memory control group for processes whose kernel memory is to be told
// from everybody else's: where both ends of a connection are on one kernel, the
// server's end alone.
type Group struct {
	reader  *Reader
	folder  string
	version int
}

// groupPrefix begins the names of such groups; the maker's process number follows.
const groupPrefix = "connbench-"

// NewGroup makes an empty group, and removes those of makers that were killed. It
// fails where this host does not let us have one.
func (r *Reader) NewGroup() (*Group, error) {
	own, err := r.membership(memoryController)
	if err != nil {
		return nil, err
	}
	if own == nil {
		return nil, errors.New("this kernel has no control groups for memory")
	}
	parent := path.Join(own.folder, own.group)
	if own.version == 2 {
		if parent, err = r.handsOn(own); err != nil {
			return nil, err
		}
	}
	r.removeLeft(parent)
	g := &Group{reader: r, folder: path.Join(parent, groupPrefix+strconv.Itoa(os.Getpid())), version: own.version}
	if err := os.Mkdir(r.path(g.folder), 0o755); err != nil {
		return nil, err
	}
	if _, err := g.KernelBytes(); err != nil {
		g.Remove()
		return nil, err
	}
	return g, nil
}

// removeLeft removes the groups in a folder whose makers are gone.
func (r *Reader) removeLeft(parent string) {
	left, _ := filepath.Glob(r.path(parent, groupPrefix+"*")) // the pattern is sound
	for _, folder := range left {
		maker := strings.TrimPrefix(filepath.Base(folder), groupPrefix)
		if _, err := os.Stat(r.path("proc", maker)); errors.Is(err, fs.ErrNotExist) {
			os.Remove(folder) // refused while a process is in it
		}
	}
}

// handsOn is the nearest group outwards that hands the memory controller on to
// groups within it: one with processes cannot (cgroup-v2.rst, "No Internal Process
// Constraint"). None will do that hands on CPUs too, since processes in a new
// group would get other shares of them than before, and none beyond a memory limit.
func (r *Reader) handsOn(own *membership) (string, error) {
	for folder := range own.outwards() {
		content, err := r.text(path.Join(folder, "cgroup.subtree_control"))
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

// Add moves a process into the group. What it has taken before stays charged to the
// group that it comes from.
func (g *Group) Add(pid int) error {
	return os.WriteFile(g.reader.path(g.folder, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
}

// KernelBytes is what the kernel has charged to the group for its own memory: slab,
// page tables, stacks and socket buffers (cgroup-v1/memory.rst, "Kernel Memory
// Extension"; cgroup-v2.rst, memory.stat, since Linux 5.18). An accepted socket
// itself was made as packets came in, on nobody's account: version 1 never charges
// it, version 2 does when it is accepted, in recent kernels.
func (g *Group) KernelBytes() (int64, error) {
	if g.version == 1 {
		kernel, err := g.reader.number(path.Join(g.folder, "memory.kmem.usage_in_bytes"))
		if err != nil {
			return 0, err
		}
		sockets, err := g.reader.number(path.Join(g.folder, "memory.kmem.tcp.usage_in_bytes"))
		return kernel + sockets, err
	}
	stat, err := g.reader.pairs(path.Join(g.folder, "memory.stat"))
	if err != nil {
		return 0, err
	}
	kernel, known := stat["kernel"]
	if !known {
		return 0, fmt.Errorf("%s: memory.stat does not tell the kernel's part", g.folder)
	}
	return kernel + stat["sock"], nil
}

// Remove ends the group, which no process may be in any more.
func (g *Group) Remove() error { return os.Remove(g.reader.path(g.folder)) }
