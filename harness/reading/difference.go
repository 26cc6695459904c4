package reading

import "slices"

// Difference is what happened on a host between two readings.
type Difference struct {
	// Seconds is the time between them.
	Seconds float64 `json:"seconds"`
	// CPUs is the number of CPUs that the times below are summed over.
	CPUs int `json:"cpus"`
	// Counters says by how much counters changed; the others are left out.
	Counters map[string]int64 `json:"counters"`
	// BusySeconds is the time in which the chosen CPUs ran tasks (user and system,
	// without interrupts), SoftIRQSeconds that in which they handled network packets
	// and the like, StealSeconds that in which the hypervisor ran somebody else.
	BusySeconds    *float64 `json:"busy_seconds"`
	SoftIRQSeconds *float64 `json:"softirq_seconds"`
	StealSeconds   *float64 `json:"steal_seconds"`
	// SoftIRQInTasks is as in [System].
	SoftIRQInTasks bool `json:"softirq_in_tasks"`
	// StealShare is StealSeconds over the CPUs' time, 0 to 1.
	StealShare *float64 `json:"steal_share"`
	// CPUPressureShare is the share of the time, 0 to 1, in which some task of the
	// host waited for a CPU.
	CPUPressureShare *float64 `json:"cpu_pressure_share"`
	// ThrottledSeconds is the time for which CPU quotas of control groups kept tasks
	// from running, summed over CPUs, and ThrottledPeriods the number of periods in
	// which they did; nil where there is no quota.
	ThrottledSeconds *float64 `json:"throttled_seconds"`
	ThrottledPeriods *int64   `json:"throttled_periods"`
}

// Since returns what happened from the reading before to s. Both must be detailed.
// Times are of the given CPUs, or of all if cpus is empty.
func (s System) Since(before System, cpus []int) Difference {
	difference := Difference{
		Seconds:  s.Clock - before.Clock,
		Counters: map[string]int64{},
	}
	difference.SoftIRQInTasks = s.SoftIRQInTasks
	for name, value := range s.Counters {
		// A counter that was not there before has nothing to be compared with.
		if earlier, known := before.Counters[name]; known && value != earlier {
			difference.Counters[name] = value - earlier
		}
	}
	difference.addCPUs(s.CPUs, before.CPUs, cpus)
	difference.CPUPressureShare = share(s.CPUPressureSeconds, before.CPUPressureSeconds, difference.Seconds)
	if after, before := s.Groups.Throttled, before.Groups.Throttled; after != nil && before != nil {
		difference.ThrottledSeconds = new(after.Seconds - before.Seconds)
		difference.ThrottledPeriods = new(after.Periods - before.Periods)
	}
	return difference
}

func (d *Difference) addCPUs(after, before []CPU, chosen []int) {
	var busy, softirq, steal float64
	for _, end := range after {
		if len(chosen) > 0 && !slices.Contains(chosen, end.CPU) {
			continue
		}
		i := slices.IndexFunc(before, func(start CPU) bool { return start.CPU == end.CPU })
		if i < 0 {
			continue
		}
		start := before[i]
		busy += end.User + end.System - start.User - start.System
		softirq += end.SoftIRQ - start.SoftIRQ
		steal += end.Steal - start.Steal
		d.CPUs++
	}
	if d.CPUs == 0 {
		return
	}
	d.BusySeconds, d.SoftIRQSeconds, d.StealSeconds = &busy, &softirq, &steal
	if d.Seconds > 0 {
		stolen := steal / d.Seconds / float64(d.CPUs)
		d.StealShare = &stolen
	}
}

func share(after, before *float64, seconds float64) *float64 {
	if after == nil || before == nil || seconds <= 0 {
		return nil
	}
	result := min(1, max(0, (*after-*before)/seconds))
	return &result
}

// ForeignShare returns the share of the chosen CPUs' time, 0 to 1, in which they
// ran tasks that are not ours, given the seconds that ours spent there. It is nil if
// the CPUs' time is unknown.
//
// /proc/stat counts softirqs separately. The scheduler's clock, and therefore own,
// counts a softirq as time of the task whose send or write caused it, unless the
// kernel accounts for interrupts. onKernel is true if no packet comes from outside,
// so that a task causes every softirq.
func (d Difference) ForeignShare(own float64, onKernel bool) *float64 {
	if d.BusySeconds == nil || d.Seconds <= 0 {
		return nil
	}
	tasks := *d.BusySeconds
	if onKernel && d.SoftIRQInTasks {
		tasks += *d.SoftIRQSeconds
	}
	foreign := max(0, tasks-own) / d.Seconds / float64(d.CPUs)
	return &foreign
}
