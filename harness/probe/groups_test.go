package probe

import (
	"strings"
	"testing"

	"connbench/harness/reading"
)

// nested are two control groups, one within the other, in either version. The outer
// one has the larger limits, and less left of them.
var nested = map[string]map[string]string{
	"version 1": {
		"proc/7/cgroup": "4:memory:/outer/inner\n3:cpu,cpuacct:/outer/inner\n2:pids:/outer/inner\n0::/\n",
		"proc/7/mountinfo": "31 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
			"32 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n" +
			"33 30 0:30 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n" +
			"34 30 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
		"sys/fs/cgroup/memory/memory.limit_in_bytes":              "9223372036854771712\n",
		"sys/fs/cgroup/memory/outer/memory.limit_in_bytes":        "1000000\n",
		"sys/fs/cgroup/memory/outer/memory.usage_in_bytes":        "900000\n",
		"sys/fs/cgroup/memory/outer/memory.stat":                  "total_inactive_file 50000\n",
		"sys/fs/cgroup/memory/outer/inner/memory.limit_in_bytes":  "500000\n",
		"sys/fs/cgroup/memory/outer/inner/memory.usage_in_bytes":  "200000\n",
		"sys/fs/cgroup/memory/outer/inner/memory.stat":            "total_inactive_file 0\n",
		"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us":              "-1\n",
		"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us":             "100000\n",
		"sys/fs/cgroup/cpu,cpuacct/cpu.stat":                      "nr_periods 0\nnr_throttled 0\nthrottled_time 0\n",
		"sys/fs/cgroup/cpu,cpuacct/outer/cpu.cfs_quota_us":        "300000\n",
		"sys/fs/cgroup/cpu,cpuacct/outer/cpu.cfs_period_us":       "100000\n",
		"sys/fs/cgroup/cpu,cpuacct/outer/cpu.stat":                "nr_periods 9\nnr_throttled 2\nthrottled_time 500000000\n",
		"sys/fs/cgroup/cpu,cpuacct/outer/inner/cpu.cfs_quota_us":  "75000\n",
		"sys/fs/cgroup/cpu,cpuacct/outer/inner/cpu.cfs_period_us": "50000\n",
		"sys/fs/cgroup/cpu,cpuacct/outer/inner/cpu.stat":          "nr_periods 8\nnr_throttled 5\nthrottled_time 1000000000\n",
		"sys/fs/cgroup/pids/outer/pids.max":                       "100\n",
		"sys/fs/cgroup/pids/outer/pids.current":                   "90\n",
		"sys/fs/cgroup/pids/outer/inner/pids.max":                 "50\n",
		"sys/fs/cgroup/pids/outer/inner/pids.current":             "30\n",
	},
	"version 2": {
		"proc/7/cgroup":                            "0::/outer/inner\n",
		"proc/7/mountinfo":                         "30 22 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
		"sys/fs/cgroup/cpu.stat":                   "usage_usec 1\n",
		"sys/fs/cgroup/outer/memory.max":           "1000000\n",
		"sys/fs/cgroup/outer/memory.current":       "900000\n",
		"sys/fs/cgroup/outer/memory.stat":          "inactive_file 50000\n",
		"sys/fs/cgroup/outer/inner/memory.max":     "500000\n",
		"sys/fs/cgroup/outer/inner/memory.current": "200000\n",
		"sys/fs/cgroup/outer/inner/memory.stat":    "inactive_file 0\n",
		"sys/fs/cgroup/outer/cpu.max":              "300000 100000\n",
		"sys/fs/cgroup/outer/cpu.stat":             "usage_usec 1\nnr_periods 9\nnr_throttled 2\nthrottled_usec 500000\n",
		"sys/fs/cgroup/outer/inner/cpu.max":        "75000 50000\n",
		"sys/fs/cgroup/outer/inner/cpu.stat":       "usage_usec 1\nnr_periods 8\nnr_throttled 5\nthrottled_usec 1000000\n",
		"sys/fs/cgroup/outer/pids.max":             "100\n",
		"sys/fs/cgroup/outer/pids.current":         "90\n",
		"sys/fs/cgroup/outer/inner/pids.max":       "50\n",
		"sys/fs/cgroup/outer/inner/pids.current":   "30\n",
	},
}

func TestNestedGroups(t *testing.T) {
	for version, files := range nested {
		t.Run(version, func(t *testing.T) {
			reader := copyOf(t, map[string]string{"proc/self": "-> 7", "proc/7/stat": ""}, files)
			var found reading.Groups
			var missing warnings
			groups(reader.cgroups, &found, Detail, &missing)
			if len(missing) > 0 {
				t.Errorf("warnings %q", missing)
			}
			if m := found.Memory; m == nil || !strings.HasSuffix(m.Folder, "/outer") || m.Limit != 1000000 || m.Used != 850000 || m.Left() != 150000 {
				t.Errorf("memory %+v", m)
			}
			if n := found.Tasks; n == nil || !strings.HasSuffix(n.Folder, "/outer") || n.Limit != 100 || n.Left() != 10 {
				t.Errorf("threads %+v", n)
			}
			is(t, "throttled time", found.Throttled, reading.Throttled{Periods: 7, Seconds: 1.5})
			host, warnings := reader.Host("made up")
			if got := host.Limits[LimitCgroupCPUs]; got != "1.5" {
				t.Errorf("a quota of %q CPUs, want 1.5; warnings %q", got, warnings)
			}
			if memory, tasks := host.Limits[LimitCgroupMemory], host.Limits[LimitCgroupTasks]; memory != "1000000" || tasks != "100" {
				t.Errorf("limits of %q bytes and %q threads, want those that leave least", memory, tasks)
			}

			var light reading.Groups
			groups(reader.cgroups, &light, Light, &missing)
			if light.Memory == nil || light.Tasks != nil || light.Throttled != nil {
				t.Errorf("a light reading took in %+v", light)
			}
		})
	}
}

func TestQuotas(t *testing.T) {
	base := map[string]string{
		"proc/self": "-> 7", "proc/7/stat": "",
		"proc/7/cgroup":    "0::/group\n",
		"proc/7/mountinfo": "30 22 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",

		"sys/fs/cgroup/group/cpu.stat": "nr_throttled 0\nthrottled_usec 0\n",
	}
	for max, want := range map[string]string{
		"max 100000": "", "50000 100000": "0.5", "": "none", "x 100000": "none", "100000": "none", "1 2 3": "none", "-5 100000": "none", "1 0": "none",
	} {
		host, warnings := copyOf(t, base, map[string]string{"sys/fs/cgroup/group/cpu.max": max + "\n"}).Host("made up")
		got := host.Limits[LimitCgroupCPUs]
		if strings.Contains(strings.Join(warnings, "\n"), "CPU quota of the control group: ") {
			got = "none"
		}
		if got != want {
			t.Errorf("cpu.max %q is a quota of %q, want %q", max, got, want)
		}
	}
}
