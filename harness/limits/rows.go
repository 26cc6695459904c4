package limits

import (
	"fmt"
	"maps"
	"strconv"

	"connbench/harness/cause"
	"connbench/harness/probe"
)

// descriptors: each socket is one, of its process and of its kernel
// (getrlimit(2), proc_sys_fs(5)).
func (c *calculation) descriptors() []Limit {
	server := c.atServer(sideServer, 1)
	server.mostProcesses = startable(number(server.Host.Limits[probe.LimitNoFileHard]), serverStartDescriptors)
	server.Facts = server.withOpenFiles(c.OpenFiles)
	var clients []scope
	for _, client := range c.clients {
		if c.Packet {
			continue
		}
		at := c.atClient(client)
		at.Facts = at.withOpenFiles(client.OpenFiles)
		at.mostProcesses = startable(number(at.Host.Limits[probe.LimitNoFileHard]), workerStartDescriptors)
		clients = append(clients, at)
	}
	rows := append(
		c.openFiles([]scope{server}, cause.ServerDescriptors.Reason),
		c.openFiles(clients, cause.ClientDescriptors.Reason)...)
	return append(rows, tightest(c.kernels(), c.fileTable)...)
}

// startable is how many processes one with so many descriptors can start that keeps
// so many of each; 0 where that is unknown.
func startable(descriptors *int64, each int64) int64 {
	if descriptors == nil {
		return 0
	}
	return max(1, (*descriptors-2*processDescriptors)/each)
}

// withOpenFiles are facts in which processes may have so many descriptors; 0: as
// many as on the host.
func (f Facts) withOpenFiles(n int) Facts {
	if most := number(f.Host.Limits[probe.LimitNoFileHard]); n > 0 && (most == nil || int64(n) < *most) {
		limits := map[string]string{}
		maps.Copy(limits, f.Host.Limits)
		limits[probe.LimitNoFileHard] = strconv.Itoa(n)
		limits[probe.LimitNoFileSoft] = strconv.Itoa(n)
		f.Host.Limits = limits
	}
	return f
}

// openFiles are the limits of a process: its own, and the one beyond which that
// cannot be raised.
func (c *calculation) openFiles(scopes []scope, reason string) []Limit {
	own := int64(processDescriptors + loopDescriptors*max(1, c.Loops))
	row := func(s scope, name, where string, most *int64, raise string) Limit {
		limit := s.limit(name, KindOpen, where, most)
		limit.Reason = reason
		limit.ofServers = s.side == sideServer
		if most != nil {
			limit.allowEach(s, *most-own, fmt.Sprintf("%s − %d for the process's own", show(most), own))
			limit.Raise = fmt.Sprintf(raise, raised(*most, c.needEach(s)+own))
		}
		return limit
	}
	now := tightest(scopes, func(s scope) Limit {
		limit := row(s, "open files of a process", "RLIMIT_NOFILE", number(s.Host.Limits[probe.LimitNoFileHard]),
			raiseOpenFiles(s.Host.Limits[probe.LimitAdmin] == "yes"))
		if soft := s.Host.Limits[probe.LimitNoFileSoft]; soft != limit.Value {
			limit.Value += fmt.Sprintf(" (soft: %s, which Go programs raise)", soft)
		}
		return limit
	})
	most := tightest(scopes, func(s scope) Limit {
		return row(s, "highest RLIMIT_NOFILE", "fs.nr_open", s.sysctl("fs.nr_open"), "sysctl -w fs.nr_open=%d")
	})
	return append(now, most...)
}

// raiseOpenFiles says how to raise RLIMIT_NOFILE. A line of limits.conf(5) for "*" does
// not apply to root, and none to a service (systemd.exec(5)).
func raiseOpenFiles(root bool) string {
	user := "*"
	if root {
		user = "root"
	}
	return "ulimit -Hn %[1]d as root, in the shell that starts connbench; for good: \"" + user + " - nofile %[1]d\" in /etc/security/limits.conf, or LimitNOFILE=%[1]d in the unit of a service"
}

// fileTable: CAP_SYS_ADMIN may go beyond fs.file-max (alloc_empty_file in the
// kernel's fs/file_table.c).
func (c *calculation) fileTable(s scope) Limit {
	most := s.sysctl("fs.file-max")
	limit := s.limit("open files of the host", KindOpen, "fs.file-max", most)
	limit.Reason = cause.HostDescriptors.Reason
	if most == nil {
		return limit
	}
	used := value(s.System.OpenFiles)
	limit.Raise = fmt.Sprintf("sysctl -w fs.file-max=%d", raised(*most, times(c.need(s), s.sockets)+used))
	if s.Host.Limits[probe.LimitAdmin] == "yes" {
		limit.How = "does not hold for processes with CAP_SYS_ADMIN, such as these"
	} else {
		limit.allow(s, (*most-used)/s.sockets, fmt.Sprintf("(%d − %d in use)%s", *most, used, s.perSocket()))
	}
	return limit
}

func (s scope) perSocket() string {
	if s.sockets == 1 {
		return ""
	}
	return fmt.Sprintf(" ÷ %d ends on this host", s.sockets)
}

// ports: a connection is told from others by both addresses and both ports (RFC
// 9293 section 3.3.1), so that a client's address has each of its ports once for
// each address and port of the server.
func (c *calculation) ports() []Limit {
	var scopes []scope
	of := map[string]Client{}
	for _, client := range c.clients {
		at := c.atClient(client)
		at.processes = int64(c.Processes) // each has ports of its own
		scopes = append(scopes, at)
		of[client.Host.Name] = client
	}
	return tightest(scopes, func(s scope) Limit {
		client := of[s.Host.Name]
		ports, where, shown, err := client.sourcePorts()
		limit := s.limit("source ports", KindOpen, where, ports)
		limit.Reason = cause.ClientPorts.Reason
		limit.ofServers = true
		if err != nil {
			limit.How = err.Error()
			return limit
		}
		limit.Value = shown
		if ports == nil {
			return limit
		}
		each, how, err := c.tuples(*ports, client.Sources)
		if err != nil {
			limit.How = err.Error()
			return limit
		}
		if s.shares > 1 {
			how = fmt.Sprintf("(%s) × %d client hosts", how, s.shares)
			each = times(each, s.shares)
			s.shares = 1
		}
		limit.allowEach(s, each, how)
		limit.Raise = fmt.Sprintf("more source addresses, server addresses or server ports; or sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\" (%d ports)", 65535-1024+1)
		return limit
	})
}

// network: what the kernel keeps of connections beside the sockets.
func (c *calculation) network() []Limit {
	rows := tightest(c.namespaces(), c.conntrack)
	rows = append(rows, tightest(c.kernels(), c.tcpMemory)...)
	rows = append(rows, tightest(c.kernels(), func(s scope) Limit {
		most := s.sysctl("net.ipv4.tcp_max_orphans")
		limit := s.limit("closed but not yet finished", KindClose, "net.ipv4.tcp_max_orphans", most)
		if most != nil {
			limit.Raise = fmt.Sprintf("sysctl -w net.ipv4.tcp_max_orphans=%d", raised(*most, c.need(s)))
			limit.allow(s, *most, "sockets without a process; beyond it they are reset, which frees them sooner")
		}
		return limit
	})...)
	rows = append(rows, tightest(c.holders(), func(s scope) Limit {
		most := s.sysctl("net.ipv4.tcp_max_tw_buckets")
		limit := s.limit("TIME_WAIT", KindClose, "net.ipv4.tcp_max_tw_buckets", most)
		if most != nil {
			limit.Raise = fmt.Sprintf("sysctl -w net.ipv4.tcp_max_tw_buckets=%d", raised(*most, c.need(s)))
			limit.allow(s, *most, "sockets after their end; beyond it they skip TIME_WAIT")
		}
		return limit
	})...)
	return append(rows, c.queues()...)
}

// conntrack: one entry a connection in each network namespace that it passes and
// that tracks (nf_conntrack-sysctl.rst).
func (c *calculation) conntrack(s scope) Limit {
	most := s.sysctl("net.netfilter.nf_conntrack_max")
	limit := s.limit("tracked connections", KindOpen, "net.netfilter.nf_conntrack_max", most)
	limit.Reason = cause.Conntrack.Reason
	state := s.Host.Limits[probe.LimitConntrack]
	switch {
	case state == probe.ConntrackInactive:
		limit.How = "no firewall rule here tracks connections"
	case state != probe.ConntrackActive && most == nil:
		limit.How = "this kernel does not track connections"
	case most != nil:
		used := value(s.System.Conntrack)
		limit.allow(s, *most-used, fmt.Sprintf("%d − %d in use", *most, used))
		limit.Raise = fmt.Sprintf("sysctl -w net.netfilter.nf_conntrack_max=%d; or a rule that exempts the server's ports (NOTRACK)",
			raised(*most, c.need(s)+used))
	}
	return limit
}

// tcpMemory: data that waits in a socket, and also a FIN that was not read yet,
// is charged with at least a page (sk_mem_schedule in the kernel's
// net/core/sock.c). Idle sockets are charged nothing.
func (c *calculation) tcpMemory(s scope) Limit {
	most := s.sysctlField("net.ipv4.tcp_mem", 2)
	limit := s.limit("memory of TCP buffers", KindLoad, "net.ipv4.tcp_mem", most)
	limit.Reason = cause.Memory.Reason
	if most != nil {
		limit.Value = s.Host.Sysctls["net.ipv4.tcp_mem"]
		limit.allow(s, *most, fmt.Sprintf("%d pages, one for each connection with unread data or an unread end; idle ones take none", *most))
		to := raised(*most, c.need(s))
		limit.Raise = fmt.Sprintf("sysctl -w net.ipv4.tcp_mem=\"%d %d %d\"", to/2, to/4*3, to)
	}
	return limit
}

// queues: what waits to be accepted (listen(2), tcp(7)).
func (c *calculation) queues() []Limit {
	s := c.atServer(sideServer, 1)
	somaxconn := s.sysctl("net.core.somaxconn")
	accept := s.limit("accept queue", KindRate, "listen(2) backlog, net.core.somaxconn", somaxconn)
	if somaxconn != nil {
		backlog := int64(c.Backlog)
		accept.Value = fmt.Sprintf("min(%d, %d)", backlog, *somaxconn)
		accept.How = fmt.Sprintf("bounds the rate, not the number: at most %d a listener wait to be accepted", min(backlog, *somaxconn))
		accept.Raise = fmt.Sprintf("backlog in the plan's [server], and sysctl -w net.core.somaxconn=%d", max(backlog, 2**somaxconn))
	}
	half := s.sysctl("net.ipv4.tcp_max_syn_backlog")
	syn := s.limit("SYN queue", KindRate, "net.ipv4.tcp_max_syn_backlog", half)
	if half != nil {
		syn.How = "bounds the rate, not the number: handshakes under way, before SYN cookies take over"
		syn.Raise = fmt.Sprintf("sysctl -w net.ipv4.tcp_max_syn_backlog=%d", 2**half)
	}
	return []Limit{accept, syn}
}

// memory: the host's, and that of the control group that the programs are in.
func (c *calculation) memory() []Limit {
	rows := tightest(c.kernels(), func(s scope) Limit {
		available := s.System.Memory.Available
		limit := s.limit("memory", KindOpen, "MemAvailable in /proc/meminfo", available)
		limit.Reason = cause.MemoryReserve.Reason
		limit.Raise = "a host with more memory, or a smaller memory_reserve_bytes in the plan"
		if available != nil {
			limit.allowMemory(s, *available-c.ReserveBytes, fmt.Sprintf("(%d − %d in reserve)", *available, c.ReserveBytes),
				"unknown until a connection's memory was measured; the ramp stops at the reserve")
		}
		return limit
	})
	return append(rows, tightest(c.kernels(), c.groupMemory)...)
}

// spendable is the memory of the server's host above the reserves.
func (c *calculation) spendable() *int64 {
	var least *int64
	if available := c.server.System.Memory.Available; available != nil {
		least = new(*available - c.ReserveBytes)
	}
	if group := c.server.System.Groups.Memory; group != nil {
		if left := group.Left() - group.Reserve(c.ReserveBytes); less(&left, least) {
			least = &left
		}
	}
	return least
}

// groupMemory: the control group that has the least memory left. Without a reserve the
// kernel kills what goes beyond its limit.
func (c *calculation) groupMemory(s scope) Limit {
	group := s.System.Groups.Memory
	limit := s.limit("memory of the control group", KindOpen, "control group", number(s.Host.Limits[probe.LimitCgroupMemory]))
	limit.Reason = cause.MemoryReserve.Reason
	if c.ReserveBytes == 0 {
		limit.Reason = cause.Memory.Reason
	}
	if group == nil {
		if limit.Value == "unlimited" {
			limit.How = "no group here has a limit"
		}
		return limit
	}
	reserve := group.Reserve(c.ReserveBytes)
	limit.Where, limit.Value = "control group "+group.Folder, show(&group.Limit)
	limit.allowMemory(s, group.Left()-reserve, fmt.Sprintf("(%d − %d in use − %d in reserve)", group.Limit, group.Used, reserve),
		"unknown until a connection's memory was measured; the ramp stops at the reserve")
	limit.Raise = "a larger number in " + group.Folder + "/memory.max (version 1: memory.limit_in_bytes)"
	return limit
}

// allowMemory divides free bytes by those of a connection.
func (l *Limit) allowMemory(s scope, free int64, how, unmeasured string) {
	if s.bytes == nil || *s.bytes <= 0 {
		l.How = unmeasured
		return
	}
	l.allow(s, int64(float64(free) / *s.bytes), fmt.Sprintf("%s ÷ %.0f bytes a connection", how, *s.bytes))
}

// tasks: epoll's watches, threads and mappings.
func (c *calculation) tasks() []Limit {
	rows := tightest(c.kernels(), func(s scope) Limit {
		watches := s.sysctl("fs.epoll.max_user_watches")
		limit := s.limit("epoll watches of a user", KindOpen, "fs.epoll.max_user_watches", watches)
		limit.Reason = cause.EpollWatches.Reason
		if watches != nil {
			limit.allow(s, *watches/s.sockets, fmt.Sprintf("%d, one for each socket%s", *watches, s.perSocket()))
			limit.Raise = fmt.Sprintf("sysctl -w fs.epoll.max_user_watches=%d", raised(*watches, times(c.need(s), s.sockets)))
		}
		return limit
	})
	s := c.atServer(sideServer, 1)
	used := value(s.System.Tasks)
	rows = append(rows,
		c.threads(s, "threads of the host", "kernel.threads-max", s.sysctl("kernel.threads-max"), used, "sysctl -w kernel.threads-max=%d"),
		c.threads(s, "process numbers", "kernel.pid_max", s.sysctl("kernel.pid_max"), used, "sysctl -w kernel.pid_max=%d"))
	if s.Host.Limits[probe.LimitAdmin] != "yes" { // whom it does not bind (getrlimit(2))
		rows = append(rows, c.threads(s, "threads of a user", "RLIMIT_NPROC", number(s.Host.Limits[probe.LimitNProc]), used, "ulimit -u %d"))
	}
	if group := s.System.Groups.Tasks; group != nil {
		rows = append(rows, c.threads(s, "threads of the control group", group.Folder+"/pids.max", &group.Limit, group.Used, "echo %d >"+group.Folder+"/pids.max"))
	}
	return append(rows, c.mappings(s))
}

func (c *calculation) threads(s scope, name, where string, most *int64, used int64, raise string) Limit {
	limit := s.limit(name, KindOpen, where, most)
	if most == nil {
		return limit
	}
	if c.ThreadsPerConnection == 0 {
		limit.How = "this model has no thread for each connection"
	} else {
		limit.allow(s, int64(float64(*most-used)/c.ThreadsPerConnection),
			fmt.Sprintf("(%s − %d in use) ÷ %.2g threads a connection", show(most), used, c.ThreadsPerConnection))
	}
	limit.Raise = fmt.Sprintf(raise, raised(*most, int64(float64(c.want)*c.ThreadsPerConnection)+used))
	return limit
}

// mappings: a thread's stack is one, and so is the guard page below it
// (pthread_attr_setguardsize(3)).
func (c *calculation) mappings(s scope) Limit {
	const perThread = 2
	most := s.sysctl("vm.max_map_count")
	limit := s.limit("mappings of a process", KindOpen, "vm.max_map_count", most)
	limit.ofServers = true
	if most == nil {
		return limit
	}
	each := perThread * c.ThreadsPerConnection
	if each == 0 {
		limit.How = "this model has no mapping for each connection"
	} else {
		limit.allowEach(s, int64(float64(*most)/each), fmt.Sprintf("%d ÷ %.2g mappings a connection", *most, each))
	}
	limit.Raise = fmt.Sprintf("sysctl -w vm.max_map_count=%d", raised(*most, int64(float64(c.needEach(s))*each)))
	return limit
}

// library: what the variant's description says.
func (c *calculation) library() []Limit {
	s := c.atServer(sideServer, 1)
	most := int64(c.LibraryCap)
	limit := s.limit("connections of the library", KindOpen, "max_connections_per_process in variant.toml", &most)
	limit.Reason = cause.LibraryCap.Reason
	if most == 0 {
		limit.Value, limit.How = "", "the variant states none"
		return []Limit{limit}
	}
	limit.ofServers = true
	limit.allowEach(s, most, fmt.Sprintf("%d by the library's own setting", most))
	limit.Raise = "the library's setting in the variant's program, and the same number in its variant.toml; or more server processes"
	return []Limit{limit}
}

// value is 0 for what is not known to be in use.
func value(used *int64) int64 {
	if used == nil {
		return 0
	}
	return *used
}
