package probe

import (
	"maps"
	"os"
	"testing"

	"connbench/harness/reading"
)

// newKernel is a host as Linux 6.12 shows it to root, with version 2 of control
// groups and a limit on an outer one.
var newKernel = map[string]string{
	"proc/self":   "-> 7",
	"proc/7/stat": "",
	"proc/meminfo": `MemTotal:        8000000 kB
MemFree:         6000000 kB
MemAvailable:    7000000 kB
Slab:             100000 kB
SReclaimable:      60000 kB
KernelStack:        2000 kB
PageTables:         3000 kB
`,
	"proc/net/sockstat": `sockets: used 14
TCP: inuse 9 orphan 1 tw 2 alloc 12 mem 300
UDP: inuse 0 mem 0
`,
	"proc/slabinfo": `slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>
TCP                   15     65   2496   13    8 : tunables    0    0    0 : slabdata      2      5      0
skbuff_head_cache    100    100    256   16    1 : tunables    0    0    0 : slabdata     10     10      0
sock_inode_cache     100    100    832   19    4 : tunables    0    0    0 : slabdata      3      3      0
ext4_inode_cache     100    100   1024   16    4 : tunables    0    0    0 : slabdata    100    100      0
dentry               180    210    192   21    1 : tunables    0    0    0 : slabdata     10     10      0
`,
	"proc/stat": `cpu  300 20 100 4000 50 6 70 8 0 0
cpu0 100 10 40 2000 20 2 30 3 0 0
cpu1 200 10 60 2000 30 4 40 5 0 0
intr 1 2
ctxt 1
btime 1700000000
`,
	"proc/pressure/cpu": "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\n",
	"proc/net/netstat": `TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPPureAcks
TcpExt: 1 22 333 4444
IpExt: InNoRoutes
IpExt: 5
`,
	"proc/net/snmp": `Tcp: RtoAlgorithm MaxConn RetransSegs OutRsts
Tcp: 1 -1 6 7
`,
	"proc/net/stat/nf_conntrack": `entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart
00000010  00000000 00000000 00000000 00000001 00000000 00000000 00000000 00000000 00000002 00000003 00000004 00000000  00000000 00000000 00000000 00000000
00000010  00000000 00000000 00000000 00000010 00000000 00000000 00000000 00000000 00000020 00000030 00000040 00000000  00000000 00000000 00000000 00000000
`,
	"proc/sys/net/netfilter/nf_conntrack_count": "16\n",
	"proc/sys/fs/file-nr":                       "1234\t0\t2466167\n",
	"proc/sys/fs/dentry-state":                  "200\t100\t45\t0\t10\t0\n",
	"sys/devices/system/cpu/online":             "0-1\n",
	"proc/loadavg":                              "0.10 0.20 0.30 2/567 8901\n",
	"proc/vmstat":                               "nr_free_pages 1\noom_kill 3\n",
	"proc/7/cgroup":                             "0::/outer/inner\n",
	"proc/7/mountinfo":                          "30 22 0:27 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
	"sys/fs/cgroup/cgroup.controllers":          "cpu memory\n",
	"sys/fs/cgroup/outer/memory.max":            "1073741824\n",
	"sys/fs/cgroup/outer/memory.current":        "300000000\n",
	"sys/fs/cgroup/outer/memory.stat":           "anon 1\ninactive_file 100000000\n",
	"sys/fs/cgroup/outer/memory.events":         "low 0\nhigh 0\nmax 5\noom 1\noom_kill 1\n",
	"sys/fs/cgroup/outer/cpu.max":               "150000 100000\n",
	"sys/fs/cgroup/outer/cpu.stat":              "usage_usec 7\nnr_throttled 3\nthrottled_usec 2500000\n",
	"sys/fs/cgroup/outer/pids.max":              "1000\n",
	"sys/fs/cgroup/outer/pids.current":          "30\n",
	"sys/fs/cgroup/outer/inner/cpu.max":         "200000 100000\n",
	"sys/fs/cgroup/outer/inner/cpu.stat":        "usage_usec 7\nnr_throttled 1\nthrottled_usec 500000\n",
	"sys/fs/cgroup/outer/inner/pids.max":        "500\n",
	"sys/fs/cgroup/outer/inner/pids.current":    "20\n",
	"sys/fs/cgroup/outer/inner/memory.max":      "max\n",
	"sys/fs/cgroup/outer/inner/memory.current":  "200000000\n",
}

// oldKernel is a host as Linux 4.9 shows it to a user, with version 1 of control
// groups, in a container that sees its own part of them only.
var oldKernel = map[string]string{
	"proc/self":                     "-> 7",
	"proc/7/stat":                   "",
	"proc/meminfo":                  "MemTotal:        8000000 kB\nMemAvailable:    7000000 kB\nSlab:             100000 kB\nSReclaimable:      60000 kB\nKernelStack:        2000 kB\nPageTables:         3000 kB\n",
	"sys/devices/system/cpu/online": "0-1\n",
	"proc/net/sockstat":             "sockets: used 14\nTCP: inuse 9 orphan 0 tw 0 alloc 12 mem 3\n",
	"proc/stat":                     newKernel["proc/stat"],
	"proc/net/netstat":              newKernel["proc/net/netstat"],
	"proc/net/snmp":                 newKernel["proc/net/snmp"],
	"proc/sys/fs/file-nr":           newKernel["proc/sys/fs/file-nr"],
	"proc/loadavg":                  newKernel["proc/loadavg"],
	"proc/vmstat":                   "nr_free_pages 1\n",
	"proc/7/cgroup":                 "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n3:pids:/docker/abc\n1:name=systemd:/docker/abc\n",
	"proc/7/mountinfo":              "30 22 0:27 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n31 30 0:28 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n32 30 0:29 /docker/abc /sys/fs/cgroup/systemd ro - cgroup cgroup rw,name=systemd\n33 30 0:30 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n34 30 0:31 /docker/abc /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids\n",
	"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us":  "50000\n",
	"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
	"sys/fs/cgroup/cpu,cpuacct/cpu.stat":          "nr_periods 9\nnr_throttled 5\nthrottled_time 2500000000\n",
	"sys/fs/cgroup/pids/pids.max":                 "max\n",
	"sys/fs/cgroup/pids/pids.current":             "7\n",
	"sys/fs/cgroup/memory/memory.limit_in_bytes":  "536870912\n",
	"sys/fs/cgroup/memory/memory.usage_in_bytes":  "50000000\n",
	"sys/fs/cgroup/memory/memory.stat":            "inactive_file 1\ntotal_inactive_file 20000000\n",
	"sys/fs/cgroup/memory/memory.failcnt":         "9\n",
	"sys/fs/cgroup/memory/memory.oom_control":     "oom_kill_disable 0\nunder_oom 0\n",
}

const page = 4096

func TestSystemOfNewKernel(t *testing.T) {
	if os.Getpagesize() != page {
		t.Skipf("the figures are for pages of %d bytes, here they have %d", page, os.Getpagesize())
	}
	system := copyOf(t, newKernel).System(Detail)
	if len(system.Warnings) > 0 {
		t.Errorf("warnings %q", system.Warnings)
	}
	is(t, "available memory", system.Memory.Available, 7000000<<10)
	is(t, "slab", system.Memory.Slab, 100000<<10)
	is(t, "reclaimable slab", system.Memory.Reclaimable, 60000<<10)
	is(t, "kernel stacks", system.Memory.KernelStacks, 2000<<10)
	is(t, "page tables", system.Memory.PageTables, 3000<<10)
	is(t, "orphans", system.Sockets.Orphans, 1)
	is(t, "TIME_WAIT", system.Sockets.TimeWait, 2)
	is(t, "allocated sockets", system.Sockets.Allocated, 12)
	is(t, "TCP buffers", system.Sockets.BufferBytes, 300*page)
	is(t, "open files", system.OpenFiles, 1234)
	is(t, "threads", system.Tasks, 567)
	is(t, "tracked connections", system.Conntrack, 16)
	is(t, "memory of the control group", system.Groups.Memory, reading.GroupUse{Folder: "/sys/fs/cgroup/outer", Limit: 1 << 30, Used: 200000000})
	is(t, "threads of the control group", system.Groups.Tasks, reading.GroupUse{Folder: "/sys/fs/cgroup/outer/inner", Limit: 500, Used: 20})
	if system.Groups.Throttled == nil || system.Groups.Throttled.Seconds != 3 {
		t.Errorf("throttled %+v", system.Groups.Throttled)
	}
	is(t, "CPU pressure", system.CPUPressureSeconds, 2.5)
	if len(system.CPUs) != 2 || system.CPUs[1] != (reading.CPU{CPU: 1, User: 2.1, System: 0.6, SoftIRQ: 0.4, Steal: 0.05}) {
		t.Errorf("CPUs %+v", system.CPUs)
	}
	want := map[string]int64{
		"SyncookiesSent": 1, "ListenOverflows": 22, "ListenDrops": 333, "RetransSegs": 6, "OutRsts": 7,
		"conntrack_invalid": 0x11, "conntrack_insert_failed": 0x22, "conntrack_drop": 0x33, "conntrack_early_drop": 0x44,
		"oom_kill":   3,
		"cgroup_low": 0, "cgroup_high": 0, "cgroup_max": 5, "cgroup_oom": 1, "cgroup_oom_kill": 1,
	}
	if !maps.Equal(system.Counters, want) {
		t.Errorf("counters %v\nwant %v", system.Counters, want)
	}
	is(t, "negative directory entries", system.NegativeDentries, 10)
	if want := (reading.Cache{Bytes: 5 * 8 * page, Active: 15, ObjectBytes: 2496, ShareBytes: 8 * page / 13.0}); system.Slab["TCP"] != want {
		t.Errorf("TCP sockets in slabs %+v, want %+v", system.Slab["TCP"], want)
	}
	if system.Sockets.HeldBackBytes != 2<<20 {
		t.Errorf("CPUs may hold back %d bytes, want 1 MiB each", system.Sockets.HeldBackBytes)
	}
	kinds := map[string]int64{
		"slab:TCP": 5 * 8 * page, "slab:skbuff_head_cache": 10 * page, "slab:sock_inode_cache": 3 * 4 * page,
		// Of 180 entries 100 are of files and 10 of files that do not exist.
		"slab:dentry": 70 * 192, "slab:large": 100000<<10 - (5*8+10+3*4+100*4+10)*page,
		"tcp_buffers": 300 * page, "page_tables": 3000 << 10, "kernel_stacks": 2000 << 10,
	}
	if got := system.Kernel(); !maps.Equal(got, kinds) {
		t.Errorf("kernel memory %v, want %v", got, kinds)
	}
}

func TestSystemOfOldKernel(t *testing.T) {
	system := copyOf(t, oldKernel).System(Detail)
	missing(t, "CPU pressure", system.CPUPressureSeconds, system.Warnings, "CPU pressure: ")
	if system.Slab != nil {
		t.Errorf("slab caches %v of a host that shows none", system.Slab)
	}
	if _, known := system.Counters["oom_kill"]; known {
		t.Error("a count of out-of-memory kills, which this kernel does not have")
	}
	// Without connection tracking, it is not missed.
	if system.Conntrack != nil {
		t.Errorf("conntrack %v", system.Conntrack)
	}
	if len(system.Warnings) != 2 { // and the slab caches
		t.Errorf("warnings %q", system.Warnings)
	}
	is(t, "memory of the control group", system.Groups.Memory, reading.GroupUse{Folder: "/sys/fs/cgroup/memory", Limit: 1 << 29, Used: 30000000})
	if got := system.Counters["cgroup_max"]; got != 9 {
		t.Errorf("memory limit hit %d times, want 9", got)
	}
}

func TestLightReadingIsLight(t *testing.T) {
	system := copyOf(t, newKernel).System(Light)
	is(t, "available memory", system.Memory.Available, 7000000<<10)
	if system.Slab != nil || system.Counters != nil || system.CPUs != nil || system.OpenFiles != nil {
		t.Errorf("a light reading took in details: %+v", system)
	}
}

func TestNothingToRead(t *testing.T) {
	system := copyOf(t, map[string]string{"proc/empty": ""}).System(Detail)
	missing(t, "memory", system.Memory.Available, system.Warnings, "memory: ")
	missing(t, "sockets", system.Sockets.Allocated, system.Warnings, "TCP sockets: ")
	missing(t, "open files", system.OpenFiles, system.Warnings, "open files: ")
	missing(t, "threads", system.Tasks, system.Warnings, "threads: ")
	missing(t, "kernel memory", system.KernelBytes(), system.Warnings, "kernel memory by cache: ")
	missing(t, "CPU time", system.Since(system, nil).BusySeconds, system.Warnings, "CPU time of the host: ")
}

func TestMalformedCounters(t *testing.T) {
	for name, content := range map[string]string{
		"no values":      "TcpExt: ListenDrops\n",
		"too few values": "TcpExt: ListenDrops ListenOverflows\nTcpExt: 1\n",
		"no number":      "TcpExt: ListenDrops\nTcpExt: many\n",
	} {
		reader := copyOf(t, map[string]string{"proc/net/netstat": content})
		if values, err := reader.protocolCounters("proc/net/netstat", "TcpExt"); err == nil {
			t.Errorf("%s: read as %v", name, values)
		}
	}
}

func TestSystemHere(t *testing.T) {
	reader := here(t)
	system := reader.System(Detail)
	for _, warning := range system.Warnings {
		t.Log(warning) // what a user may not read, or this kernel does not have
	}
	for name, figure := range map[string]*int64{
		"available memory": system.Memory.Available,
		"open files":       system.OpenFiles, "threads": system.Tasks, "kernel memory": system.KernelBytes(),
	} {
		if figure == nil || *figure <= 0 {
			t.Errorf("no %s on this host", name)
		}
	}
	if os.Getuid() == 0 && len(system.Slab) == 0 {
		t.Error("root, but no slab caches")
	}
	if len(system.CPUs) == 0 || system.Counters["ActiveOpens"] < 0 {
		t.Errorf("CPUs %v, counters %v", system.CPUs, system.Counters)
	}
}

// Softirqs are tasks' time only where the kernel is known not to account for them.
func TestSoftIRQInTasks(t *testing.T) {
	for config, want := range map[string]bool{
		"# CONFIG_IRQ_TIME_ACCOUNTING is not set\nCONFIG_HAVE_IRQ_TIME_ACCOUNTING=y\n": true,
		"CONFIG_HAVE_IRQ_TIME_ACCOUNTING=y\nCONFIG_IRQ_TIME_ACCOUNTING=y\n":            false,
	} {
		files := maps.Clone(newKernel)
		files["proc/sys/kernel/osrelease"], files["boot/config-6.1.0"] = "6.1.0\n", config
		if got := copyOf(t, files).System(Detail).SoftIRQInTasks; got != want {
			t.Errorf("%v with %q", got, config)
		}
	}
	if copyOf(t, newKernel).System(Detail).SoftIRQInTasks {
		t.Error("softirqs are tasks' time in an unknown kernel")
	}
}
