package limits

import (
	"fmt"

	"connbench/harness/cause"
)

// Row is one limit: what it is called, what sets it and what it bounds, the cause by
// which a ramp ends there, the scopes where it holds, and how it is found in each.
type Row struct {
	Name  string
	Where string
	Kind  Kind
	// Cause is nil where no ramp ends by this limit alone.
	Cause *cause.Cause
	// OfServers is true for limits of each server process.
	OfServers bool
	Scopes    func(s *Setup) []Scope
	// Is returns what the limit is set to, nil where that is not known. Where it is,
	// Find tells what it allows, by [Limit.Allow] or [Limit.AllowEach], and how it is
	// raised.
	Is   func(s *Setup, at Scope) *int64
	Find func(s *Setup, at Scope, is int64, l *Limit)
}

// find is the row in one scope.
func (r Row) find(s *Setup, at Scope) Limit {
	is := r.Is(s, at)
	limit := Limit{
		Name: r.Name, Kind: r.Kind, Side: at.side, Host: at.Name, Where: r.Where, Value: show(is), ofServers: r.OfServers,
	}
	if r.Cause != nil {
		limit.Reason = r.Cause.Reason
	}
	if is == nil {
		limit.How = "not readable here; the warnings about this host say why"
		return limit
	}
	r.Find(s, at, *is, &limit)
	if limit.Raise == "" && r.Cause != nil {
		limit.Raise = r.Cause.Advice
	}
	return limit
}

// ofSysctl reads a setting of one number.
func ofSysctl(name string) func(*Setup, Scope) *int64 {
	return func(_ *Setup, at Scope) *int64 { return at.sysctl(name) }
}

// A process needs descriptors for other things than connections: standard input
// and output, listeners, the runtime's poller, a file being read or written. The
// servers take 8 to 15 with two loops; those with an epoll instance and an event
// descriptor for each loop take two more for each further one.
const (
	processDescriptors = 16
	loopDescriptors    = 2
)

// ownDescriptors is what a process needs besides connections.
func (s *Setup) ownDescriptors() int64 {
	return int64(processDescriptors + loopDescriptors*max(1, s.Loops))
}

// Rows are the limits, in the order of a connection's way: descriptors, addresses and
// ports, network, memory, processes, library.
var Rows = []Row{
	// Each socket is a descriptor, of its process and of its kernel (getrlimit(2),
	// proc_sys_fs(5)).
	openFiles(cause.ServerDescriptors, true, (*Setup).Servers),
	mostOpenFiles(cause.ServerDescriptors, true, (*Setup).Servers),
	openFiles(cause.ClientDescriptors, false, (*Setup).Swarms),
	mostOpenFiles(cause.ClientDescriptors, false, (*Setup).Swarms),
	{
		Name: "open files of the host", Where: "fs.file-max", Kind: KindOpen, Cause: cause.HostDescriptors,
		Scopes: (*Setup).Sockets, Is: ofSysctl("fs.file-max"),
		Find: func(s *Setup, at Scope, is int64, l *Limit) {
			used := value(at.UsedFiles)
			l.Raise = fmt.Sprintf("sysctl -w fs.file-max=%d", raised(is, times(s.need(at), at.sockets)+used))
			if at.Admin { // alloc_empty_file in the kernel's fs/file_table.c
				l.How = "does not hold for processes with CAP_SYS_ADMIN, such as these"
				return
			}
			l.Allow(at, (is-used)/at.sockets, fmt.Sprintf("(%d − %d in use)%s", is, used, at.perSocket()))
		},
	},

	// Both addresses and both ports identify a connection (RFC 9293
	// section 3.3.1), so that a client's address has each of its ports once for each
	// address and port of the server.
	{
		Name: "source ports", Where: portRange, Kind: KindOpen, Cause: cause.ClientPorts, OfServers: true,
		Scopes: (*Setup).Sources,
		Is:     func(_ *Setup, at Scope) *int64 { return at.client.portsKnown() },
		Find:   sourcePorts,
	},

	// What the kernel keeps of connections besides the sockets.
	{
		// One entry a connection in each network namespace that it passes and that tracks
		// (nf_conntrack-sysctl.rst).
		Name: "tracked connections", Where: "net.netfilter.nf_conntrack_max", Kind: KindOpen, Cause: cause.Conntrack,
		Scopes: (*Setup).Namespaces,
		Is: func(_ *Setup, at Scope) *int64 {
			most := at.sysctl("net.netfilter.nf_conntrack_max")
			if most == nil && (at.Tracks == nil || !*at.Tracks) {
				return new(int64(Unlimited))
			}
			return most
		},
		Find: func(s *Setup, at Scope, is int64, l *Limit) {
			if is == Unlimited {
				l.Value = ""
			}
			switch {
			case at.Tracks != nil && !*at.Tracks:
				l.How = "no firewall rule here tracks connections"
			case is == Unlimited:
				l.How = "this kernel does not track connections"
			default:
				used := value(at.UsedConnections)
				l.Allow(at, is-used, fmt.Sprintf("%d − %d in use", is, used))
				l.Raise = fmt.Sprintf("sysctl -w net.netfilter.nf_conntrack_max=%d", raised(is, s.need(at)+used))
			}
		},
	},
	{
		// Data that waits in a socket, and also a FIN that was not read yet, is charged
		// with at least a page (sk_mem_schedule in the kernel's net/core/sock.c). Idle
		// sockets are charged nothing.
		Name: "memory of TCP buffers", Where: "net.ipv4.tcp_mem", Kind: KindLoad, Cause: cause.Memory,
		Scopes: (*Setup).Sockets,
		Is:     func(_ *Setup, at Scope) *int64 { return at.sysctlField("net.ipv4.tcp_mem", 2) },
		Find: func(s *Setup, at Scope, is int64, l *Limit) {
			l.Value = at.Sysctls["net.ipv4.tcp_mem"]
			l.Allow(at, is, fmt.Sprintf("%d pages, one for each connection with unread data or an unread end; idle ones take none", is))
			to := raised(is, s.need(at))
			l.Raise = fmt.Sprintf("sysctl -w net.ipv4.tcp_mem=\"%d %d %d\"", to/2, to/4*3, to)
		},
	},
	closing("closed but not yet finished", "net.ipv4.tcp_max_orphans", (*Setup).Sockets,
		"sockets without a process; beyond it they are reset, which frees them sooner"),
	closing("TIME_WAIT", "net.ipv4.tcp_max_tw_buckets", (*Setup).Closers,
		"sockets after their end; beyond it they skip TIME_WAIT"),
	{
		// What waits to be accepted (listen(2), tcp(7)).
		Name: "accept queue", Where: "listen(2) backlog, net.core.somaxconn", Kind: KindRate, Cause: cause.AcceptQueue,
		Scopes: (*Setup).Listener, Is: ofSysctl("net.core.somaxconn"),
		Find: func(s *Setup, _ Scope, is int64, l *Limit) {
			backlog := int64(s.Backlog)
			if s.Running != nil {
				backlog = s.Running.Backlog
			}
			l.Value = fmt.Sprintf("min(%d, %d)", backlog, is)
			l.How = fmt.Sprintf("limits the rate, not the number: at most %d connections per listener wait to be accepted", min(backlog, is))
			if s.Running != nil {
				l.Raise = fmt.Sprintf("the backlog that the server passes to listen(2), and sysctl -w net.core.somaxconn=%d", max(backlog, 2*is))
				return
			}
			l.Raise = fmt.Sprintf("backlog in the plan's [server], and sysctl -w net.core.somaxconn=%d", max(backlog, 2*is))
		},
	},
	{
		Name: "SYN queue", Where: "net.ipv4.tcp_max_syn_backlog", Kind: KindRate,
		Scopes: (*Setup).Listener, Is: ofSysctl("net.ipv4.tcp_max_syn_backlog"),
		Find: func(_ *Setup, _ Scope, is int64, l *Limit) {
			l.How = "limits the rate, not the number: handshakes under way, before SYN cookies take over"
			l.Raise = fmt.Sprintf("sysctl -w net.ipv4.tcp_max_syn_backlog=%d", 2*is)
		},
	},

	{
		Name: "memory", Where: "MemAvailable in /proc/meminfo", Kind: KindOpen, Cause: cause.MemoryReserve,
		Scopes: (*Setup).Kernels,
		Is:     func(_ *Setup, at Scope) *int64 { return at.AvailableBytes },
		Find: func(s *Setup, at Scope, is int64, l *Limit) {
			l.allowMemory(at, is-s.ReserveBytes, fmt.Sprintf("(%d − %d in reserve)", is, s.ReserveBytes))
		},
	},
	{
		// The control group that leaves least. Without a reserve the kernel kills what goes
		// beyond its limit.
		Name: "memory of the control group", Where: "control group", Kind: KindOpen, Cause: cause.MemoryReserve,
		Scopes: (*Setup).Kernels,
		Is:     func(_ *Setup, at Scope) *int64 { return at.MemoryGroup.limit() },
		Find: func(s *Setup, at Scope, is int64, l *Limit) {
			if is == Unlimited {
				l.How = "no group here has a limit"
				return
			}
			group := at.MemoryGroup
			if s.ReserveBytes == 0 {
				l.Reason = cause.Memory.Reason
			}
			l.Where = "control group " + group.Folder
			at.here = 1 // each host has its own
			l.allowMemory(at, is-group.Used-group.Reserve, fmt.Sprintf("(%d − %d in use − %d in reserve)", is, group.Used, group.Reserve))
			l.Raise = "a larger number in " + group.Folder + "/memory.max (version 1: memory.limit_in_bytes)"
		},
	},

	{
		Name: "epoll watches of a user", Where: "fs.epoll.max_user_watches", Kind: KindOpen, Cause: cause.EpollWatches,
		Scopes: (*Setup).Sockets, Is: ofSysctl("fs.epoll.max_user_watches"),
		Find: func(s *Setup, at Scope, is int64, l *Limit) {
			l.Allow(at, is/at.sockets, fmt.Sprintf("%d, one for each socket%s", is, at.perSocket()))
			l.Raise = fmt.Sprintf("sysctl -w fs.epoll.max_user_watches=%d", raised(is, times(s.need(at), at.sockets)))
		},
	},
	threads("threads of the host", "kernel.threads-max", (*Setup).Host, ofSysctl("kernel.threads-max")),
	threads("process numbers", "kernel.pid_max", (*Setup).Host, ofSysctl("kernel.pid_max")),
	threads("threads of a user", "RLIMIT_NPROC", func(s *Setup) []Scope {
		if s.server.Admin { // whom it does not bind (getrlimit(2))
			return nil
		}
		return s.Host()
	}, func(_ *Setup, at Scope) *int64 { return at.Facts.Processes }),
	threads("threads of the control group", "pids.max", func(s *Setup) []Scope {
		if group := s.server.TaskGroup; group == nil || group.Limit == Unlimited {
			return nil
		}
		return s.Host()
	}, func(_ *Setup, at Scope) *int64 { return at.TaskGroup.limit() }),
	{
		// A thread's stack is one, and so is the guard page below it
		// (pthread_attr_setguardsize(3)).
		Name: "mappings of a process", Where: "vm.max_map_count", Kind: KindOpen, OfServers: true,
		Scopes: (*Setup).Host, Is: ofSysctl("vm.max_map_count"),
		Find: func(s *Setup, at Scope, is int64, l *Limit) {
			const perThread = 2
			l.Raise = fmt.Sprintf("sysctl -w vm.max_map_count=%d", raised(is, int64(float64(s.needEach(at))*perThread*s.threadsEach())))
			if s.Threads == nil {
				l.How = "unknown until the threads of a connection were measured"
				return
			}
			each := perThread * s.threadsEach()
			if each == 0 {
				l.How = "this model has no mapping for each connection"
				return
			}
			l.AllowEach(at, int64(float64(is)/each), fmt.Sprintf("%d ÷ %.2g mappings a connection", is, each))
		},
	},

	{
		Name: "connections of the library", Where: "max_connections_per_process in variant.toml", Kind: KindOpen, Cause: cause.LibraryCap, OfServers: true,
		Scopes: (*Setup).Host,
		Is:     func(s *Setup, _ Scope) *int64 { return new(int64(s.LibraryCap)) },
		Find: func(_ *Setup, at Scope, is int64, l *Limit) {
			if is == 0 {
				l.Value, l.How = "", "the variant states none"
				return
			}
			l.AllowEach(at, is, fmt.Sprintf("%d by the library's own setting", is))
		},
	},
}

// openFiles is the limit of a process, mostOpenFiles the one beyond which that cannot be
// raised.
func openFiles(c *cause.Cause, ofServers bool, scopes func(*Setup) []Scope) Row {
	return Row{
		Name: "open files of a process", Where: "RLIMIT_NOFILE", Kind: KindOpen, Cause: c, OfServers: ofServers,
		Scopes: scopes,
		Is:     func(_ *Setup, at Scope) *int64 { return at.Facts.OpenFiles },
		Find: func(s *Setup, at Scope, is int64, l *Limit) {
			if r := s.Running; ofServers && r != nil {
				if hard := show(&r.HardOpenFiles); hard != l.Value {
					l.Value += fmt.Sprintf(" (hard: %s)", hard)
				}
				l.Raise = r.raise(s.allowFiles(at, is, ofServers, l))
				return
			}
			if soft := show(at.SoftOpenFiles); soft != l.Value {
				l.Value += fmt.Sprintf(" (soft: %s, which Go programs raise)", soft)
			}
			to := s.allowFiles(at, is, ofServers, l)
			user := "*"
			if at.Admin { // to whom a line of limits.conf(5) for * does not apply
				user = "root"
			}
			l.Raise = fmt.Sprintf("ulimit -Hn %[1]d as root, in the shell that starts connbench; for good: \"%[2]s - nofile %[1]d\" in /etc/security/limits.conf, or LimitNOFILE=%[1]d in the unit of a service", to, user)
		},
	}
}

func mostOpenFiles(c *cause.Cause, ofServers bool, scopes func(*Setup) []Scope) Row {
	return Row{
		Name: "highest RLIMIT_NOFILE", Where: "fs.nr_open", Kind: KindOpen, Cause: c, OfServers: ofServers,
		Scopes: scopes, Is: ofSysctl("fs.nr_open"),
		Find: func(s *Setup, at Scope, is int64, l *Limit) {
			l.Raise = fmt.Sprintf("sysctl -w fs.nr_open=%d", s.allowFiles(at, is, ofServers, l))
		},
	}
}

// allowFiles tells what a limit of a process's descriptors allows, and returns what it
// is to be raised to.
func (s *Setup) allowFiles(at Scope, is int64, ofServers bool, l *Limit) (to int64) {
	own := s.ownDescriptors()
	if s.Running != nil && ofServers {
		own = s.Running.Descriptors
		l.AllowEach(at, is-own, fmt.Sprintf("%s − %d in use by process %d", show(&is), own, s.Running.PID))
		return raised(is, s.needEach(at)+own)
	}
	l.AllowEach(at, is-own, fmt.Sprintf("%s − %d for the process's own", show(&is), own))
	return raised(is, s.needEach(at)+own)
}

// closing is a limit of connections on their way out.
func closing(name, sysctl string, scopes func(*Setup) []Scope, how string) Row {
	return Row{
		Name: name, Where: sysctl, Kind: KindClose, Scopes: scopes, Is: ofSysctl(sysctl),
		Find: func(s *Setup, at Scope, is int64, l *Limit) {
			l.Allow(at, is, how)
			l.Raise = fmt.Sprintf("sysctl -w %s=%d", sysctl, raised(is, s.need(at)))
		},
	}
}

// threads is a limit of threads, by what was measured of the variant.
func threads(name, where string, scopes func(*Setup) []Scope, is func(*Setup, Scope) *int64) Row {
	return Row{
		Name: name, Where: where, Kind: KindOpen, Scopes: scopes, Is: is,
		Find: func(s *Setup, at Scope, is int64, l *Limit) {
			used, command := value(at.UsedTasks), "sysctl -w "+where+"=%d"
			switch where {
			case "RLIMIT_NPROC":
				command = "ulimit -u %d"
			case "pids.max":
				used, l.Where = at.TaskGroup.Used, at.TaskGroup.Folder+"/pids.max"
				command = "echo %d >" + l.Where
			}
			l.Raise = fmt.Sprintf(command, raised(is, int64(float64(s.want)*s.threadsEach())+used))
			switch {
			case s.Threads == nil:
				l.How = "unknown until the threads of a connection were measured"
			case s.threadsEach() == 0:
				l.How = "this model needs no thread per connection"
			default:
				l.Allow(at, int64(float64(is-used)/s.threadsEach()),
					fmt.Sprintf("(%s − %d in use) ÷ %.2g threads a connection", show(&is), used, s.threadsEach()))
			}
		},
	}
}

// threadsEach is the number of threads of a connection; 0 where that is next to none.
func (s *Setup) threadsEach() float64 {
	if s.Threads == nil || *s.Threads < fewThreads {
		return 0
	}
	return *s.Threads
}

// fewThreads for each connection are those of the runtime, not of the model.
const fewThreads = 0.01

// allowMemory divides free bytes by those of a connection.
func (l *Limit) allowMemory(at Scope, free int64, how string) {
	if at.bytes == nil || *at.bytes <= 0 {
		l.How = "unknown until a connection's memory was measured; the ramp stops at the reserve"
		return
	}
	l.Allow(at, int64(float64(free) / *at.bytes), fmt.Sprintf("%s ÷ %.0f bytes a connection", how, *at.bytes))
}

// limit is nil where nothing is known of a group.
func (g *Group) limit() *int64 {
	if g == nil {
		return nil
	}
	return &g.Limit
}
