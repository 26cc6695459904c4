package probe

import (
	"errors"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
)

// cgroup is a control group that limits memory, as described in the kernel's
// Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
type cgroup struct {
	reader *Reader
	folder string
	files  *cgroupFiles
	limit  int64 // bytes
}

// cgroupFiles are the names that the two versions have for the same things.
type cgroupFiles struct {
	limit, usage, cache string
}

var (
	version1 = &cgroupFiles{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"}
	version2 = &cgroupFiles{"memory.max", "memory.current", "inactive_file"}
)

// membership is the memory control group that this process is in: where its
// hierarchy is mounted, and the group's path below that.
type membership struct {
	folder, group string
	files         *cgroupFiles
}

// membership is nil for a kernel without control groups for memory.
func (r *Reader) membership() (*membership, error) {
	self, err := r.proc.Self()
	if err != nil {
		return nil, err
	}
	memberships, err := self.Cgroups()
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(memberships, func(c procfs.Cgroup) bool { return slices.Contains(c.Controllers, "memory") })
	files := version1
	if i < 0 {
		i = slices.IndexFunc(memberships, func(c procfs.Cgroup) bool { return c.HierarchyID == 0 })
		files = version2
	}
	if i < 0 {
		return nil, nil
	}
	folder, group, err := r.cgroupFolder(self.PID, memberships[i], files)
	if err != nil {
		return nil, err
	}
	return &membership{folder, group, files}, nil
}

// outwards are the folders of the group and of all that it is in, the innermost
// first.
func (m *membership) outwards() iter.Seq[string] {
	return func(yield func(string) bool) {
		for group := m.group; yield(path.Join(m.folder, group)); group = path.Dir(group) {
			if group == "" || group == "/" || group == "." {
				return
			}
		}
	}
}

// memoryCgroup is the group with the tightest memory limit of those that this
// process is in, outer groups included, or nil where none has a limit.
func (r *Reader) memoryCgroup() (*cgroup, error) {
	own, err := r.membership()
	if own == nil {
		return nil, err
	}
	var tightest *cgroup
	for folder := range own.outwards() {
		limit, err := r.memoryLimit(path.Join(folder, own.files.limit))
		if err != nil {
			return nil, err
		}
		if limit != nil && (tightest == nil || *limit < tightest.limit) {
			tightest = &cgroup{reader: r, folder: folder, files: own.files, limit: *limit}
		}
	}
	return tightest, nil
}

// cgroupFolder is where the hierarchy of a membership is mounted, and the group
// below that. `ip netns exec` hides the mounts; they are then looked for where
// the reader's parent sees them.
func (r *Reader) cgroupFolder(self int, member procfs.Cgroup, files *cgroupFiles) (folder, group string, err error) {
	for _, pid := range []int{self, r.parent} {
		mounts, err := r.proc.GetProcMounts(pid)
		if err != nil {
			return "", "", err
		}
		root := "/"
		if pid != self {
			root = path.Join("/proc", strconv.Itoa(pid), "root")
		}
		for _, mount := range mounts {
			_, memory := mount.SuperOptions["memory"]
			if files == version1 && mount.FSType == "cgroup" && memory || files == version2 && mount.FSType == "cgroup2" {
				// A mount may show only a part of the hierarchy, as in a container.
				group := strings.TrimPrefix(member.Path, strings.TrimSuffix(mount.Root, "/"))
				return path.Join(root, mount.MountPoint), group, nil
			}
		}
	}
	return "", "", errors.New("control groups are not mounted here")
}

// memoryLimit is nil for a file that is not there (a root group, or one without
// the memory controller) or says that there is no limit: "max" in version 2, the
// largest number of whole pages in version 1.
func (r *Reader) memoryLimit(file string) (*int64, error) {
	content, err := r.text(file)
	if errors.Is(err, fs.ErrNotExist) || content == "max" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	const unlimited = 1 << 62
	limit, err := strconv.ParseInt(content, 10, 64)
	if err != nil || limit >= unlimited {
		return nil, err
	}
	return &limit, nil
}

// usage is the memory charged to the group that cannot be had back by dropping
// files from the page cache.
func (c *cgroup) usage() (int64, error) {
	used, err := c.reader.number(path.Join(c.folder, c.files.usage))
	if err != nil {
		return 0, err
	}
	stat, err := c.reader.pairs(path.Join(c.folder, "memory.stat"))
	return used - stat[c.files.cache], err
}

// events counts how often the limit was hit, and what died of it.
func (c *cgroup) events() (map[string]int64, error) {
	if c.files == version2 {
		return c.reader.pairs(path.Join(c.folder, "memory.events"))
	}
	hits, err := c.reader.number(path.Join(c.folder, "memory.failcnt"))
	if err != nil {
		return nil, err
	}
	events := map[string]int64{"max": hits}
	control, err := c.reader.pairs(path.Join(c.folder, "memory.oom_control"))
	if kills, known := control["oom_kill"]; known { // since Linux 4.13
		events["oom_kill"] = kills
	}
	return events, err
}
