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

// Groups is what the control groups leave to this process, and so to what it starts:
// its own groups and all groups around them.
type Groups struct {
	// Memory is the group that leaves fewest bytes; nil where none limits memory.
	Memory *GroupUse `json:"memory,omitempty"`

	// Only detailed readings have the fields below.

	// Tasks is the group that leaves fewest threads; nil where none limits them.
	Tasks *GroupUse `json:"tasks,omitempty"`
	// Throttled is nil where no group has a quota of CPU time.
	Throttled *Throttled `json:"throttled,omitempty"`
}

// GroupUse is what a control group allows, and how much of it is used. Of memory, page
// cache that can be dropped is not counted as used.
type GroupUse struct {
	Folder string `json:"folder"`
	Limit  int64  `json:"limit"`
	Used   int64  `json:"used"`
}

// Left is what the group allows more; negative where its limit was lowered.
func (u GroupUse) Left() int64 { return u.Limit - u.Used }

// Reserve is how much of the group must stay free where so much of a host must: not
// more than a quarter of its limit, so that small groups can be used.
func (u GroupUse) Reserve(ofHost int64) int64 { return min(ofHost, u.Limit/4) }

// Throttled is what quotas of CPU time did since their groups were made.
type Throttled struct {
	// Periods are those in which a group had used up its quota, Seconds the time for
	// which that kept its tasks from running, each CPU's time for itself.
	Periods int64   `json:"periods"`
	Seconds float64 `json:"seconds"`
}

// groups reads what the control groups leave.
func (r *Reader) groups(groups *Groups, level Level, missing *warnings) {
	memory, err := r.leastMemory()
	if groups.Memory = r.seen(memory); err != nil {
		missing.add("memory of the control group", err)
	}
	if level != Detail {
		return
	}
	tasks, err := r.fewestTasks()
	if groups.Tasks = r.seen(tasks); err != nil {
		missing.add("threads of the control group", err)
	}
	if _, groups.Throttled, err = r.cpuQuota(); err != nil {
		missing.add("CPU quota of the control group", err)
	}
}

// leastMemory is the group with the least memory left under its limit, of those
// that this process is in, or nil where none has a limit.
func (r *Reader) leastMemory() (*GroupUse, error) {
	own, err := r.membership(memoryController)
	if err != nil {
		return nil, err
	}
	return r.leastLeft(own, own.name("memory.limit_in_bytes", "memory.max"),
		func(folder string) (int64, error) { return r.groupMemory(own, folder) })
}

// fewestTasks is the group with the fewest threads left under its limit, likewise.
func (r *Reader) fewestTasks() (*GroupUse, error) {
	own, err := r.membership(pidsController)
	if err != nil {
		return nil, err
	}
	return r.leastLeft(own, "pids.max",
		func(folder string) (int64, error) { return r.number(path.Join(folder, "pids.current")) })
}

// leastLeft is the group that leaves least of what a file limits; nil where none has
// a limit.
func (r *Reader) leastLeft(own *membership, limitFile string, used func(folder string) (int64, error)) (*GroupUse, error) {
	var least *GroupUse
	for folder := range own.outwards() {
		limit, err := r.limit(path.Join(folder, limitFile))
		if err != nil {
			return nil, err
		}
		if limit == nil {
			continue
		}
		use := &GroupUse{Folder: folder, Limit: *limit}
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
func (r *Reader) seen(u *GroupUse) *GroupUse {
	if u == nil {
		return nil
	}
	folder := strings.TrimPrefix(u.Folder, path.Join("/proc", strconv.Itoa(r.parent), "root"))
	return &GroupUse{folder, u.Limit, u.Used}
}

// groupMemory is the memory charged to a group, without what the kernel can take
// back by dropping files from the page cache.
func (r *Reader) groupMemory(m *membership, folder string) (int64, error) {
	used, err := r.number(path.Join(folder, m.name("memory.usage_in_bytes", "memory.current")))
	if err != nil {
		return 0, err
	}
	stat, err := r.pairs(path.Join(folder, "memory.stat"))
	return used - stat[m.name("total_inactive_file", "inactive_file")], err
}

// memoryEvents counts how often the limit of the group that leaves least memory was
// hit, and what died of it; nil where none has a limit.
func (r *Reader) memoryEvents() (map[string]int64, error) {
	group, err := r.leastMemory()
	if group == nil {
		return nil, err
	}
	own, err := r.membership(memoryController)
	if err != nil {
		return nil, err
	}
	if own.version == 2 {
		return r.pairs(path.Join(group.Folder, "memory.events"))
	}
	hits, err := r.number(path.Join(group.Folder, "memory.failcnt"))
	if err != nil {
		return nil, err
	}
	events := map[string]int64{"max": hits}
	control, err := r.pairs(path.Join(group.Folder, "memory.oom_control"))
	if kills, known := control["oom_kill"]; known { // since Linux 4.13
		events["oom_kill"] = kills
	}
	return events, err
}

// cpuQuota is the number of CPUs' worth of time that the tightest group over this
// process allows, and what all quotas did; nil where none has a quota.
func (r *Reader) cpuQuota() (cpus *float64, throttled *Throttled, err error) {
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
		stat, err := r.pairs(path.Join(folder, "cpu.stat"))
		if err != nil {
			return nil, nil, err
		}
		if throttled == nil {
			throttled = &Throttled{}
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
	content, err := r.text(path.Join(folder, m.name("cpu.cfs_quota_us", "cpu.max")))
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
	time, errTime := strconv.ParseUint(fields[0], 10, 64)
	period, errPeriod := strconv.ParseUint(fields[1], 10, 64)
	if err := errors.Join(errTime, errPeriod); err != nil || period == 0 {
		return nil, fmt.Errorf("the CPU quota of %s is %q, want two numbers", folder, fields)
	}
	return new(float64(time) / float64(period)), nil
}
