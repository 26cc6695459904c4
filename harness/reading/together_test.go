package reading

import (
	"maps"
	"testing"
)

// hostWith is a host with some of everything.
func hostWith(available, sockets int64) System {
	return System{
		Clock:   50,
		Memory:  Memory{Available: &available, Slab: new(int64(1000)), Reclaimable: new(int64(100)), KernelStacks: new(int64(10)), PageTables: new(int64(1))},
		Sockets: Sockets{Orphans: new(int64(2)), TimeWait: new(int64(3)), Allocated: &sockets, BufferBytes: new(int64(40)), HeldBackBytes: 4},
		Groups: Groups{
			Memory:    &GroupUse{Folder: "/pod", Limit: 100, Used: available / 1000},
			Throttled: &Throttled{Periods: 1, Seconds: 0.5},
		},
		Slab:               map[string]Cache{"TCP": {Bytes: 600, Active: sockets, ObjectBytes: 6, ShareBytes: 6.5}},
		Counters:           map[string]int64{"ListenDrops": 5, "oom_kill": 1, "cgroup_oom": 2},
		CPUs:               []CPU{{CPU: 0, User: 7}, {CPU: 1, User: 9}},
		CPUPressureSeconds: new(4.0),
		SoftIRQInTasks:     true,
		Tasks:              new(int64(30)), Conntrack: new(int64(8)),
		Warnings: []string{"no slab"},
	}
}

// Two pods on one node and one on another: the node counts once.
func TestHostsTogether(t *testing.T) {
	first, second, third := hostWith(9000, 50), hostWith(9000, 50), hostWith(7000, 20)
	second.Groups.Memory = &GroupUse{Folder: "/full", Limit: 100, Used: 99}
	third.Counters["ListenDrops"] = 7
	all := Together([]System{first, second, third}, []Place{{"a", "a1"}, {"a", "a2"}, {"b", "b1"}})
	is(t, "available memory", all.Memory.Available, 7000)
	is(t, "slab", all.Memory.Slab, 2000)
	is(t, "reclaimable", all.Memory.Reclaimable, 200)
	is(t, "page tables", all.Memory.PageTables, 2)
	is(t, "sockets", all.Sockets.Allocated, 70)
	is(t, "TIME_WAIT", all.Sockets.TimeWait, 9)
	is(t, "tasks", all.Tasks, 60)
	is(t, "tracked connections", all.Conntrack, 24)
	is(t, "kernel memory", all.KernelBytes(), *first.KernelBytes()+*third.KernelBytes())
	if got, want := all.Slab["TCP"], (Cache{Bytes: 1200, Active: 70, ObjectBytes: 6, ShareBytes: 6.5}); got != want {
		t.Errorf("sockets take %+v, want %+v", got, want)
	}
	if want := map[string]int64{"ListenDrops": 17, "oom_kill": 2, "cgroup_oom": 6}; !maps.Equal(all.Counters, want) {
		t.Errorf("counters %v, want %v", all.Counters, want)
	}
	if g := all.Groups; g.Memory.Folder != "/full" || g.Throttled.Seconds != 1.5 || g.Throttled.Periods != 3 || g.Tasks != nil {
		t.Errorf("control groups %+v", g)
	}
	if len(all.Warnings) != 1 || !all.SoftIRQInTasks || all.Sockets.HeldBackBytes != 8 || all.Clock != 50 {
		t.Errorf("%+v", all)
	}

	// Times of both nodes' CPUs count, though their numbers are the same.
	third.Clock, third.CPUPressureSeconds = 60, new(8.0)
	third.CPUs = []CPU{{CPU: 0, User: 8}, {CPU: 1, User: 9}}
	later := first
	later.Clock, later.CPUs = 60, []CPU{{CPU: 0, User: 10}, {CPU: 1, User: 9}}
	after := Together([]System{later, second, third}, []Place{{"a", "a1"}, {"a", "a2"}, {"b", "b1"}})
	d := after.Since(all, nil)
	if d.CPUs != 4 || d.Seconds != 10 || *d.BusySeconds != 4 || *d.CPUPressureShare != 0.2 || len(d.Counters) != 0 {
		t.Errorf("%+v", d)
	}
}

// What one host does not say, nobody knows of all, and nothing seems to jump.
func TestHostsTogetherThatSayLess(t *testing.T) {
	first, second := hostWith(9000, 50), System{Counters: map[string]int64{"ListenDrops": 1, "TCPTimeouts": 3}}
	for name, systems := range map[string][]System{"first": {second, first}, "last": {first, second}} {
		all := Together(systems, []Place{{"a", "a"}, {"b", "b"}})
		if all.Memory.Available != nil || all.KernelBytes() != nil || all.Slab != nil || all.Sockets.Allocated != nil || all.SoftIRQInTasks {
			t.Errorf("%s: %+v", name, all)
		}
		if want := map[string]int64{"ListenDrops": 6}; !maps.Equal(all.Counters, want) {
			t.Errorf("%s: counters %v, want %v", name, all.Counters, want)
		}
		if all.Groups.Memory == nil {
			t.Errorf("%s: the only group with a limit was left out", name)
		}
	}
}
