package probe

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
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

// memoryCgroup is the group with the tightest memory limit of those that this
// process is in, outer groups included, or nil where none has a limit.
func (r *Reader) memoryCgroup() (*cgroup, error) {
	self, err := r.proc.Self()
	if err != nil {
		return nil, err
	}
	memberships, err := self.Cgroups()
	if err != nil {
		return nil, err
	}
	mounts, err := r.proc.GetProcMounts(self.PID)
	if err != nil {
		return nil, err
	}
	var tightest *cgroup
	for _, mount := range mounts {
		_, memory := mount.SuperOptions["memory"]
		for _, member := range memberships {
			files := version2
			if mount.FSType == "cgroup" && memory && slices.Contains(member.Controllers, "memory") {
				files = version1
			} else if mount.FSType != "cgroup2" || member.HierarchyID != 0 {
				continue
			}
			// A mount may show only a part of the hierarchy, as in a container.
			group := strings.TrimPrefix(member.Path, strings.TrimSuffix(mount.Root, "/"))
			for {
				folder := path.Join(mount.MountPoint, group)
				limit, err := r.memoryLimit(path.Join(folder, files.limit))
				if err != nil {
					return nil, err
				}
				if limit != nil && (tightest == nil || *limit < tightest.limit) {
					tightest = &cgroup{reader: r, folder: folder, files: files, limit: *limit}
				}
				if group == "" || group == "/" || group == "." {
					break
				}
				group = path.Dir(group)
			}
		}
	}
	return tightest, nil
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
