// Package cgroup reads what control groups allow the reader, and makes groups that count
// memory. Version 1 is described in the kernel's Documentation/admin-guide/cgroup-v1,
// version 2 in admin-guide/cgroup-v2.rst.
package cgroup

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

	"connbench/harness/probe/tree"
	"connbench/harness/reading"
)

// Reader reads the control groups that it is in, and all groups around them.
type Reader struct {
	files  tree.Tree
	proc   procfs.FS
	parent int
	pid    int // whose groups are read; 0: this process's
}

// New returns a reader of the groups that files and proc tell of. parent is the number
// of the process that started the reader: it sees the host's mounts even if the reader
// was started in namespaces of its own.
func New(files tree.Tree, proc procfs.FS, parent int) *Reader {
	return &Reader{files: files, proc: proc, parent: parent}
}

// Controllers of control groups, by the names of version 1.
const (
	memoryController = "memory"
	cpuController    = "cpu"
	pidsController   = "pids"
)

// membership is the control group that this process is in, for one controller: the
// folder where the hierarchy is mounted, and the group's path below it.
type membership struct {
	version       int
	folder, group string
}

// Of returns a reader of the groups that another process is in.
func (r *Reader) Of(pid int) *Reader {
	other := *r
	other.pid = pid
	return &other
}

// process is the process whose groups are read.
func (r *Reader) process() (procfs.Proc, error) {
	if r.pid == 0 {
		return r.proc.Self()
	}
	return r.proc.Proc(r.pid)
}

// membership is nil in a kernel without the controller.
func (r *Reader) membership(controller string) (*membership, error) {
	self, err := r.process()
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
	return r.mounted(memberships[i], controller, version)
}

// mounted finds where the hierarchy of a group is mounted. `ip netns exec` hides
// the mounts; they are then looked for where the reader's parent sees them.
func (r *Reader) mounted(group procfs.Cgroup, controller string, version int) (*membership, error) {
	own, err := r.proc.Self()
	if err != nil {
		return nil, err
	}
	for _, pid := range []int{own.PID, r.parent} {
		mounts, err := r.proc.GetProcMounts(pid)
		if err != nil {
			return nil, err
		}
		root := "/"
		if pid != own.PID {
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

// name is the name of a file, which the versions call differently.
func (m *membership) name(version1, version2 string) string {
	if m != nil && m.version == 1 {
		return version1
	}
	return version2
}

// limit reads a limit. It is nil if the file is not there (a root group, or one
// without the controller) or if it says that there is no limit: "max" in version
// 2, the largest number of whole pages in version 1.
func (r *Reader) limit(file string) (*int64, error) {
	content, err := r.files.Text(file)
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

// LeastMemory is the group with the least memory left under its limit, of those that
// the reader is in, or nil where none has a limit. Page cache that can be dropped is
// not counted as used.
func (r *Reader) LeastMemory() (*reading.GroupUse, error) {
	group, err := r.leastMemory()
	return r.seen(group), err
}

// FewestTasks is the group with the fewest threads left under its limit, of those that
// the reader is in, or nil where none has a limit.
func (r *Reader) FewestTasks() (*reading.GroupUse, error) {
	group, err := r.fewestTasks()
	return r.seen(group), err
}

// leastMemory is LeastMemory by the folder where the reader finds it.
func (r *Reader) leastMemory() (*reading.GroupUse, error) {
	own, err := r.membership(memoryController)
	if err != nil {
		return nil, err
	}
	return r.leastLeft(own, own.name("memory.limit_in_bytes", "memory.max"),
		func(folder string) (int64, error) { return r.groupMemory(own, folder) })
}

// fewestTasks is FewestTasks by the folder where the reader finds it.
func (r *Reader) fewestTasks() (*reading.GroupUse, error) {
	own, err := r.membership(pidsController)
	if err != nil {
		return nil, err
	}
	return r.leastLeft(own, "pids.max",
		func(folder string) (int64, error) { return r.files.Number(path.Join(folder, "pids.current")) })
}

// leastLeft is the group that leaves least of what a file limits; nil where none has
// a limit.
func (r *Reader) leastLeft(own *membership, limitFile string, used func(folder string) (int64, error)) (*reading.GroupUse, error) {
	var least *reading.GroupUse
	for folder := range own.outwards() {
		limit, err := r.limit(path.Join(folder, limitFile))
		if err != nil {
			return nil, err
		}
		if limit == nil {
			continue
		}
		use := &reading.GroupUse{Folder: folder, Limit: *limit}
		if use.Used, err = used(folder); err != nil {
			return nil, err
		}
		if least == nil || use.Left() < least.Left() {
			least = use
		}
	}
	return least, nil
}

// seen is a group as the parent sees it where only the parent does.
func (r *Reader) seen(u *reading.GroupUse) *reading.GroupUse {
	if u == nil {
		return nil
	}
	folder := strings.TrimPrefix(u.Folder, path.Join("/proc", strconv.Itoa(r.parent), "root"))
	return &reading.GroupUse{Folder: folder, Limit: u.Limit, Used: u.Used}
}

// groupMemory is the memory charged to a group, without what the kernel can take
// back by dropping files from the page cache.
func (r *Reader) groupMemory(m *membership, folder string) (int64, error) {
	used, err := r.files.Number(path.Join(folder, m.name("memory.usage_in_bytes", "memory.current")))
	if err != nil {
		return 0, err
	}
	stat, err := r.files.Pairs(path.Join(folder, "memory.stat"))
	return used - stat[m.name("total_inactive_file", "inactive_file")], err
}

// MemoryEvents counts how often the limit of the group that leaves least memory was
// hit, and what died of it; nil where none has a limit.
func (r *Reader) MemoryEvents() (map[string]int64, error) {
	group, err := r.leastMemory()
	if group == nil {
		return nil, err
	}
	own, err := r.membership(memoryController)
	if err != nil {
		return nil, err
	}
	if own.version == 2 {
		return r.files.Pairs(path.Join(group.Folder, "memory.events"))
	}
	hits, err := r.files.Number(path.Join(group.Folder, "memory.failcnt"))
	if err != nil {
		return nil, err
	}
	events := map[string]int64{"max": hits}
	control, err := r.files.Pairs(path.Join(group.Folder, "memory.oom_control"))
	if kills, known := control["oom_kill"]; known { // since Linux 4.13
		events["oom_kill"] = kills
	}
	return events, err
}

// CPUQuota is the number of CPUs' worth of time that the tightest group over this
// process allows, and what all quotas did; nil where none has a quota.
func (r *Reader) CPUQuota() (cpus *float64, throttled *reading.Throttled, err error) {
	own, err := r.membership(cpuController)
	if err != nil {
		return nil, nil, err
	}
	for folder := range own.outwards() {
		quota, err := r.quota(own, folder)
		if err != nil {
			return nil, nil, err
		}
		if quota == nil {
			continue
		}
		if cpus == nil || *quota < *cpus {
			cpus = quota
		}
		stat, err := r.files.Pairs(path.Join(folder, "cpu.stat"))
		if err != nil {
			return nil, nil, err
		}
		if throttled == nil {
			throttled = &reading.Throttled{}
		}
		throttled.Periods += stat["nr_throttled"]
		throttled.Seconds += float64(stat["throttled_usec"])/1e6 + float64(stat["throttled_time"])/1e9 // of version 2 and 1
	}
	return cpus, throttled, nil
}

// quota returns what one group allows, as a number of CPUs; nil without a quota.
// Version 1 has time and period in two files, version 2 in one: the time is then -1
// or "max" if there is no quota.
func (r *Reader) quota(m *membership, folder string) (*float64, error) {
	content, err := r.files.Text(path.Join(folder, m.name("cpu.cfs_quota_us", "cpu.max")))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(content)
	if m.version == 1 {
		period, err := r.files.Text(path.Join(folder, "cpu.cfs_period_us"))
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
	time, errTime := strconv.ParseUint(fields[0], 10, 64)
	period, errPeriod := strconv.ParseUint(fields[1], 10, 64)
	if err := errors.Join(errTime, errPeriod); err != nil || period == 0 {
		return nil, fmt.Errorf("the CPU quota of %s is %q, want two numbers", folder, fields)
	}
	return new(float64(time) / float64(period)), nil
}
