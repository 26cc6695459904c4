package limits

import (
	"slices"
	"strings"
	"testing"

	"connbench/harness/cause"
)

// The limits of a server that runs already are those of its process now, and what raises them
// is where the process gets them from.
func TestRunningServer(t *testing.T) {
	server := Facts{Name: "here", OpenFiles: new(int64(20_000)), SoftOpenFiles: new(int64(20_000)), Sysctls: map[string]string{"fs.nr_open": "1048576"}}
	running := Running{PID: 42, Processes: 1, OpenFiles: 1024, HardOpenFiles: 4096, Descriptors: 12, Backlog: 511}
	for name, test := range map[string]struct {
		change      func(*Running)
		connections int64
		raise       string
	}{
		"by hand":     {func(*Running) {}, 1012, "ulimit -n 100012 in the shell that starts it; for the running process prlimit --pid 42 --nofile=100012"},
		"a service":   {func(r *Running) { r.Unit = "chat.service" }, 1012, "LimitNOFILE=100012 in its unit (systemctl edit chat.service)"},
		"a container": {func(r *Running) { r.Container = true }, 1012, "--ulimit nofile=100012 for its container"},
		"two workers": {func(r *Running) { r.Processes = 2 }, 2024, "ulimit -n 50012 in the shell"},
		"full":        {func(r *Running) { r.Descriptors = 1024 }, 0, "ulimit"},
	} {
		now := running
		test.change(&now)
		p := Compute(server, []Client{{Facts: server, Sources: []string{"127.0.0.0/24"}}}, Topology{
			Shared: true, Processes: 1, Running: &now, Addresses: []string{"127.0.0.1"}, PortsPerProcess: 1, Connections: 100_000,
		})
		limit, ok := p.Binding()
		if !ok || limit.Reason != cause.ServerDescriptors.Reason || *limit.Connections != test.connections || !strings.Contains(limit.Raise, test.raise) {
			t.Errorf("%s: %+v", name, limit)
		}
		if !strings.Contains(limit.Value, "(hard: 4096)") || !strings.Contains(limit.How, "in use by process 42") {
			t.Errorf("%s: value %q, %q", name, limit.Value, limit.How)
		}
	}
}

// Each of a server's hosts gets an equal share of the connections, and its processes and its
// control group are its own, while hosts on one kernel share that.
func TestServerOnSeveralHosts(t *testing.T) {
	server := Facts{
		Name: "pod", OpenFiles: new(int64(20_000)), SoftOpenFiles: new(int64(20_000)), UsedFiles: new(int64(100)),
		Sysctls: map[string]string{"fs.file-max": "1300"}, MemoryGroup: &Group{Folder: "/pod", Limit: 7000},
	}
	running := Running{PID: 1, Processes: 2, OpenFiles: 1024, HardOpenFiles: 1024, Descriptors: 24}
	for _, test := range []struct {
		hosts, neighbours         int
		processes, kernel, memory int64
		how                       string
	}{
		{1, 0, 2000, 1200, 700, "(1300 − 100 in use)"},
		{3, 0, 6000, 3600, 2100, "(1300 − 100 in use), × 3 server hosts"},
		{3, 1, 6000, 1800, 2100, "(1300 − 100 in use), × 3 server hosts ÷ 2 on this kernel"},
	} {
		p := Compute(server, []Client{{Facts: Facts{Name: "client"}}}, Topology{
			Processes: 1, Running: &running, ServerHosts: test.hosts, Neighbours: test.neighbours, Cost: Cost{ServerBytes: new(10.0)},
		})
		for name, want := range map[string]int64{"open files of a process": test.processes, "open files of the host": test.kernel, "memory of the control group": test.memory} {
			i := slices.IndexFunc(p.Limits, func(l Limit) bool { return l.Name == name && l.Side == sideServer })
			if got := p.Limits[i]; got.Connections == nil || *got.Connections != want {
				t.Errorf("%d hosts, %d neighbours: %s allows %v, want %d", test.hosts, test.neighbours, name, got.Connections, want)
			} else if name == "open files of the host" && got.How != test.how {
				t.Errorf("%d hosts, %d neighbours: %q, want %q", test.hosts, test.neighbours, got.How, test.how)
			}
		}
	}
}
