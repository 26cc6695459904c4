package limits

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"connbench/harness/cause"
)

func number64(value int64) *int64  { return &value }
func bytes(value float64) *float64 { return &value }

// Names of what a host's facts have beside sysctls, for changes to them.
const (
	openFilesHard = "hard RLIMIT_NOFILE"
	userProcesses = "RLIMIT_NPROC"
	tracking      = "tracking" // yes or no
	admin         = "CAP_SYS_ADMIN"
)

// host is one with room for everything but what changes say: a setting, a
// resource limit, or both.
func host(name string, changes map[string]string) Facts {
	facts := Facts{
		Name: name,
		Sysctls: map[string]string{
			"fs.file-max":                      "9223372036854775807",
			"fs.nr_open":                       "1073741816",
			"fs.epoll.max_user_watches":        "100000000",
			"kernel.threads-max":               "1000000",
			"kernel.pid_max":                   "4194304",
			"vm.max_map_count":                 "1000000",
			"net.core.somaxconn":               "4096",
			"net.ipv4.ip_local_port_range":     "1024 65535",
			"net.ipv4.ip_local_reserved_ports": "",
			"net.ipv4.tcp_max_orphans":         "100000000",
			"net.ipv4.tcp_max_tw_buckets":      "100000000",
			"net.ipv4.tcp_max_syn_backlog":     "4096",
			"net.ipv4.tcp_mem":                 "50000000 75000000 100000000",
			"net.netfilter.nf_conntrack_max":   "262144",
		},
		OpenFiles: number64(100_000_000), SoftOpenFiles: number64(100_000_000), Processes: number64(1_000_000),
		Tracks:         new(false),
		AvailableBytes: number64(64 << 30), UsedFiles: number64(1000), UsedTasks: number64(200), UsedConnections: number64(44),
		MemoryGroup: &Group{Limit: Unlimited},
	}
	for what, text := range changes {
		value, _ := strconv.ParseInt(text, 10, 64)
		switch what {
		case openFilesHard:
			facts.OpenFiles = &value
		case userProcesses:
			facts.Processes = &value
		case tracking:
			facts.Tracks = new(text == "yes")
		case admin:
			facts.Admin = text == "yes"
		default:
			facts.Sysctls[what] = text
		}
	}
	return facts
}

// lab is one server process on 10.0.0.1 and a client host with 250 addresses,
// each a kernel of its own.
type lab struct {
	server, client map[string]string
	topology       Topology
	sources        []string
	change         func(server *Facts, clients []Client)
}

func (l lab) compute() Prediction {
	t := l.topology
	if t.Addresses == nil {
		t.Addresses = []string{"10.0.0.1"}
	}
	if l.sources == nil {
		l.sources = []string{"10.0.1.0/24"}
	}
	server := host("server", l.server)
	clients := []Client{{Facts: host("client", l.client), Sources: l.sources}}
	if t.Shared {
		clients[0].Facts = server
	}
	if l.change != nil {
		l.change(&server, clients)
	}
	return Compute(server, clients, t)
}

// own is what a process keeps of its descriptors, with one loop.
const own = processDescriptors + loopDescriptors

func TestWhichLimitBinds(t *testing.T) {
	for name, test := range map[string]struct {
		lab
		where   string // the binding limit's
		side    string
		ceiling int64
		reason  string
	}{
		"server descriptors": {
			lab{server: map[string]string{openFilesHard: "20000"}, topology: Topology{Processes: 1}},
			"RLIMIT_NOFILE", "server", 20000 - own, cause.ServerDescriptors.Reason,
		},
		"server descriptors of three processes": {
			lab{server: map[string]string{openFilesHard: "20000"}, topology: Topology{Processes: 3}},
			"RLIMIT_NOFILE", "server", 3 * (20000 - own), cause.ServerDescriptors.Reason,
		},
		"loops need descriptors": {
			lab{server: map[string]string{openFilesHard: "20000"}, topology: Topology{Processes: 1, Loops: 16}},
			"RLIMIT_NOFILE", "server", 20000 - processDescriptors - 16*loopDescriptors, cause.ServerDescriptors.Reason,
		},
		"fewer descriptors than the process needs": {
			lab{server: map[string]string{openFilesHard: "10"}, topology: Topology{Processes: 1}},
			"RLIMIT_NOFILE", "server", 0, cause.ServerDescriptors.Reason,
		},
		"client descriptors": {
			lab{client: map[string]string{openFilesHard: "5000"}, change: func(_ *Facts, c []Client) { c[0].Processes = 2 }},
			"RLIMIT_NOFILE", "client", 2 * (5000 - own), cause.ClientDescriptors.Reason,
		},
		"limit lowered under the processes": {
			lab{server: map[string]string{"fs.nr_open": "3000"}, topology: Topology{Processes: 1}},
			"fs.nr_open", "server", 3000 - own, cause.ServerDescriptors.Reason,
		},
		"open files of the server host": {
			lab{server: map[string]string{"fs.file-max": "301000"}},
			"fs.file-max", "server", 300000, cause.HostDescriptors.Reason,
		},
		"open files of one host for both ends": {
			lab{server: map[string]string{"fs.file-max": "301000"}, topology: Topology{Shared: true}},
			"fs.file-max", "both", 150000, cause.HostDescriptors.Reason,
		},
		"ports of one address": {
			lab{client: map[string]string{"net.ipv4.ip_local_port_range": "32768 60999"}, sources: []string{"10.0.1.1"}, topology: Topology{Processes: 1}},
			"net.ipv4.ip_local_port_range", "client", 28232, cause.ClientPorts.Reason,
		},
		"a second source doubles": {
			lab{client: map[string]string{"net.ipv4.ip_local_port_range": "32768 60999"}, sources: []string{"10.0.1.1", "10.0.1.2"}, topology: Topology{Processes: 1}},
			"net.ipv4.ip_local_port_range", "client", 2 * 28232, cause.ClientPorts.Reason,
		},
		"a second server port doubles": {
			lab{client: map[string]string{"net.ipv4.ip_local_port_range": "32768 60999"}, sources: []string{"10.0.1.1"}, topology: Topology{Processes: 1, PortsPerProcess: 2}},
			"net.ipv4.ip_local_port_range", "client", 2 * 28232, cause.ClientPorts.Reason,
		},
		"a second server process doubles": {
			lab{client: map[string]string{"net.ipv4.ip_local_port_range": "32768 60999"}, sources: []string{"10.0.1.1"}, topology: Topology{Processes: 2}},
			"net.ipv4.ip_local_port_range", "client", 2 * 28232, cause.ClientPorts.Reason,
		},
		"a second server address doubles": {
			lab{client: map[string]string{"net.ipv4.ip_local_port_range": "32768 60999"}, sources: []string{"10.0.1.1"}, topology: Topology{Processes: 1, Addresses: []string{"10.0.0.1", "10.0.0.2"}}},
			"net.ipv4.ip_local_port_range", "client", 2 * 28232, cause.ClientPorts.Reason,
		},
		"IPv6": {
			lab{sources: []string{"2001:db8::1", "2001:db8::2"}, topology: Topology{Processes: 1, Addresses: []string{"2001:db8::ffff"}}},
			"net.ipv4.ip_local_port_range", "client", 2 * 64512, cause.ClientPorts.Reason,
		},
		"no source of the server's version of IP": {
			lab{sources: []string{"10.0.1.0/24"}, topology: Topology{Addresses: []string{"2001:db8::ffff"}}},
			"net.ipv4.ip_local_port_range", "client", 0, cause.ClientPorts.Reason,
		},
		"reserved ports": {
			lab{client: map[string]string{"net.ipv4.ip_local_port_range": "10000 19999", "net.ipv4.ip_local_reserved_ports": "80,9990-10009,15000,19999-30000"},
				sources: []string{"10.0.1.1"}, topology: Topology{Processes: 1}},
			"net.ipv4.ip_local_port_range", "client", 10000 - 10 - 1 - 1, cause.ClientPorts.Reason,
		},
		"ports that the plan chose": {
			lab{sources: []string{"10.0.1.1"}, topology: Topology{Processes: 1}, change: func(_ *Facts, c []Client) { c[0].FirstPort, c[0].LastPort = 20000, 20999 }},
			"the swarm's first and last port", "client", 1000, cause.ClientPorts.Reason,
		},
		"all ports reserved": {
			lab{client: map[string]string{"net.ipv4.ip_local_port_range": "10000 19999", "net.ipv4.ip_local_reserved_ports": "10000-19999"}, topology: Topology{Processes: 1}},
			"net.ipv4.ip_local_port_range", "client", 0, cause.ClientPorts.Reason,
		},
		"tracked connections": {
			lab{client: map[string]string{tracking: "yes"}},
			"net.netfilter.nf_conntrack_max", "client", 262144 - 44, cause.Conntrack.Reason,
		},
		"tracked once in a namespace with both ends": {
			lab{server: map[string]string{tracking: "yes"}, topology: Topology{Shared: true}},
			"net.netfilter.nf_conntrack_max", "both", 262144 - 44, cause.Conntrack.Reason,
		},
		"memory": {
			lab{topology: Topology{Cost: Cost{ServerBytes: bytes(8192)}, ReserveBytes: 1 << 30}},
			"MemAvailable in /proc/meminfo", "server", 63 << 30 / 8192, cause.MemoryReserve.Reason,
		},
		"memory of a client host": {
			lab{topology: Topology{Cost: Cost{ServerBytes: bytes(8192), ClientBytes: bytes(16384)}}},
			"MemAvailable in /proc/meminfo", "client", 64 << 30 / 16384, cause.MemoryReserve.Reason,
		},
		"memory below the reserve": {
			lab{topology: Topology{Cost: Cost{ServerBytes: bytes(8192)}, ReserveBytes: 100 << 30}},
			"MemAvailable in /proc/meminfo", "server", 0, cause.MemoryReserve.Reason,
		},
		"memory of the control group": {
			lab{
				topology: Topology{Cost: Cost{ServerBytes: bytes(8192)}},
				change: func(s *Facts, _ []Client) {
					s.MemoryGroup = &Group{Folder: "/sys/fs/cgroup/lab", Limit: 1 << 30, Used: 73741824}
				}},
			"control group /sys/fs/cgroup/lab", "server", 1000000000 / 8192, cause.Memory.Reason,
		},
		"memory of the control group, with a reserve": {
			lab{
				topology: Topology{Cost: Cost{ServerBytes: bytes(8192)}, ReserveBytes: 1 << 30},
				change: func(s *Facts, _ []Client) {
					s.MemoryGroup = &Group{Folder: "/sys/fs/cgroup/lab", Limit: 2_000_000_000, Used: 1000, Reserve: 500_000_000}
				}},
			"control group /sys/fs/cgroup/lab", "server", (1_500_000_000 - 1000) / 8192, cause.MemoryReserve.Reason,
		},
		"threads of the control group": {
			lab{
				topology: Topology{Cost: Cost{Threads: bytes(1)}},
				change: func(s *Facts, _ []Client) {
					s.TaskGroup = &Group{Folder: "/sys/fs/cgroup/pids/lab", Limit: 1000, Used: 100}
				}},
			"/sys/fs/cgroup/pids/lab/pids.max", "server", 900, "",
		},
		"epoll watches": {
			lab{server: map[string]string{"fs.epoll.max_user_watches": "90000"}},
			"fs.epoll.max_user_watches", "server", 90000, cause.EpollWatches.Reason,
		},
		"epoll watches of one user for both ends": {
			lab{server: map[string]string{"fs.epoll.max_user_watches": "90000"}, topology: Topology{Shared: true}},
			"fs.epoll.max_user_watches", "both", 45000, cause.EpollWatches.Reason,
		},
		"threads of the host": {
			lab{server: map[string]string{"kernel.threads-max": "10200"}, topology: Topology{Cost: Cost{Threads: bytes(1)}}},
			"kernel.threads-max", "server", 10000, "",
		},
		"process numbers": {
			lab{server: map[string]string{"kernel.pid_max": "32768"}, topology: Topology{Cost: Cost{Threads: bytes(2)}}},
			"kernel.pid_max", "server", (32768 - 200) / 2, "",
		},
		"threads of a user": {
			lab{server: map[string]string{userProcesses: "5200"}, topology: Topology{Cost: Cost{Threads: bytes(1)}}},
			"RLIMIT_NPROC", "server", 5000, "",
		},
		"mappings": {
			lab{server: map[string]string{"vm.max_map_count": "65530"}, topology: Topology{Processes: 2, Cost: Cost{Threads: bytes(1)}}},
			"vm.max_map_count", "server", 65530, "",
		},
		"the library's cap": {
			lab{topology: Topology{Processes: 2, LibraryCap: 10000}},
			"max_connections_per_process in variant.toml", "server", 20000, cause.LibraryCap.Reason,
		},
	} {
		t.Run(name, func(t *testing.T) {
			prediction := test.compute()
			limit, known := prediction.Binding()
			if !known {
				t.Fatalf("nothing binds in %+v", prediction.Limits)
			}
			if limit.Where != test.where || limit.Side != test.side || *limit.Connections != test.ceiling {
				t.Errorf("%s of %s binds at %d, want %s of %s at %d", limit.Where, limit.Side, *limit.Connections, test.where, test.side, test.ceiling)
			}
			if *prediction.Ceiling != test.ceiling {
				t.Errorf("ceiling %d, want %d", *prediction.Ceiling, test.ceiling)
			}
			if limit.Reason != test.reason {
				t.Errorf("reason %q, want %q", limit.Reason, test.reason)
			}
			if limit.How == "" || limit.Raise == "" || limit.Value == "" {
				t.Errorf("row without explanation: %+v", limit)
			}
		})
	}
}

func TestRootIsNotBoundByAll(t *testing.T) {
	rooted := lab{
		server:   map[string]string{"fs.file-max": "2000", userProcesses: "300", admin: "yes"},
		topology: Topology{Shared: true, Cost: Cost{Threads: bytes(0.001)}},
	}.compute()
	if limit, _ := rooted.Binding(); limit.Where == "fs.file-max" || limit.Where == "RLIMIT_NPROC" {
		t.Errorf("%s binds root, whom the kernel lets pass", limit.Where)
	}
	if !strings.Contains(find(t, rooted, "fs.file-max").How, "CAP_SYS_ADMIN") {
		t.Error("fs.file-max does not say why it bounds nothing")
	}
}

// find is the row of what is set at where.
func find(t *testing.T, prediction Prediction, where string) Limit {
	t.Helper()
	i := slices.IndexFunc(prediction.Limits, func(l Limit) bool { return l.Where == where })
	if i < 0 {
		t.Fatalf("no row of %s", where)
	}
	return prediction.Limits[i]
}

func TestAutomaticProcesses(t *testing.T) {
	// The tightest limit of a process says how many are needed, and bounds
	// nothing otherwise.
	for name, test := range map[string]struct {
		lab
		perProcess int64
	}{
		"descriptors": {lab{server: map[string]string{openFilesHard: "20000"}}, 20000 - own},
		"ports":       {lab{server: map[string]string{openFilesHard: "100000"}, sources: []string{"10.0.1.1"}}, 64512},
		"library":     {lab{topology: Topology{LibraryCap: 10000}}, 10000},
		// That of the swarm's processes is of no concern to the server's.
		"not the swarm's": {lab{server: map[string]string{openFilesHard: "20000"}, client: map[string]string{openFilesHard: "1024"}}, 20000 - own},
	} {
		prediction := test.compute()
		if prediction.PerProcess == nil || *prediction.PerProcess != test.perProcess {
			t.Errorf("%s: %v connections a process, want %d", name, prediction.PerProcess, test.perProcess)
			continue
		}
		if prediction.Ceiling == nil || *prediction.Ceiling <= 10*test.perProcess {
			t.Errorf("%s: ceiling %v, although processes are added", name, prediction.Ceiling)
		}
		n := int(test.perProcess)
		for connections, want := range map[int]int{1: 1, n: 1, n + 1: 2, 3 * n: 3, 3*n + 1: 4} {
			if got := prediction.Processes(connections); got != want {
				t.Errorf("%s: %d processes for %d connections, want %d", name, got, connections, want)
			}
		}
	}
}

func TestSeveralClientHosts(t *testing.T) {
	server := host("server", nil)
	narrow := map[string]string{"net.ipv4.ip_local_port_range": "10001 11000", openFilesHard: "500"}
	clients := []Client{
		{Facts: host("one", nil), Sources: []string{"10.0.1.1"}},
		{Facts: host("two", narrow), Sources: []string{"10.0.2.1"}},
		{Facts: host("three", nil), Sources: []string{"10.0.3.1"}},
	}
	prediction := Compute(server, clients, Topology{Processes: 2, Addresses: []string{"10.0.0.1"}})
	limit, _ := prediction.Binding()
	// 1,000 ports for each of two server ports, and a third of all connections.
	if limit.Host != "two" || limit.Where != "net.ipv4.ip_local_port_range" || *limit.Connections != 3*2*1000 {
		t.Errorf("%s of %s binds at %d, want the ports of two at 6000", limit.Where, limit.Host, *limit.Connections)
	}
	for _, limit := range prediction.Limits {
		if limit.Side == "client" && limit.Where == "RLIMIT_NOFILE" && limit.Host != "two" {
			t.Errorf("of the clients' descriptors those of %s are listed, two has fewer", limit.Host)
		}
	}
	count := map[string]int{}
	for _, limit := range prediction.Limits {
		count[limit.Side+limit.Where]++
	}
	for row, times := range count {
		if times > 1 {
			t.Errorf("%d rows of %s", times, row)
		}
	}
}

// Hosts that are network namespaces of one machine: what is the kernel's counts
// once and for both ends, what is a namespace's counts for each.
func TestSeveralHostsOnOneKernel(t *testing.T) {
	server := host("server", map[string]string{
		"fs.file-max": "301000", "net.ipv4.tcp_max_tw_buckets": "1000",
	})
	server.MemoryGroup = &Group{Folder: "/sys/fs/cgroup/lab", Limit: 1_000_000_000}
	client := func(name, sources string) Client {
		return Client{
			Facts:   host(name, map[string]string{"net.ipv4.tcp_max_tw_buckets": "3000", "net.ipv4.ip_local_port_range": "1024 2023"}),
			Sources: []string{sources},
		}
	}
	p := Compute(server, []Client{client("client1", "198.19.1.1"), client("client2", "198.19.2.1")}, Topology{
		Shared: true, Processes: 1, Addresses: []string{"198.18.0.1"}, Cost: Cost{ServerBytes: bytes(10_000)},
	})
	for _, want := range []struct {
		name, side  string
		connections int64
	}{
		{"open files of the host", "both", 150_000},
		{"source ports", "client", 2 * 1000},
		{"TIME_WAIT", "server", 1000},
		{"TIME_WAIT", "client", 2 * 3000},
		{"memory", "both", 64 << 30 / 10_000},
		{"memory of the control group", "both", 100_000},
	} {
		var found []Limit
		for _, limit := range p.Limits {
			if limit.Name == want.name && limit.Side == want.side {
				found = append(found, limit)
			}
		}
		if len(found) != 1 || found[0].Connections == nil || *found[0].Connections != want.connections {
			t.Errorf("%s of %s: %+v, want one row that allows %d", want.name, want.side, found, want.connections)
		}
	}
	for _, limit := range p.Limits {
		if strings.Contains(limit.Name, "memory") && limit.Side != "both" {
			t.Errorf("%s of the side %q: both ends are in one memory", limit.Name, limit.Side)
		}
	}
}

// A swarm that speaks TCP itself takes nothing of the kernel for its ends.
func TestPacketEngineHasNoSockets(t *testing.T) {
	server := host("server", map[string]string{
		"fs.file-max": "301000", "fs.epoll.max_user_watches": "200000", openFilesHard: "20000",
	})
	client := Client{
		Facts:   host("client1", map[string]string{openFilesHard: "100", "net.ipv4.ip_local_port_range": "1024 2023"}),
		Sources: []string{"198.19.1.0/24"},
	}
	p := Compute(server, []Client{client}, Topology{
		Shared: true, Packet: true, Processes: 8, Addresses: []string{"198.18.0.1"}, Cost: Cost{ServerBytes: bytes(5_000)},
	})
	for where, want := range map[string]int64{
		"fs.file-max": 300_000, "fs.epoll.max_user_watches": 200_000, "net.ipv4.ip_local_port_range": 8 * 254 * 1000,
		"MemAvailable in /proc/meminfo": 64 << 30 / 5_000,
	} {
		if limit := find(t, p, where); limit.Connections == nil || *limit.Connections != want {
			t.Errorf("%s allows %v, want %d", where, limit.Connections, want)
		}
	}
	for _, limit := range p.Limits {
		if limit.Side == "both" || limit.Side == "client" && limit.Reason == cause.ClientDescriptors.Reason {
			t.Errorf("%s of the side %q: the client has no sockets", limit.Name, limit.Side)
		}
	}
}

// A server that speaks TCP itself takes nothing of the kernel for its ends.
func TestServerWithADeviceHasNoSockets(t *testing.T) {
	server := host("server", map[string]string{
		"fs.file-max": "301000", "fs.epoll.max_user_watches": "200000", openFilesHard: "20000",
	})
	client := Client{Facts: host("client1", map[string]string{openFilesHard: "500"}), Sources: []string{"198.19.1.0/24"}}
	for _, test := range []struct{ shared, packet bool }{{true, true}, {true, false}, {false, true}, {false, false}} {
		p := Compute(server, []Client{client}, Topology{
			Shared: test.shared, Packet: test.packet, Device: true, Processes: 1, Addresses: []string{"198.19.0.1"}, Cost: Cost{ServerBytes: bytes(50), ClientBytes: bytes(5000)},
		})
		for _, limit := range p.Limits {
			ofSockets := slices.Contains([]string{"RLIMIT_NOFILE", "fs.file-max", "fs.epoll.max_user_watches", "net.ipv4.tcp_max_tw_buckets", "net.ipv4.tcp_mem", "listen(2) backlog, net.core.somaxconn"}, limit.Where)
			if ofSockets && (limit.Side != "client" || test.packet) {
				t.Errorf("%+v: %s of the side %q: the server has no sockets", test, limit.Where, limit.Side)
			}
		}
		if test.shared && !test.packet {
			if limit := find(t, p, "fs.file-max"); *limit.Connections != 300_000 {
				t.Errorf("%s allows %d: the client's ends are in this kernel alone", limit.Where, *limit.Connections)
			}
		}
		if test.packet {
			if limit := find(t, p, "MemAvailable in /proc/meminfo"); *limit.Connections != 64<<30/50 {
				t.Errorf("%s allows %d", limit.Where, *limit.Connections)
			}
		}
	}
}

func TestUnknownIsNotZero(t *testing.T) {
	blank := Facts{Name: "server"}
	prediction := Compute(blank, []Client{{Facts: Facts{Name: "client"}, Sources: []string{"10.0.1.1"}}},
		Topology{Addresses: []string{"10.0.0.1"}})
	if prediction.Ceiling != nil || prediction.PerProcess != nil {
		t.Errorf("a ceiling of %v and %v a process out of nothing", prediction.Ceiling, prediction.PerProcess)
	}
	if _, known := prediction.Binding(); known {
		t.Error("a binding limit out of nothing")
	}
	if got := prediction.Processes(1000); got != 1 {
		t.Errorf("%d processes, want 1 where nothing bounds it", got)
	}
	for _, limit := range prediction.Limits {
		if limit.Connections != nil || limit.PerProcess != nil || limit.How == "" {
			t.Errorf("row out of nothing: %+v", limit)
		}
	}
}

func TestMemoryThatWasNotMeasured(t *testing.T) {
	memory := find(t, lab{}.compute(), "MemAvailable in /proc/meminfo")
	if memory.Connections != nil || !strings.Contains(memory.How, "unknown until") {
		t.Errorf("memory allows %v: %s", memory.Connections, memory.How)
	}
}

func TestExceededAndCautions(t *testing.T) {
	prediction := lab{
		server:   map[string]string{openFilesHard: "20000", "fs.file-max": "16000", "net.ipv4.tcp_mem": "1 2 5000", "net.ipv4.tcp_max_orphans": "7000"},
		topology: Topology{Processes: 1},
	}.compute()
	where := func(limits []Limit) string {
		var names []string
		for _, limit := range limits {
			names = append(names, limit.Where)
		}
		return strings.Join(names, ", ")
	}
	for n, want := range map[int]string{15000: "", 15001: "fs.file-max", 20000: "fs.file-max, RLIMIT_NOFILE"} {
		if got := where(prediction.Exceeded(n)); got != want {
			t.Errorf("%d connections exceed %q, want %q", n, got, want)
		}
	}
	// What bounds only busy or closing connections does not lower the ceiling.
	if *prediction.Ceiling != 15000 {
		t.Errorf("ceiling %d, want 15000", *prediction.Ceiling)
	}
	if got := where(prediction.Cautions(7001)); got != "net.ipv4.tcp_mem, net.ipv4.tcp_max_orphans" {
		t.Errorf("cautions for 7001 connections: %q", got)
	}
}

func TestQueuesBoundTheRateOnly(t *testing.T) {
	prediction := lab{server: map[string]string{"net.core.somaxconn": "16", "net.ipv4.tcp_max_syn_backlog": "8"}, topology: Topology{Backlog: 4096}}.compute()
	for _, limit := range prediction.Limits {
		if limit.Kind == KindRate && (limit.Connections != nil || !strings.Contains(limit.How, "limits the rate, not the number")) {
			t.Errorf("a rate limit that bounds connections: %+v", limit)
		}
	}
	if accept := find(t, prediction, "listen(2) backlog, net.core.somaxconn"); !strings.Contains(accept.How, "at most 16 ") {
		t.Errorf("accept queue of min(4096, 16): %s", accept.How)
	}
}

// The command that raises the limit must do so, and far enough.
func TestRaiseIsEnough(t *testing.T) {
	const target = 300_000
	low := map[string]string{
		"fs.file-max": "3000", "fs.nr_open": "2000", "fs.epoll.max_user_watches": "1000",
		"kernel.threads-max": "500", "kernel.pid_max": "400", "vm.max_map_count": "300",
		"net.netfilter.nf_conntrack_max": "200", tracking: "yes",
	}
	topology := Topology{Shared: true, Processes: 2, Cost: Cost{Threads: bytes(1)}, Connections: target}
	raised := maps.Clone(low)
	for _, limit := range (lab{server: low, topology: topology}).compute().Limits {
		if setting, found := strings.CutPrefix(limit.Raise, "sysctl -w "); found {
			name, value, _ := strings.Cut(setting, "=")
			value, _, _ = strings.Cut(value, ";")
			raised[name] = strings.Trim(value, `"`)
		}
	}
	if exceeded := (lab{server: raised, topology: topology}).compute().Exceeded(target); len(exceeded) > 0 {
		t.Errorf("%d connections do not fit after all commands: %+v", target, exceeded)
	}
	// A limit that is high enough already is never lowered.
	for _, limit := range (lab{topology: Topology{Shared: true, Cost: Cost{Threads: bytes(1)}, Connections: 1}}).compute().Limits {
		setting, found := strings.CutPrefix(limit.Raise, "sysctl -w ")
		if !found {
			continue
		}
		name, value, _ := strings.Cut(setting, "=")
		fields := strings.Fields(strings.Trim(value, `";`))
		now := strings.Fields(host("", nil).Sysctls[name])
		last, err := strconv.ParseInt(strings.TrimSuffix(fields[len(fields)-1], ";"), 10, 64)
		if is, _ := strconv.ParseInt(now[len(now)-1], 10, 64); err != nil || last < is {
			t.Errorf("%q lowers it from %d", limit.Raise, is)
		}
	}
}

func TestBadAddresses(t *testing.T) {
	for name, lab := range map[string]lab{
		"source":         {sources: []string{"10.0.1"}},
		"prefix":         {sources: []string{"10.0.1.0/33"}},
		"twice":          {sources: []string{"10.0.1.0/24", "10.0.1.9"}},
		"port range":     {client: map[string]string{"net.ipv4.ip_local_port_range": "1024"}},
		"server address": {topology: Topology{Addresses: []string{"server"}}},
		"reserved ports": {client: map[string]string{"net.ipv4.ip_local_reserved_ports": "80-"}},
	} {
		for _, limit := range lab.compute().Limits {
			if limit.Where == "net.ipv4.ip_local_port_range" && (limit.Connections != nil || limit.PerProcess != nil || limit.How == "" || strings.Contains(limit.How, "×")) {
				t.Errorf("%s: ports allow %v: %s", name, limit.Connections, limit.How)
			}
		}
	}
}

// A prefix of IPv6 has more ports than anybody can use: no bound, and no
// overflow either.
func TestPortsBeyondCounting(t *testing.T) {
	ports := find(t, lab{sources: []string{"2001:db8::/32", "2001:db9::/32"}, topology: Topology{Addresses: []string{"2001:dba::1"}}}.compute(),
		"net.ipv4.ip_local_port_range")
	if ports.Connections != nil || ports.PerProcess != nil || !strings.Contains(ports.How, "more than any host can hold") {
		t.Errorf("ports allow %v, %v a process: %s", ports.Connections, ports.PerProcess, ports.How)
	}
}

func TestJSON(t *testing.T) {
	sent := lab{server: map[string]string{openFilesHard: "20000"}}.compute()
	line, err := json.Marshal(sent)
	if err != nil {
		t.Fatal(err)
	}
	var got Prediction
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatal(err)
	}
	if again, _ := json.Marshal(got); string(again) != string(line) {
		t.Errorf("sent\n%s\ngot\n%s", line, again)
	}
	if got.Processes(100000) != sent.Processes(100000) {
		t.Error("what came over answers differently")
	}
}

// A plan's limit of open files holds where the host's own is not known.
func TestOpenFilesOfAHostWithoutLimits(t *testing.T) {
	if got := (Facts{}).withOpenFiles(100).OpenFiles; got == nil || *got != 100 {
		t.Errorf("a process may open %v files, want 100", got)
	}
}

// What connections may take is the less of what the host and its control groups leave,
// above their reserves.
func TestSpendable(t *testing.T) {
	group := func(limit, used, reserve int64) *Group {
		return &Group{Folder: "/sys/fs/cgroup/lab", Limit: limit, Used: used, Reserve: reserve}
	}
	for name, test := range map[string]struct {
		available *int64
		group     *Group
		want      *int64
	}{
		"host alone":        {number64(10 << 30), nil, number64(8 << 30)},
		"group with less":   {number64(10 << 30), group(4<<30, 1<<30, 1<<30), number64(2 << 30)},
		"group with more":   {number64(10 << 30), group(64<<30, 1<<30, 2<<30), number64(8 << 30)},
		"group that is all": {nil, group(4<<30, 1<<30, 1<<30), number64(2 << 30)},
		"nothing known":     {nil, nil, nil},
	} {
		facts := Facts{AvailableBytes: test.available, MemoryGroup: test.group}
		got := Compute(facts, nil, Topology{ReserveBytes: 2 << 30}).SpendableBytes
		if (got == nil) != (test.want == nil) || got != nil && *got != *test.want {
			t.Errorf("%s: %v bytes, want %v", name, show(got), show(test.want))
		}
	}
}

// A line of limits.conf for "*" does not apply to root.
func TestAdviceOnOpenFiles(t *testing.T) {
	for rooted, want := range map[string]string{"yes": `"root - nofile 2000018"`, "no": `"* - nofile 2000018"`} {
		p := lab{server: map[string]string{openFilesHard: "1000", admin: rooted}, topology: Topology{Processes: 1, Connections: 2_000_000}}.compute()
		for _, limit := range p.Limits {
			if limit.Side == "server" && limit.Where == "RLIMIT_NOFILE" && !(strings.Contains(limit.Raise, want) && strings.Contains(limit.Raise, "LimitNOFILE=2000018")) {
				t.Errorf("with CAP_SYS_ADMIN %q: %s", rooted, limit.Raise)
			}
		}
	}
}
