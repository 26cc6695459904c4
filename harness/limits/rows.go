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
	var clients []place
	for _, client := range c.clients {
		if c.Packet {
			continue
		}
		place := c.atClient(client)
		place.Facts = place.withOpenFiles(client.OpenFiles)
		place.mostProcesses = startable(number(place.Host.Limits[probe.LimitNoFileHard]), workerStartDescriptors)
		clients = append(clients, place)
	}
	rows := append(
		c.openFiles([]place{server}, cause.ServerDescriptors.Reason),
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
func (c *calculation) openFiles(places []place, reason string) []Limit {
	own := int64(processDescriptors + loopDescriptors*max(1, c.Loops))
	row := func(p place, name, where string, most *int64, raise string) Limit {
		limit := p.limit(name, KindOpen, where, most)
		limit.Reason = reason
		limit.ofServers = p.side == sideServer
		if most != nil {
			limit.allowEach(p, *most-own, fmt.Sprintf("%s − %d for the process's own", show(most), own))
			limit.Raise = fmt.Sprintf(raise, raised(*most, c.needEach(p)+own))
		}
		return limit
	}
	now := tightest(places, func(p place) Limit {
		limit := row(p, "open files of a process", "RLIMIT_NOFILE", number(p.Host.Limits[probe.LimitNoFileHard]),
			"ulimit -Hn %[1]d as root, in the shell that starts connbench; for good: \"* - nofile %[1]d\" in /etc/security/limits.conf")
		if soft := p.Host.Limits[probe.LimitNoFileSoft]; soft != limit.Value {
			limit.Value += fmt.Sprintf(" (soft: %s, which Go programs raise)", soft)
		}
		return limit
	})
	most := tightest(places, func(p place) Limit {
		return row(p, "highest RLIMIT_NOFILE", "fs.nr_open", p.sysctl("fs.nr_open"), "sysctl -w fs.nr_open=%d")
	})
	return append(now, most...)
}

// fileTable: CAP_SYS_ADMIN may go beyond fs.file-max (alloc_empty_file in the
// kernel's fs/file_table.c).
func (c *calculation) fileTable(p place) Limit {
	most := p.sysctl("fs.file-max")
	limit := p.limit("open files of the host", KindOpen, "fs.file-max", most)
	limit.Reason = cause.HostDescriptors.Reason
	if most == nil {
		return limit
	}
	used := value(p.System.OpenFiles)
	limit.Raise = fmt.Sprintf("sysctl -w fs.file-max=%d", raised(*most, times(c.need(p), p.sockets)+used))
	if p.Host.Limits[probe.LimitAdmin] == "yes" {
		limit.How = "does not hold for processes with CAP_SYS_ADMIN, such as these"
	} else {
		limit.allow(p, (*most-used)/p.sockets, fmt.Sprintf("(%d − %d in use)%s", *most, used, p.perSocket()))
	}
	return limit
}

func (p place) perSocket() string {
	if p.sockets == 1 {
		return ""
	}
	return fmt.Sprintf(" ÷ %d ends on this host", p.sockets)
}

// ports: a connection is told from others by both addresses and both ports (RFC
// 9293 section 3.3.1), so that a client's address has each of its ports once for
// each address and port of the server.
func (c *calculation) ports() []Limit {
	var places []place
	of := map[string]Client{}
	for _, client := range c.clients {
		place := c.atClient(client)
		place.processes = int64(c.Processes) // each has ports of its own
		places = append(places, place)
		of[client.Host.Name] = client
	}
	return tightest(places, func(p place) Limit {
		client := of[p.Host.Name]
		ports, where, shown, err := client.sourcePorts()
		limit := p.limit("source ports", KindOpen, where, ports)
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
		if p.shares > 1 {
			how = fmt.Sprintf("(%s) × %d client hosts", how, p.shares)
			each = times(each, p.shares)
			p.shares = 1
		}
		limit.allowEach(p, each, how)
		limit.Raise = fmt.Sprintf("more source addresses, server addresses or server ports; or sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\" (%d ports)", 65535-1024+1)
		return limit
	})
}

// network: what the kernel keeps of connections beside the sockets.
func (c *calculation) network() []Limit {
	rows := tightest(c.namespaces(), c.conntrack)
	rows = append(rows, tightest(c.kernels(), c.tcpMemory)...)
	rows = append(rows, tightest(c.kernels(), func(p place) Limit {
		most := p.sysctl("net.ipv4.tcp_max_orphans")
		limit := p.limit("closed but not yet finished", KindClose, "net.ipv4.tcp_max_orphans", most)
		if most != nil {
			limit.Raise = fmt.Sprintf("sysctl -w net.ipv4.tcp_max_orphans=%d", raised(*most, c.need(p)))
			limit.allow(p, *most, "sockets without a process; beyond it they are reset, which frees them sooner")
		}
		return limit
	})...)
	rows = append(rows, tightest(c.holders(), func(p place) Limit {
		most := p.sysctl("net.ipv4.tcp_max_tw_buckets")
		limit := p.limit("TIME_WAIT", KindClose, "net.ipv4.tcp_max_tw_buckets", most)
		if most != nil {
			limit.Raise = fmt.Sprintf("sysctl -w net.ipv4.tcp_max_tw_buckets=%d", raised(*most, c.need(p)))
			limit.allow(p, *most, "sockets after their end; beyond it they skip TIME_WAIT")
		}
		return limit
	})...)
	return append(rows, c.queues()...)
}

// conntrack: one entry a connection in each network namespace that it passes and
// that tracks (nf_conntrack-sysctl.rst).
func (c *calculation) conntrack(p place) Limit {
	most := p.sysctl("net.netfilter.nf_conntrack_max")
	limit := p.limit("tracked connections", KindOpen, "net.netfilter.nf_conntrack_max", most)
	limit.Reason = cause.Conntrack.Reason
	state := p.Host.Limits[probe.LimitConntrack]
	switch {
	case state == probe.ConntrackInactive:
		limit.How = "no firewall rule here tracks connections"
	case state != probe.ConntrackActive && most == nil:
		limit.How = "this kernel does not track connections"
	case most != nil:
		used := value(p.System.Conntrack)
		limit.allow(p, *most-used, fmt.Sprintf("%d − %d in use", *most, used))
		limit.Raise = fmt.Sprintf("sysctl -w net.netfilter.nf_conntrack_max=%d; or a rule that exempts the server's ports (NOTRACK)",
			raised(*most, c.need(p)+used))
	}
	return limit
}

// tcpMemory: data that waits in a socket, and also a FIN that was not read yet,
// is charged with at least a page (sk_mem_schedule in the kernel's
// net/core/sock.c). Idle sockets are charged nothing.
func (c *calculation) tcpMemory(p place) Limit {
	most := p.sysctlField("net.ipv4.tcp_mem", 2)
	limit := p.limit("memory of TCP buffers", KindLoad, "net.ipv4.tcp_mem", most)
	limit.Reason = cause.Memory.Reason
	if most != nil {
		limit.Value = p.Host.Sysctls["net.ipv4.tcp_mem"]
		limit.allow(p, *most, fmt.Sprintf("%d pages, one for each connection with unread data or an unread end; idle ones take none", *most))
		to := raised(*most, c.need(p))
		limit.Raise = fmt.Sprintf("sysctl -w net.ipv4.tcp_mem=\"%d %d %d\"", to/2, to/4*3, to)
	}
	return limit
}

// queues: what waits to be accepted (listen(2), tcp(7)).
func (c *calculation) queues() []Limit {
	p := c.atServer(sideServer, 1)
	somaxconn := p.sysctl("net.core.somaxconn")
	accept := p.limit("accept queue", KindRate, "listen(2) backlog, net.core.somaxconn", somaxconn)
	if somaxconn != nil {
		backlog := int64(c.Backlog)
		accept.Value = fmt.Sprintf("min(%d, %d)", backlog, *somaxconn)
		accept.How = fmt.Sprintf("bounds the rate, not the number: at most %d a listener wait to be accepted", min(backlog, *somaxconn))
		accept.Raise = fmt.Sprintf("backlog in the plan's [server], and sysctl -w net.core.somaxconn=%d", max(backlog, 2**somaxconn))
	}
	half := p.sysctl("net.ipv4.tcp_max_syn_backlog")
	syn := p.limit("SYN queue", KindRate, "net.ipv4.tcp_max_syn_backlog", half)
	if half != nil {
		syn.How = "bounds the rate, not the number: handshakes under way, before SYN cookies take over"
		syn.Raise = fmt.Sprintf("sysctl -w net.ipv4.tcp_max_syn_backlog=%d", 2**half)
	}
	return []Limit{accept, syn}
}

// memory: the host's, and that of the control group that the programs are in.
func (c *calculation) memory() []Limit {
	rows := tightest(c.kernels(), func(p place) Limit {
		available := p.System.Memory.Available
		limit := p.limit("memory", KindOpen, "MemAvailable in /proc/meminfo", available)
		limit.Reason = cause.MemoryReserve.Reason
		limit.Raise = "a host with more memory, or a smaller memory_reserve_bytes in the plan"
		if available != nil {
			limit.allowMemory(p, *available-c.ReserveBytes, fmt.Sprintf("(%d − %d in reserve)", *available, c.ReserveBytes),
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
func (c *calculation) groupMemory(p place) Limit {
	group := p.System.Groups.Memory
	limit := p.limit("memory of the control group", KindOpen, "control group", number(p.Host.Limits[probe.LimitCgroupMemory]))
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
	limit.allowMemory(p, group.Left()-reserve, fmt.Sprintf("(%d − %d in use − %d in reserve)", group.Limit, group.Used, reserve),
		"unknown until a connection's memory was measured; the ramp stops at the reserve")
	limit.Raise = "a larger number in " + group.Folder + "/memory.max (version 1: memory.limit_in_bytes)"
	return limit
}

// allowMemory divides free bytes by those of a connection.
func (l *Limit) allowMemory(p place, free int64, how, unmeasured string) {
	if p.bytes == nil || *p.bytes <= 0 {
		l.How = unmeasured
		return
	}
	l.allow(p, int64(float64(free) / *p.bytes), fmt.Sprintf("%s ÷ %.0f bytes a connection", how, *p.bytes))
}

// tasks: epoll's watches, threads and mappings.
func (c *calculation) tasks() []Limit {
	rows := tightest(c.kernels(), func(p place) Limit {
		watches := p.sysctl("fs.epoll.max_user_watches")
		limit := p.limit("epoll watches of a user", KindOpen, "fs.epoll.max_user_watches", watches)
		limit.Reason = cause.EpollWatches.Reason
		if watches != nil {
			limit.allow(p, *watches/p.sockets, fmt.Sprintf("%d, one for each socket%s", *watches, p.perSocket()))
			limit.Raise = fmt.Sprintf("sysctl -w fs.epoll.max_user_watches=%d", raised(*watches, times(c.need(p), p.sockets)))
		}
		return limit
	})
	p := c.atServer(sideServer, 1)
	used := value(p.System.Tasks)
	rows = append(rows,
		c.threads(p, "threads of the host", "kernel.threads-max", p.sysctl("kernel.threads-max"), used, "sysctl -w kernel.threads-max=%d"),
		c.threads(p, "process numbers", "kernel.pid_max", p.sysctl("kernel.pid_max"), used, "sysctl -w kernel.pid_max=%d"))
	if p.Host.Limits[probe.LimitAdmin] != "yes" { // whom it does not bind (getrlimit(2))
		rows = append(rows, c.threads(p, "threads of a user", "RLIMIT_NPROC", number(p.Host.Limits[probe.LimitNProc]), used, "ulimit -u %d"))
	}
	if group := p.System.Groups.Tasks; group != nil {
		rows = append(rows, c.threads(p, "threads of the control group", group.Folder+"/pids.max", &group.Limit, group.Used, "echo %d >"+group.Folder+"/pids.max"))
	}
	return append(rows, c.mappings(p))
}

func (c *calculation) threads(p place, name, where string, most *int64, used int64, raise string) Limit {
	limit := p.limit(name, KindOpen, where, most)
	if most == nil {
		return limit
	}
	if c.ThreadsPerConnection == 0 {
		limit.How = "this model has no thread for each connection"
	} else {
		limit.allow(p, int64(float64(*most-used)/c.ThreadsPerConnection),
			fmt.Sprintf("(%s − %d in use) ÷ %.2g threads a connection", show(most), used, c.ThreadsPerConnection))
	}
	limit.Raise = fmt.Sprintf(raise, raised(*most, int64(float64(c.want)*c.ThreadsPerConnection)+used))
	return limit
}

// mappings: a thread's stack is one, and so is the guard page below it
// (pthread_attr_setguardsize(3)).
func (c *calculation) mappings(p place) Limit {
	const perThread = 2
	most := p.sysctl("vm.max_map_count")
	limit := p.limit("mappings of a process", KindOpen, "vm.max_map_count", most)
	limit.ofServers = true
	if most == nil {
		return limit
	}
	each := perThread * c.ThreadsPerConnection
	if each == 0 {
		limit.How = "this model has no mapping for each connection"
	} else {
		limit.allowEach(p, int64(float64(*most)/each), fmt.Sprintf("%d ÷ %.2g mappings a connection", *most, each))
	}
	limit.Raise = fmt.Sprintf("sysctl -w vm.max_map_count=%d", raised(*most, int64(float64(c.needEach(p))*each)))
	return limit
}

// library: what the variant's description says.
func (c *calculation) library() []Limit {
	p := c.atServer(sideServer, 1)
	most := int64(c.LibraryCap)
	limit := p.limit("connections of the library", KindOpen, "max_connections_per_process in variant.toml", &most)
	limit.Reason = cause.LibraryCap.Reason
	if most == 0 {
		limit.Value, limit.How = "", "the variant states none"
		return []Limit{limit}
	}
	limit.ofServers = true
	limit.allowEach(p, most, fmt.Sprintf("%d by the library's own setting", most))
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
