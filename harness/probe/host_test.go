package probe

import (
	"os"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestHostHere(t *testing.T) {
	host, warnings := here(t).Host("here")
	for _, warning := range warnings {
		t.Log(warning)
	}
	var name syscall.Utsname
	if err := syscall.Uname(&name); err != nil {
		t.Fatal(err)
	}
	var release strings.Builder
	for _, char := range name.Release {
		if char == 0 {
			break
		}
		release.WriteByte(byte(char))
	}
	if host.Kernel != release.String() {
		t.Errorf("kernel %q, uname(2) says %q", host.Kernel, release.String())
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if got := host.Limits[LimitNoFileHard]; got != strconv.FormatUint(limit.Max, 10) {
		t.Errorf("hard limit of descriptors %q, getrlimit(2) says %d", got, limit.Max)
	}
	if host.Name != "here" || host.MemoryBytes <= 0 || host.OS == "" {
		t.Errorf("host %+v", host)
	}
	if len(host.UsableCPUs) != runtime.NumCPU() || host.CPUs < len(host.UsableCPUs) {
		t.Errorf("CPUs %v of %d, the runtime sees %d", host.UsableCPUs, host.CPUs, runtime.NumCPU())
	}
	if ports := strings.Fields(host.Sysctls["net.ipv4.ip_local_port_range"]); len(ports) != 2 {
		t.Errorf("range of ports %q", ports)
	}
	if _, err := os.Stat("/proc/sys/net/netfilter/nf_conntrack_count"); err == nil {
		if state := host.Limits[LimitConntrack]; state != ConntrackActive && state != ConntrackInactive {
			t.Errorf("connection tracking is there, but %q", state)
		}
	}
}

func TestHostOfNewKernel(t *testing.T) {
	host, warnings := copyOf(t, newKernel, map[string]string{
		"proc/sys/kernel/osrelease":                  "6.12.1-test\n",
		"proc/sys/net/ipv4/ip_local_port_range":      "32768\t60999\n",
		"proc/sys/net/ipv4/ip_local_reserved_ports":  "\n",
		"etc/os-release":                             "NAME=Test\nPRETTY_NAME=\"Test Linux 1\"\n",
		"sys/devices/system/cpu/online":              "0-2,5\n",
		"proc/7/status":                              "Name:\ttest\nCapEff:\t000001ffffffffff\nCpus_allowed_list:\t1-2\n",
		"proc/7/uid_map":                             "         0          0 4294967295\n",
		"sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
		"sys/class/dmi/id/sys_vendor":                "QEMU\n",
		"sys/class/dmi/id/product_name":              "Standard PC\n",
		"proc/7/limits": `Limit                     Soft Limit           Hard Limit           Units
Max processes             30000                40000                processes
Max open files            1024                 unlimited            files
Max locked memory         8388608              8388608              bytes
`,
	}).Host("made up")
	if host.Kernel != "6.12.1-test" || host.OS != "Test Linux 1" || host.CPUs != 4 || host.MemoryBytes != 8000000<<10 {
		t.Errorf("host %+v", host)
	}
	if !reflect.DeepEqual(host.UsableCPUs, []int{1, 2}) {
		t.Errorf("usable CPUs %v, want 1 and 2", host.UsableCPUs)
	}
	wantLimits := map[string]string{
		LimitNoFileSoft: "1024", LimitNoFileHard: "unlimited", LimitNProc: "30000", LimitMemLock: "8388608",
		LimitCgroupMemory: "1073741824", LimitCgroupFolder: "/sys/fs/cgroup/outer",
		LimitCgroupCPUs: "1.5", LimitCgroupTasks: "500", LimitConntrack: ConntrackActive, LimitAdmin: "yes",
	}
	if !reflect.DeepEqual(host.Limits, wantLimits) {
		t.Errorf("limits %v\nwant %v", host.Limits, wantLimits)
	}
	wantSysctls := map[string]string{
		"net.ipv4.ip_local_port_range": "32768 60999", "net.ipv4.ip_local_reserved_ports": "",
		"/sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never",
	}
	if !reflect.DeepEqual(host.Sysctls, wantSysctls) {
		t.Errorf("sysctls %v\nwant %v", host.Sysctls, wantSysctls)
	}
	// What is optional is not missed, what is not is.
	all := strings.Join(warnings, "\n")
	if strings.Contains(all, "mptcp") || !strings.Contains(all, "net.ipv4.tcp_mem: ") {
		t.Errorf("warnings %q", warnings)
	}
}

func TestAdmin(t *testing.T) {
	const all, none, initial = "000001ffffffffff", "0000000000000000", "0 0 4294967295"
	for _, test := range []struct {
		capabilities, users string
		want                bool
	}{
		{all, initial, true},
		{none, initial, false},
		{"0000000000200000", initial, true},
		{all, "0 1000 1", false}, // root of a user namespace, nobody outside
	} {
		got, err := copyOf(t, map[string]string{
			"proc/self": "-> 7", "proc/7/status": "CapEff:\t" + test.capabilities + "\n", "proc/7/uid_map": test.users + "\n",
		}).admin()
		if err != nil || got != test.want {
			t.Errorf("capabilities %s, users %q: %v, %v", test.capabilities, test.users, got, err)
		}
	}
}

func TestCgroupWithoutLimit(t *testing.T) {
	for name, change := range map[string]map[string]string{
		"version 2": {
			"proc/7/cgroup":                "0::/\n",
			"proc/7/mountinfo":             "30 22 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
			"sys/fs/cgroup/memory.max":     "max\n",
			"sys/fs/cgroup/memory.current": "1\n",
		},
		"version 1": {
			"proc/7/cgroup":    "4:memory:/group\n0::/\n",
			"proc/7/mountinfo": "31 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n32 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":       "9223372036854771712\n",
			"sys/fs/cgroup/memory/group/memory.limit_in_bytes": "9223372036854771712\n",
		},
	} {
		reader := copyOf(t, map[string]string{"proc/self": "-> 7", "proc/7/stat": ""}, change)
		host, warnings := reader.Host("made up")
		if got := host.Limits[LimitCgroupMemory]; got != "unlimited" {
			t.Errorf("%s: memory limit %q, want none; warnings %q", name, got, warnings)
		}
	}
}

// In `ip netns exec`, /sys is mounted anew, without what was mounted below it.
func TestCgroupSeenByTheParentOnly(t *testing.T) {
	bare := map[string]string{
		"proc/self":        "-> 7",
		"proc/7/cgroup":    "4:memory:/group\n0::/\n",
		"proc/7/mountinfo": "20 19 0:20 / /sys rw - sysfs sysfs rw\n",
	}
	host, warnings := copyOf(t, bare, map[string]string{
		"proc/1/mountinfo": "31 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
		"proc/1/root/sys/fs/cgroup/memory/group/memory.limit_in_bytes": "1048576\n",
		"proc/1/root/sys/fs/cgroup/memory/group/memory.usage_in_bytes": "1024\n",
		"proc/1/root/sys/fs/cgroup/memory/group/memory.stat":           "total_inactive_file 0\n",
	}).Host("made up")
	if got := host.Limits[LimitCgroupMemory]; got != "1048576" {
		t.Errorf("memory limit %q, want 1048576; warnings %q", got, warnings)
	}
	if got := host.Limits[LimitCgroupFolder]; got != "/sys/fs/cgroup/memory/group" {
		t.Errorf("the group is %q, want its path as the parent sees it", got)
	}
	host, warnings = copyOf(t, bare, map[string]string{"proc/1/mountinfo": bare["proc/7/mountinfo"]}).Host("made up")
	if got, known := host.Limits[LimitCgroupMemory]; known {
		t.Errorf("memory limit %q, where control groups cannot be seen", got)
	}
	if !strings.Contains(strings.Join(warnings, "\n"), "not mounted here") {
		t.Errorf("no warning in %q", warnings)
	}
}

func TestCgroupLimitThatIsNoNumber(t *testing.T) {
	host, warnings := copyOf(t, map[string]string{
		"proc/self": "-> 7", "proc/7/stat": "",
		"proc/7/cgroup":            "0::/\n",
		"proc/7/mountinfo":         "30 22 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
		"sys/fs/cgroup/memory.max": "lots\n",
	}).Host("made up")
	if got, known := host.Limits[LimitCgroupMemory]; known {
		t.Errorf("memory limit %q out of nonsense", got)
	}
	if !strings.Contains(strings.Join(warnings, "\n"), "memory limit of the control group: ") {
		t.Errorf("no warning in %q", warnings)
	}
}

func TestParseCPUs(t *testing.T) {
	for list, want := range map[string][]int{
		"0": {0}, "0-1": {0, 1}, "0-2,5,7-8": {0, 1, 2, 5, 7, 8},
	} {
		if got, err := parseCPUs(list); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q gives %v, %v", list, got, err)
		}
	}
	for _, list := range []string{"", "a", "2-1", "1-", "0,,1"} {
		if got, err := parseCPUs(list); err == nil {
			t.Errorf("%q is read as %v", list, got)
		}
	}
}
