package probe

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/cpuid/v2"
	"golang.org/x/sys/unix"

	"connbench/harness/record"
)

// sysctls are the kernel settings that limit connections or change their cost.
// Settings that not every kernel has are optional.
var sysctls = []struct {
	name     string
	optional bool
}{
	{"fs.file-max", false},
	{"fs.nr_open", false},
	{"fs.epoll.max_user_watches", false},
	{"kernel.pid_max", false},
	{"kernel.threads-max", false},
	{"net.core.somaxconn", false},
	{"net.ipv4.ip_local_port_range", false},
	{"net.ipv4.ip_local_reserved_ports", false},
	{"net.ipv4.tcp_fin_timeout", false},
	{"net.ipv4.tcp_max_orphans", false},
	{"net.ipv4.tcp_max_syn_backlog", false},
	{"net.ipv4.tcp_max_tw_buckets", false},
	{"net.ipv4.tcp_mem", false},
	{"net.ipv4.tcp_rmem", false},
	{"net.ipv4.tcp_syncookies", true},
	{"net.ipv4.tcp_timestamps", false},
	{"net.ipv4.tcp_tw_reuse", false},
	{"net.ipv4.tcp_wmem", false},
	{"net.mptcp.enabled", true},
	{"net.netfilter.nf_conntrack_max", true},
	{"vm.max_map_count", false},
	{"vm.overcommit_memory", false},
}

// Files of /sys that [record.Host.Sysctls] has by their paths.
const (
	hugePages = "/sys/kernel/mm/transparent_hugepage/enabled"
	governor  = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
)

// Keys of [record.Host.Limits].
const (
	// LimitNoFileSoft and LimitNoFileHard are RLIMIT_NOFILE of the reader: a
	// number, or "unlimited". Go has raised its soft limit to the hard one.
	LimitNoFileSoft = "nofile_soft"
	LimitNoFileHard = "nofile_hard"
	// LimitNProc is RLIMIT_NPROC, soft: threads of one user.
	LimitNProc = "nproc"
	// LimitMemLock is RLIMIT_MEMLOCK, soft, in bytes.
	LimitMemLock = "memlock_bytes"
	// LimitCgroupMemory is the memory limit over the reader that leaves it least, in
	// bytes, or "unlimited"; LimitCgroupFolder is the group that has it.
	LimitCgroupMemory = "cgroup_memory_bytes"
	LimitCgroupFolder = "cgroup_folder"
	// LimitCgroupCPUs is the CPU quota of the control groups over the reader, as a
	// number of CPUs ("1.5"). LimitCgroupTasks is their limit of threads that leaves
	// it fewest (pids.max). They are left out where there is none.
	LimitCgroupCPUs  = "cgroup_cpus"
	LimitCgroupTasks = "cgroup_tasks"
	// LimitAdmin is "yes" if the reader, and what it starts, has CAP_SYS_ADMIN over
	// the whole host, which lifts some limits, and "no" if it does not.
	LimitAdmin = "cap_sys_admin"
	// LimitConntrack says whether connections of this network namespace are
	// tracked: [ConntrackActive] or [ConntrackInactive]. It is left out if the kernel
	// has no connection tracking.
	LimitConntrack = "conntrack"
)

// Values of [LimitConntrack].
const (
	ConntrackActive   = "active"
	ConntrackInactive = "inactive"
)

// Host reads what does not change during a run. A warning says why a fact is
// missing. The caller fills in roles and addresses.
func (r *Reader) Host(name string) (record.Host, []string) {
	host := record.Host{
		Name:         name,
		Architecture: runtime.GOARCH,
		Sysctls:      map[string]string{},
		Limits:       map[string]string{},
	}
	var missing warnings
	var err error
	if host.Kernel, err = r.files.Text("proc/sys/kernel/osrelease"); err != nil {
		missing.add("kernel", err)
	}
	if host.OS, err = r.osName(); err != nil {
		missing.add("operating system", err)
	}
	if host.CPUs, err = r.onlineCPUs(); err != nil {
		missing.add("online CPUs", err)
	}
	if host.UsableCPUs, err = r.usableCPUs(); err != nil {
		missing.add("usable CPUs", err)
	}
	if host.CPUModel, host.Virtual, err = r.cpuModel(); err != nil {
		missing.add("CPU model", err)
	}
	host.Emulated = r.live && emulated()
	if info, err := r.proc.Meminfo(); err != nil {
		missing.add("memory", err)
	} else if total := signed(info.MemTotalBytes); total != nil {
		host.MemoryBytes = *total
	}
	r.settings(host.Sysctls, &missing)
	r.limits(host.Limits, &missing)
	return host, missing
}

// osName returns PRETTY_NAME of os-release(5).
func (r *Reader) osName() (string, error) {
	content, err := r.files.Text("etc/os-release")
	if errors.Is(err, fs.ErrNotExist) {
		content, err = r.files.Text("usr/lib/os-release")
	}
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(content) {
		if name, found := strings.CutPrefix(line, "PRETTY_NAME="); found {
			return strings.Trim(strings.TrimSpace(name), `"'`), nil
		}
	}
	return "", errors.New("os-release has no PRETTY_NAME")
}

func (r *Reader) onlineCPUs() (int, error) {
	list, err := r.files.Text("sys/devices/system/cpu/online")
	if err != nil {
		return 0, err
	}
	cpus, err := parseCPUs(list)
	return len(cpus), err
}

// admin is true with CAP_SYS_ADMIN in the initial user namespace, which maps every
// user to itself (user_namespaces(7)). In other namespaces the capability does not
// reach the host.
func (r *Reader) admin() (bool, error) {
	list, err := r.status("CapEff")
	if err != nil {
		return false, err
	}
	effective, err := strconv.ParseUint(list, 16, 64)
	if err != nil {
		return false, fmt.Errorf("CapEff is %q in /proc/self/status, not a hexadecimal number", list)
	}
	users, err := r.files.Text("proc/self/uid_map")
	if err != nil {
		return false, err
	}
	initial := slices.Equal(strings.Fields(users), []string{"0", "0", "4294967295"})
	return initial && effective&(1<<unix.CAP_SYS_ADMIN) != 0, nil
}

// usableCPUs are the CPUs that the reader, and what it starts, may run on.
func (r *Reader) usableCPUs() ([]int, error) {
	list, err := r.status("Cpus_allowed_list")
	if err != nil {
		return nil, err
	}
	return parseCPUs(list)
}

// status returns a field of the reader's own status (proc_pid_status(5)).
func (r *Reader) status(field string) (string, error) {
	content, err := r.files.Text("proc/self/status")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(content) {
		if value, found := strings.CutPrefix(line, field+":"); found {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("no %s in /proc/self/status", field)
}

// parseCPUs reads a list of CPUs in the form of cpuset(7), "0-3,8".
func parseCPUs(list string) ([]int, error) {
	var cpus []int
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		first, err := strconv.Atoi(from)
		last := first
		if err == nil && isRange {
			last, err = strconv.Atoi(to)
		}
		if err != nil || last < first {
			return nil, fmt.Errorf("%q is not a list of CPUs such as 0-3,8", list)
		}
		for cpu := first; cpu <= last; cpu++ {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}

// cpuModel returns the CPU's name and, if the CPU or the kernel says that this is a
// virtual machine, the hypervisor's.
func (r *Reader) cpuModel() (model, virtual string, err error) {
	cpus, err := r.proc.CPUInfo()
	if err != nil {
		return "", "", err
	}
	underHypervisor := false
	for _, cpu := range cpus {
		model = cpu.ModelName
		for _, flag := range cpu.Flags {
			underHypervisor = underHypervisor || flag == "hypervisor"
		}
	}
	if kind, err := r.files.Text("sys/hypervisor/type"); err == nil {
		return model, kind, nil
	}
	if !underHypervisor {
		return model, "", nil
	}
	vendor, _ := r.files.Text("sys/class/dmi/id/sys_vendor")
	product, _ := r.files.Text("sys/class/dmi/id/product_name")
	if virtual = strings.TrimSpace(vendor + " " + product); virtual == "" {
		virtual = "unnamed"
	}
	return model, virtual, nil
}

// emulated is true if QEMU translates the CPU's instructions. CPUID leaf 0x40000000
// then has QEMU's signature (QEMU, target/i386/cpu.c); KVM has its own there. Other
// architectures than x86 do not tell.
func emulated() bool { return cpuid.CPU.HypervisorVendorID == cpuid.QEMU }

func (r *Reader) settings(values map[string]string, missing *warnings) {
	for _, setting := range sysctls {
		file := "proc/sys/" + strings.ReplaceAll(setting.name, ".", "/")
		value, err := r.files.Text(file)
		if err == nil {
			values[setting.name] = strings.ReplaceAll(value, "\t", " ")
		} else if !setting.optional || !errors.Is(err, fs.ErrNotExist) {
			missing.add(setting.name, err)
		}
	}
	for _, file := range []string{hugePages, governor} {
		if value, err := r.files.Text(file); err == nil {
			values[file] = value
		} else if !errors.Is(err, fs.ErrNotExist) {
			missing.add(file, err)
		}
	}
}

func (r *Reader) limits(values map[string]string, missing *warnings) {
	// Not procfs's parser: it has soft limits only, and no word for "unlimited".
	if content, err := os.ReadFile(r.files.Path("proc/self/limits")); err != nil {
		missing.add("resource limits", err)
	} else {
		for _, limit := range []struct {
			name       string
			soft, hard string
		}{
			{"Max open files", LimitNoFileSoft, LimitNoFileHard},
			{"Max processes", LimitNProc, ""},
			{"Max locked memory", LimitMemLock, ""},
		} {
			for line := range strings.Lines(string(content)) {
				numbers, found := strings.CutPrefix(line, limit.name)
				if fields := strings.Fields(numbers); found && len(fields) >= 2 {
					values[limit.soft] = fields[0]
					if limit.hard != "" {
						values[limit.hard] = fields[1]
					}
				}
			}
			if values[limit.soft] == "" {
				missing.add(limit.name, errors.New("not in /proc/self/limits"))
			}
		}
	}

	if group, err := r.cgroups.LeastMemory(); err != nil {
		missing.add("memory limit of the control group", err)
	} else if group == nil {
		values[LimitCgroupMemory] = "unlimited"
	} else {
		values[LimitCgroupMemory] = strconv.FormatInt(group.Limit, 10)
		values[LimitCgroupFolder] = group.Folder
	}

	if cpus, _, err := r.cgroups.CPUQuota(); err != nil {
		missing.add("CPU quota of the control group", err)
	} else if cpus != nil {
		values[LimitCgroupCPUs] = strconv.FormatFloat(*cpus, 'g', -1, 64)
	}
	if group, err := r.cgroups.FewestTasks(); err != nil {
		missing.add("limit of threads of the control group", err)
	} else if group != nil {
		values[LimitCgroupTasks] = strconv.FormatInt(group.Limit, 10)
	}

	if admin, err := r.admin(); err != nil {
		missing.add("capabilities", err)
	} else if admin {
		values[LimitAdmin] = "yes"
	} else {
		values[LimitAdmin] = "no"
	}

	if state, err := r.conntrack(); err != nil {
		missing.add("connection tracking", err)
	} else if state != "" {
		values[LimitConntrack] = state
	}
}

// conntrack says whether connections are tracked here; "" if the kernel cannot. The
// kernel tracks in a network namespace from the first rule there that needs it, and
// shows nothing of that but the count. Where the count is 0, a connection over
// loopback must change it.
func (r *Reader) conntrack() (string, error) {
	const file = "proc/sys/net/netfilter/nf_conntrack_count"
	tracked, err := r.files.Number(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", err
	case tracked > 0:
		return ConntrackActive, nil
	case !r.live:
		return "", errors.New("nothing is tracked, and in a copy of /proc it cannot be tried")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	connection, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return "", err
	}
	defer connection.Close()
	if tracked, err = r.files.Number(file); err != nil {
		return "", err
	}
	if tracked > 0 {
		return ConntrackActive, nil
	}
	return ConntrackInactive, nil
}
