package reading

import (
	"cmp"
	"slices"
	"strings"
)

// Place is where a reading was taken. Readings of one kernel share what the kernel counts, and
// those of one network namespace what that counts.
type Place struct{ Kernel, Network string }

// Together returns one reading of several hosts, which hold one server's connections between
// them. Memory, sockets, times and counters are sums, in which each kernel counts once, however
// many of the hosts it runs. Available memory is that of the kernel that has least, and the
// control groups of memory and threads are those that leave least. The clock is the first
// host's. What is unknown of a host is unknown of all. places says where each reading is from.
func Together(systems []System, places []Place) System {
	if len(systems) == 1 {
		return systems[0]
	}
	kernels := firsts(systems, places, func(p Place) string { return p.Kernel })
	networks := firsts(systems, places, func(p Place) string { return p.Network })
	all := System{
		Clock: systems[0].Clock,
		Memory: Memory{
			Available:    leastAvailable(kernels),
			Slab:         total(kernels, func(s System) *int64 { return s.Memory.Slab }),
			Reclaimable:  total(kernels, func(s System) *int64 { return s.Memory.Reclaimable }),
			KernelStacks: total(kernels, func(s System) *int64 { return s.Memory.KernelStacks }),
			PageTables:   total(kernels, func(s System) *int64 { return s.Memory.PageTables }),
		},
		Sockets: Sockets{
			Orphans:     total(kernels, func(s System) *int64 { return s.Sockets.Orphans }),
			TimeWait:    total(networks, func(s System) *int64 { return s.Sockets.TimeWait }),
			Allocated:   total(kernels, func(s System) *int64 { return s.Sockets.Allocated }),
			BufferBytes: total(kernels, func(s System) *int64 { return s.Sockets.BufferBytes }),
		},
		Groups:             groupsTogether(systems),
		Slab:               slabTogether(kernels),
		NegativeDentries:   total(kernels, func(s System) *int64 { return s.NegativeDentries }),
		Counters:           countersTogether(systems, kernels, networks),
		CPUs:               cpusTogether(kernels),
		CPUPressureSeconds: total(kernels, func(s System) *float64 { return s.CPUPressureSeconds }),
		SoftIRQInTasks:     !slices.ContainsFunc(kernels, func(s System) bool { return !s.SoftIRQInTasks }),
		OpenFiles:          total(kernels, func(s System) *int64 { return s.OpenFiles }),
		Tasks:              total(kernels, func(s System) *int64 { return s.Tasks }),
		Conntrack:          total(networks, func(s System) *int64 { return s.Conntrack }),
	}
	for _, s := range kernels {
		all.Sockets.HeldBackBytes += s.Sockets.HeldBackBytes
	}
	if pressure := all.CPUPressureSeconds; pressure != nil { // a share of the time, whatever the number of hosts
		*pressure /= float64(len(kernels))
	}
	for _, s := range systems {
		for _, warning := range s.Warnings {
			if !slices.Contains(all.Warnings, warning) {
				all.Warnings = append(all.Warnings, warning)
			}
		}
	}
	return all
}

// firsts returns the first reading of each place.
func firsts(systems []System, places []Place, key func(Place) string) (list []System) {
	seen := map[string]bool{}
	for i, s := range systems {
		if !seen[key(places[i])] {
			seen[key(places[i])] = true
			list = append(list, s)
		}
	}
	return list
}

// total adds up a figure; nil if it is unknown of one.
func total[T int64 | float64](systems []System, figure func(System) *T) *T {
	sum := new(T)
	for _, s := range systems {
		more := figure(s)
		if more == nil {
			return nil
		}
		*sum += *more
	}
	return sum
}

func leastAvailable(kernels []System) *int64 {
	least := kernels[0].Memory.Available
	for _, s := range kernels {
		if s.Memory.Available == nil {
			return nil
		}
		least = new(min(*least, *s.Memory.Available))
	}
	return least
}

func groupsTogether(systems []System) (all Groups) {
	leaves := func(least, group *GroupUse) *GroupUse {
		if least == nil || group != nil && group.Left() < least.Left() {
			return group
		}
		return least
	}
	for _, s := range systems {
		all.Memory, all.Tasks = leaves(all.Memory, s.Groups.Memory), leaves(all.Tasks, s.Groups.Tasks)
		if more := s.Groups.Throttled; more != nil {
			sum := cmp.Or(all.Throttled, &Throttled{})
			all.Throttled = &Throttled{Periods: sum.Periods + more.Periods, Seconds: sum.Seconds + more.Seconds}
		}
	}
	return all
}

// slabTogether adds up caches by name. Hosts with the same kernel have objects of the same size;
// the others count with the size of the first.
func slabTogether(kernels []System) map[string]Cache {
	all := map[string]Cache{}
	for _, s := range kernels {
		if s.Slab == nil {
			return nil
		}
		for name, cache := range s.Slab {
			if sum, known := all[name]; known {
				sum.Bytes, sum.Active = sum.Bytes+cache.Bytes, sum.Active+cache.Active
				cache = sum
			}
			all[name] = cache
		}
	}
	return all
}

// countersTogether adds up the counters that all hosts have: one that a host lacks would seem to
// jump when it appears there.
func countersTogether(systems, kernels, networks []System) map[string]int64 {
	all := map[string]int64{}
	for name := range systems[0].Counters {
		of := networks
		switch {
		case name == "oom_kill":
			of = kernels
		case strings.HasPrefix(name, "cgroup_"):
			of = systems
		}
		sum := total(of, func(s System) *int64 {
			if value, known := s.Counters[name]; known {
				return &value
			}
			return nil
		})
		if sum != nil {
			all[name] = *sum
		}
	}
	return all
}

// cpusTogether lists the CPUs of all kernels, with numbers of their own.
func cpusTogether(kernels []System) (all []CPU) {
	const mostOfKernel = 1 << 16 // more than a kernel can have
	for i, s := range kernels {
		for _, cpu := range s.CPUs {
			cpu.CPU += i * mostOfKernel
			all = append(all, cpu)
		}
	}
	return all
}
