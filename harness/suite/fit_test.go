package suite

import (
	"errors"
	"strings"
	"testing"

	"connbench/harness/limits"
	"connbench/harness/plan"
	"connbench/harness/probe"
	"connbench/harness/record"
)

// A ramp to the maximum names the settings that would end it before memory does,
// and what raises them.
func TestCautions(t *testing.T) {
	facts := limits.Facts{
		Host: record.Host{Name: "server", Sysctls: map[string]string{
			"fs.file-max": "600000", "fs.epoll.max_user_watches": "500000",
		}, Limits: map[string]string{probe.LimitAdmin: "no"}},
		System: probe.System{Memory: probe.Memory{Available: new(int64(10 << 30))}, OpenFiles: new(int64(1000))},
	}
	p := limits.Compute(facts, nil, limits.Topology{Shared: true, Packet: true, ServerBytes: new(5000.0)})
	memory, others := p.Ceilings()
	if memory == nil || *memory != 10<<30/5000 || others == nil || *others != 500_000 {
		t.Fatalf("ceilings %v and %v", memory, others)
	}
	list := cautions(p, *memory)
	if len(list) != 2 || !strings.HasPrefix(list[0], "fs.epoll.max_user_watches = 500000 allows 500000 connections") ||
		!strings.HasPrefix(list[1], "fs.file-max = 600000 allows 599000 connections") || !strings.HasSuffix(list[1], "scripts/tune.sh apply 2147483 raises it") {
		t.Errorf("cautions %q", list)
	}
	if list := cautions(p, 400_000); len(list) > 0 {
		t.Errorf("cautions %q where memory ends it first", list)
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
		if (err == nil) != test.enough || err != nil && !errors.Is(err, ErrTooMany) {
			t.Errorf("%+v: %v", test, err)
		}
	}
}
