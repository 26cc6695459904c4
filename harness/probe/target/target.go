// Package target finds the processes of a server that somebody else has started.
package target

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"

	"connbench/harness/explain"
)

// Target says which processes of a host are the server. One of its fields is set.
type Target struct {
	// PIDs are processes, meant with all their descendants.
	PIDs []int `json:"pids,omitempty"`
	// Name is the name of commands: all processes with it, and their descendants.
	Name string `json:"name,omitempty"`
	// Group is the folder of a control group, or its path in the hierarchy: all processes in
	// it and in the groups below.
	Group string `json:"group,omitempty"`
	// Container is the id of a container, or the beginning of one, of at least 12 digits. A
	// name does where Docker or Podman can say its id.
	Container string `json:"container,omitempty"`
	// Listeners are addresses: those who listen there, and their descendants.
	Listeners []netip.AddrPort `json:"listeners,omitempty"`
}

// Empty says whether no process is meant.
func (t Target) Empty() bool {
	return len(t.PIDs) == 0 && t.Name == "" && t.Group == "" && t.Container == "" && len(t.Listeners) == 0
}

// String describes the target for people.
func (t Target) String() string {
	switch {
	case len(t.PIDs) == 1:
		return fmt.Sprintf("process %d", t.PIDs[0])
	case len(t.PIDs) > 0:
		return "processes " + strings.Trim(fmt.Sprint(t.PIDs), "[]")
	case t.Name != "":
		return "processes called " + t.Name
	case t.Group != "":
		return "processes in control group " + t.Group
	case t.Container != "":
		return "processes of container " + t.Container
	}
	var list []string
	for _, address := range t.Listeners {
		list = append(list, address.String())
	}
	return "processes that listen on " + strings.Join(list, ", ")
}

// Table is the processes of a host at one moment.
type Table struct {
	proc    procfs.FS
	parents map[int]int
	names   map[int]string
	ours    map[int]bool
}

// Read reads the table. It leaves out the process own, its parent and all their descendants:
// those are connbench's.
func Read(proc procfs.FS, own int) (Table, error) {
	t := Table{proc: proc, parents: map[int]int{}, names: map[int]string{}, ours: map[int]bool{}}
	all, err := proc.AllProcs()
	if err != nil {
		return t, err
	}
	for _, process := range all {
		if stat, err := process.Stat(); err == nil { // or it has ended
			t.parents[process.PID], t.names[process.PID] = stat.PPID, stat.Comm
		}
	}
	t.ours[own] = true
	for _, pid := range t.descendants([]int{own}) {
		t.ours[pid] = true
	}
	return t, nil
}

// descendants returns the processes with all that they have started, the given first.
func (t Table) descendants(pids []int) []int {
	children := map[int][]int{}
	for pid, parent := range t.parents {
		children[parent] = append(children[parent], pid)
	}
	found := slices.Clone(pids)
	for i := 0; i < len(found); i++ {
		next := children[found[i]]
		slices.Sort(next)
		for _, child := range next {
			if !slices.Contains(found, child) {
				found = append(found, child)
			}
		}
	}
	return found
}

// Select returns the processes of a target, those that the others descend from first. owners
// returns who listens on addresses. The error says if there is none.
func (t Table) Select(target Target, owners func([]netip.AddrPort) ([]int, error)) ([]int, error) {
	var found []int
	switch {
	case len(target.PIDs) > 0:
		for _, pid := range target.PIDs {
			if _, there := t.parents[pid]; !there {
				return nil, explain.Hint(fmt.Errorf("there is no process %d", pid), "take the number that ps shows, as root if /proc hides it")
			}
		}
		found = t.descendants(target.PIDs)
	case target.Name != "":
		found = t.descendants(t.called(target.Name))
	case target.Group != "":
		found = t.inGroup(func(group string) bool { return inside(group, target.Group) })
	case target.Container != "":
		id, err := idOf(target.Container)
		if err != nil {
			return nil, err
		}
		found = t.inGroup(func(group string) bool { return strings.Contains(group, id) })
	default:
		listening, err := owners(target.Listeners)
		if err != nil {
			return nil, err
		}
		found = t.descendants(t.leaders(listening))
	}
	found = slices.DeleteFunc(found, func(pid int) bool { return t.ours[pid] })
	if len(found) == 0 {
		return nil, explain.Hint(fmt.Errorf("there are no %s", target), "start the server first, or name its process with --pid")
	}
	return found, nil
}

// containerID is the beginning of a container's id.
var containerID = regexp.MustCompile(`^[0-9a-f]{12,64}$`)

// engines are the programs that know containers by name.
var engines = []string{"docker", "podman"}

// idOf returns the id of a container, which is given by its name or by the beginning of its id.
func idOf(container string) (string, error) {
	if containerID.MatchString(container) {
		return container, nil
	}
	for _, engine := range engines {
		output, err := exec.Command(engine, "inspect", "--type", "container", "--format", "{{.Id}}", "--", container).Output()
		if id := strings.TrimSpace(string(output)); err == nil && containerID.MatchString(id) {
			return id, nil
		}
	}
	return "", explain.Hint(fmt.Errorf("no container is called %q", container), "take at least 12 digits of its id, or its control group by --cgroup")
}

// called returns the processes whose command, or whose program, has a name.
func (t Table) called(name string) (pids []int) {
	for pid, command := range t.names {
		program, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)) // if that may be read
		if command == name || filepath.Base(program) == name {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// inGroup returns the processes in a control group that the function accepts.
func (t Table) inGroup(is func(group string) bool) (pids []int) {
	for pid := range t.parents {
		process, err := t.proc.Proc(pid)
		if err != nil {
			continue
		}
		groups, err := process.Cgroups()
		if err == nil && slices.ContainsFunc(groups, func(g procfs.Cgroup) bool { return is(g.Path) }) {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// inside says whether a group is the wanted one, or below it. wanted is a path in the
// hierarchy, or a folder below /sys/fs/cgroup.
func inside(group, wanted string) bool {
	if below, is := strings.CutPrefix(filepath.Clean(wanted), "/sys/fs/cgroup"); is {
		wanted = below
		// Version 1 has a folder for each controller.
		if first, rest, _ := strings.Cut(strings.TrimPrefix(below, "/"), "/"); strings.Contains(controllers, " "+first+" ") {
			wanted = rest
		}
	}
	wanted = "/" + strings.Trim(wanted, "/")
	return wanted != "/" && (group == wanted || strings.HasPrefix(group, wanted+"/"))
}

// controllers are the folders of version 1.
const controllers = " memory cpu cpuacct cpu,cpuacct pids cpuset blkio freezer devices net_cls net_prio net_cls,net_prio perf_event hugetlb systemd unified "

// leaders returns, of processes that share listeners, those that started the others: a
// parent with the same name is the master of its workers.
func (t Table) leaders(pids []int) (list []int) {
	for _, pid := range pids {
		for parent := t.parents[pid]; parent > 1 && t.names[parent] == t.names[pid]; parent = t.parents[pid] {
			pid = parent
		}
		if !slices.Contains(list, pid) {
			list = append(list, pid)
		}
	}
	return list
}

// Owners returns the processes that hold sockets, given by inode. Those whose descriptors may
// not be read are left out: the error says so if none is found.
func (t Table) Owners(inodes []uint32) (pids []int, err error) {
	wanted := map[string]bool{}
	for _, inode := range inodes {
		wanted["socket:["+strconv.FormatUint(uint64(inode), 10)+"]"] = true
	}
	hidden := false
	for pid := range t.parents {
		process, err := t.proc.Proc(pid)
		if err != nil {
			continue
		}
		targets, err := process.FileDescriptorTargets()
		hidden = hidden || errors.Is(err, fs.ErrPermission)
		if slices.ContainsFunc(targets, func(target string) bool { return wanted[target] }) {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	if len(pids) == 0 && hidden {
		return nil, explain.Hint(errors.New("the process that listens there belongs to somebody else"), "run connbench as root, or as the server's user")
	}
	return pids, nil
}
