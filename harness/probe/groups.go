package probe

import "connbench/harness/reading"

// groups reads what the control groups leave.
func (r *Reader) groups(groups *reading.Groups, level Level, missing *warnings) {
	var err error
	if groups.Memory, err = r.cgroups.LeastMemory(); err != nil {
		missing.add("memory of the control group", err)
	}
	if level != Detail {
		return
	}
	if groups.Tasks, err = r.cgroups.FewestTasks(); err != nil {
		missing.add("threads of the control group", err)
	}
	if _, groups.Throttled, err = r.cgroups.CPUQuota(); err != nil {
		missing.add("CPU quota of the control group", err)
	}
}
