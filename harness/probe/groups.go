package probe

import (
	"connbench/harness/probe/cgroup"
	"connbench/harness/reading"
)

// groups reads what the control groups leave.
func groups(of *cgroup.Reader, groups *reading.Groups, level Level, missing *warnings) {
	var err error
	if groups.Memory, err = of.LeastMemory(); err != nil {
		missing.add("memory of the control group", err)
	}
	if level != Detail {
		return
	}
	if groups.Tasks, err = of.FewestTasks(); err != nil {
		missing.add("threads of the control group", err)
	}
	if _, groups.Throttled, err = of.CPUQuota(); err != nil {
		missing.add("CPU quota of the control group", err)
	}
}
