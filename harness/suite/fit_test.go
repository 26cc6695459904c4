package suite

import (
	"reflect"
	"strings"
	"testing"

	"connbench/harness/explain"
	"connbench/harness/limits"
	"connbench/harness/plan"
	"connbench/harness/probe"
	"connbench/harness/reading"
	"connbench/harness/record"
	"connbench/harness/variant"
)

// A ramp to the maximum names the settings that would end it before memory does,
// and what raises them.
func TestCautions(t *testing.T) {
	facts := limits.Facts{
		Name: "server", Sysctls: map[string]string{"fs.file-max": "600000", "fs.epoll.max_user_watches": "500000"},
		AvailableBytes: new(int64(10 << 30)), UsedFiles: new(int64(1000)),
	}
	p := limits.Compute(facts, nil, limits.Topology{Shared: true, Packet: true, Cost: limits.Cost{ServerBytes: new(5000.0)}})
	memory, others := p.Ceilings()
	if memory == nil || *memory != 10<<30/5000 || others == nil || *others != 500_000 {
		t.Fatalf("ceilings %v and %v", memory, others)
	}
	list := cautions(p, *memory)
	if len(list) != 2 || !strings.HasPrefix(list[0], "fs.epoll.max_user_watches = 500000 allows 500,000 connections") ||
		!strings.HasPrefix(list[1], "fs.file-max = 600000 allows 599,000 connections") || !strings.HasSuffix(list[1], "scripts/tune.sh apply 2147483 raises it") {
		t.Errorf("cautions %q", list)
	}
	if list := cautions(p, 400_000); len(list) > 0 {
		t.Errorf("cautions %q where memory ends it first", list)
	}
}

// A budget holds more connections of which the kernel has no socket, if there are ports for them.
func TestInBudget(t *testing.T) {
	for _, test := range []struct {
		allowed, budget int64
		ends, want      int
	}{
		{16_000_000, 1 << 30, 1, 262_144},
		{16_000_000, 1 << 30, 2, 262_144},
		{16_000_000, 1 << 30, 0, 16_000_000},
		{64_000_000, 1 << 30, 0, 1 << 25},
		{100_000, 1 << 30, 1, 100_000},
		{100_000, 1, 1, 1},
	} {
		if got := inBudget(test.allowed, test.budget, test.ends); got != test.want {
			t.Errorf("%+v: %d", test, got)
		}
	}
	j := Job{Target: 5, OwnTarget: 700}
	own, other := variant.Program{}, variant.Program{}
	own.Device = variant.DeviceTUN
	if j.target(own) != 700 || j.target(other) != 5 {
		t.Errorf("targets %d and %d", j.target(own), j.target(other))
	}
	if j.OwnTarget = 0; j.target(own) != 5 {
		t.Errorf("target %d", j.target(own))
	}
}

func TestPortsForAllProcesses(t *testing.T) {
	for _, test := range []struct {
		port, ports, processes int
		enough                 bool
	}{
		{port: 0, ports: 4, processes: 50_000, enough: true}, // any that are free
		{port: 65_530, ports: 1, processes: 6, enough: true},
		{port: 65_530, ports: 1, processes: 7},
		{port: 65_530, ports: 2, processes: 4},
	} {
		err := havePorts(plan.Server{Port: test.port, Ports: test.ports}, test.processes)
		if (err == nil) != test.enough || err != nil && explain.HintOf(err) == "" {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// What the probe reads of this machine gives a row for everything, with a way to raise
// whatever bounds.
func TestLimitsHere(t *testing.T) {
	reader, err := probe.Open()
	if err != nil {
		t.Fatal(err)
	}
	host, warnings := reader.Host("here")
	here := facts(host, reader.System(probe.Detail), 1<<30)
	prediction := limits.Compute(here, []limits.Client{{Facts: here, Sources: []string{"127.17.0.0/24"}}}, limits.Topology{
		Shared: true, Processes: 1, Addresses: []string{"127.0.0.1"}, Backlog: 4096, Cost: limits.Cost{ServerBytes: new(16384.0), Threads: new(0.0)},
	})
	if prediction.Ceiling == nil || *prediction.Ceiling <= 0 {
		t.Errorf("no ceiling on this machine; %q", warnings)
	}
	for _, l := range prediction.Limits {
		t.Logf("%-7s %-32s %-24s %s", l.Side, l.Where, l.Value, l.How)
		if l.How == "" || l.Connections != nil && l.Raise == "" {
			t.Errorf("row without explanation: %+v", l)
		}
	}
}

// What was read of a host is what limits are told of it.
func TestFacts(t *testing.T) {
	group := func(limit, used int64) *reading.GroupUse {
		return &reading.GroupUse{Folder: "/g", Limit: limit, Used: used}
	}
	f := facts(record.Host{
		Name: "a", Sysctls: map[string]string{"fs.file-max": "9"}, Limits: map[string]string{
			probe.LimitNoFileHard: "unlimited", probe.LimitNoFileSoft: "1024", probe.LimitNProc: "70", probe.LimitAdmin: "yes",
			probe.LimitConntrack: probe.ConntrackActive, probe.LimitCgroupMemory: "8000",
		},
	}, reading.System{
		Memory: reading.Memory{Available: new(int64(5))}, OpenFiles: new(int64(6)), Tasks: new(int64(7)), Conntrack: new(int64(8)),
		Groups: reading.Groups{Memory: group(8000, 100), Tasks: group(50, 20)},
	}, 3000)
	want := limits.Facts{
		Name: "a", Sysctls: map[string]string{"fs.file-max": "9"},
		OpenFiles: new(int64(limits.Unlimited)), SoftOpenFiles: new(int64(1024)), Processes: new(int64(70)), Admin: true, Tracks: new(true),
		AvailableBytes: new(int64(5)), UsedFiles: new(int64(6)), UsedTasks: new(int64(7)), UsedConnections: new(int64(8)),
		MemoryGroup: &limits.Group{Folder: "/g", Limit: 8000, Used: 100, Reserve: 2000}, TaskGroup: &limits.Group{Folder: "/g", Limit: 50, Used: 20},
	}
	if !reflect.DeepEqual(f, want) {
		t.Errorf("got  %+v\nwant %+v", f, want)
	}
	if f := facts(record.Host{Limits: map[string]string{probe.LimitCgroupMemory: "unlimited"}}, reading.System{}, 0); f.MemoryGroup == nil || f.MemoryGroup.Limit != limits.Unlimited {
		t.Error("that no group limits memory is not known")
	}
	if f := facts(record.Host{}, reading.System{}, 0); !reflect.DeepEqual(f, limits.Facts{}) {
		t.Errorf("of nothing, %+v is known", f)
	}
}
