package probe

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
)

// Controllers of control groups, by the names of version 1.
const (
	memoryController = "memory"
	cpuController    = "cpu"
	pidsController   = "pids"
)

// membership is the control group that this process is in, for one controller: the
// folder where the hierarchy is mounted, and the group's path below it. Version 1
// is described in the kernel's Documentation/admin-guide/cgroup-v1, version 2 in
// admin-guide/cgroup-v2.rst.
type membership struct {
	version       int
	folder, group string
}

// membership is nil in a kernel without the controller.
func (r *Reader) membership(controller string) (*membership, error) {
	self, err := r.proc.Self()
	if err != nil {
		return nil, err
	}
	memberships, err := self.Cgroups()
	if err != nil {
		return nil, err
	}
	version := 1
	i := slices.IndexFunc(memberships, func(c procfs.Cgroup) bool { return slices.Contains(c.Controllers, controller) })
	if i < 0 {
		version = 2
		i = slices.IndexFunc(memberships, func(c procfs.Cgroup) bool { return c.HierarchyID == 0 })
	}
	if i < 0 {
		return nil, nil
	}
	return r.mounted(self.PID, memberships[i], controller, version)
}

// mounted finds where the hierarchy of a group is mounted. `ip netns exec` hides
// the mounts; they are then looked for where the reader's parent sees them.
func (r *Reader) mounted(self int, group procfs.Cgroup, controller string, version int) (*membership, error) {
	for _, pid := range []int{self, r.parent} {
		mounts, err := r.proc.GetProcMounts(pid)
		if err != nil {
			return nil, err
		}
		root := "/"
		if pid != self {
			root = path.Join("/proc", strconv.Itoa(pid), "root")
		}
		for _, mount := range mounts {
			_, has := mount.SuperOptions[controller]
			if version == 1 && mount.FSType == "cgroup" && has || version == 2 && mount.FSType == "cgroup2" {
				// A mount may show only a part of the hierarchy, as in a container.
				below := strings.TrimPrefix(group.Path, strings.TrimSuffix(mount.Root, "/"))
				return &membership{version, path.Join(root, mount.MountPoint), below}, nil
			}
		}
	}
	return nil, errors.New("control groups are not mounted here")
}

// outwards are the folders of the group and of all groups around it, the innermost
// first. A nil membership has none.
func (m *membership) outwards() iter.Seq[string] {
	return func(yield func(string) bool) {
		if m == nil {
			return
		}
		for group := m.group; yield(path.Join(m.folder, group)); group = path.Dir(group) {
			if group == "" || group == "/" || group == "." {
				return
			}
		}
	}
}

// file is the name of a file, which the versions call differently.
func (m *membership) file(folder, version1, version2 string) string {
	if m.version == 1 {
		return path.Join(folder, version1)
	}
	return path.Join(folder, version2)
}

// limit reads a limit. It is nil if the file is not there (a root group, or one
// without the controller) or if it says that there is no limit: "max" in version
// 2, the largest number of whole pages in version 1.
func (r *Reader) limit(file string) (*int64, error) {
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

// memoryGroup is a control group that limits memory.
type memoryGroup struct {
	*membership
	folder      string
	limit, used int64 // bytes
}

// memoryGroup is the group with the least memory left under its limit, of those
// that this process is in, or nil where none has a limit.
func (r *Reader) memoryGroup() (*memoryGroup, error) {
	own, err := r.membership(memoryController)
	if err != nil {
		return nil, err
	}
	var least *memoryGroup
	for folder := range own.outwards() {
		limit, err := r.limit(own.file(folder, "memory.limit_in_bytes", "memory.max"))
		if err != nil {
			return nil, err
		}
		if limit == nil {
			continue
		}
		used, err := r.groupMemory(own, folder)
		if err != nil {
			return nil, err
		}
		if least == nil || *limit-used < least.limit-least.used {
			least = &memoryGroup{own, folder, *limit, used}
		}
	}
	return least, nil
}

// groupMemory is the memory charged to a group, without what the kernel can take
// back by dropping files from the page cache.
func (r *Reader) groupMemory(m *membership, folder string) (int64, error) {
	used, err := r.number(m.file(folder, "memory.usage_in_bytes", "memory.current"))
	if err != nil {
		return 0, err
	}
	stat, err := r.pairs(path.Join(folder, "memory.stat"))
	cache := "inactive_file"
	if m.version == 1 {
		cache = "total_inactive_file"
	}
	return used - stat[cache], err
}

// memoryEvents counts how often the limit was hit, and what died of it.
func (r *Reader) memoryEvents(g *memoryGroup) (map[string]int64, error) {
	if g.version == 2 {
		return r.pairs(path.Join(g.folder, "memory.events"))
	}
	hits, err := r.number(path.Join(g.folder, "memory.failcnt"))
	if err != nil {
		return nil, err
	}
	events := map[string]int64{"max": hits}
	control, err := r.pairs(path.Join(g.folder, "memory.oom_control"))
	if kills, known := control["oom_kill"]; known { // since Linux 4.13
		events["oom_kill"] = kills
	}
	return events, err
}

// cpuQuota is the number of CPUs' worth of time that the tightest group over this
// process allows, nil where none has a quota. throttled is the time since the
// groups were made in which a quota kept tasks from running, in seconds.
func (r *Reader) cpuQuota() (cpus *float64, throttled float64, err error) {
	own, err := r.membership(cpuController)
	if err != nil {
		return nil, 0, err
	}
	for folder := range own.outwards() {
		quota, err := r.quota(own, folder)
		if err != nil {
			return nil, 0, err
		}
		if quota == nil {
			continue
		}
		if cpus == nil || *quota < *cpus {
			cpus = quota
		}
		stat, err := r.pairs(path.Join(folder, "cpu.stat"))
		if err != nil {
			return nil, 0, err
		}
		if own.version == 1 {
			throttled += float64(stat["throttled_time"]) / 1e9
		} else {
			throttled += float64(stat["throttled_usec"]) / 1e6
		}
	}
	return cpus, throttled, nil
}

// quota returns what one group allows, as a number of CPUs; nil without a quota.
// Version 1 has time and period in two files, version 2 in one: the time is then -1
// or "max" if there is no quota.
func (r *Reader) quota(m *membership, folder string) (*float64, error) {
	content, err := r.text(m.file(folder, "cpu.cfs_quota_us", "cpu.max"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(content)
	if m.version == 1 {
		period, err := r.text(path.Join(folder, "cpu.cfs_period_us"))
		if err != nil {
			return nil, err
		}
		fields = append(fields, period)
	}
	if len(fields) != 2 {
		return nil, fmt.Errorf("the CPU quota of %s is %q, want two numbers", folder, content)
	}
	if fields[0] == "max" || fields[0] == "-1" {
		return nil, nil
	}
	time, err := strconv.ParseFloat(fields[0], 64)
	period, err2 := strconv.ParseFloat(fields[1], 64)
	if err := errors.Join(err, err2); err != nil {
		return nil, fmt.Errorf("the CPU quota of %s: %w", folder, err)
	}
	return new(time / period), nil
}

// taskGroup is the control group with the fewest tasks left under its limit: how
// many it allows, and how many it has. Most is nil where none has a limit.
func (r *Reader) taskGroup() (most *int64, tasks int64, err error) {
	own, err := r.membership(pidsController)
	if err != nil {
		return nil, 0, err
	}
	for folder := range own.outwards() {
		limit, err := r.limit(path.Join(folder, "pids.max"))
		if err != nil {
			return nil, 0, err
		}
		if limit == nil {
			continue
		}
		current, err := r.number(path.Join(folder, "pids.current"))
		if err != nil {
			return nil, 0, err
		}
		if most == nil || *limit-current < *most-tasks {
			most, tasks = limit, current
		}
	}
	return most, tasks, nil
}
