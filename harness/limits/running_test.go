package limits

import (
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
