package cause

import (
	"fmt"
	"slices"

	"connbench/clients/control"
)

// unanswered are the failures of connects and requests that not even the server's
// kernel has acknowledged. It acknowledges what a silent server does not answer, so
// only these can have been lost on the way or before a full queue.
var unanswered = slices.Concat(
	on(control.PhaseConnect, control.Timeout, "ETIMEDOUT"),
	on(control.PhaseHandshake, control.Unacknowledged, "ETIMEDOUT"),
	on(control.PhaseOpen, "ETIMEDOUT"),
	on(control.PhaseSend, "ETIMEDOUT"),
)

// timeouts are those, and the requests that a server has and does not answer.
var timeouts = slices.Concat(unanswered, on(control.PhaseHandshake, control.Timeout))

// refusals are the failures of a server that ends connections.
var refusals = slices.Concat(
	on(control.PhaseConnect, control.Closed, "ECONNABORTED", "ECONNRESET", "EPIPE"),
	on(control.PhaseHandshake, control.Rejected, control.Closed, "ECONNABORTED", "ECONNRESET", "EPIPE"),
	on(control.PhaseOpen, control.Rejected, control.Closed, "ECONNABORTED", "ECONNRESET", "EPIPE"),
	on(control.PhaseSend, "ECONNABORTED", "ECONNRESET", "EPIPE"),
)

// The causes, in the order in which they are asked: root causes first. What an entry
// refers to stands above it, since Go initializes that before, and changes the order.
var (
	Interrupted = add(Cause{
		Reason:  "interrupted",
		Meaning: "Ctrl-C, a signal, or the end of the plan's time",
		Says: func(_ *Cause, f *Facts) string {
			if !f.Interrupted {
				return ""
			}
			return "interrupted"
		},
	})
	HostLost = add(Cause{
		Reason:  "host lost",
		Meaning: "a host of the lab cannot be reached any more",
		Facts:   "how the agent there was lost",
		Says:    func(_ *Cause, f *Facts) string { return f.HostLost },
		Advice:  "check that the host is up, and that its network and agent survive the load",
	})
	Budget = add(Cause{
		Reason:  "memory budget",
		Meaning: "the memory that the plan allows is spent",
		Facts:   "what server and kernel took",
		Says: func(_ *Cause, f *Facts) string {
			if f.Ramp == nil || f.Ramp.SpentBytes == nil {
				return ""
			}
			return fmt.Sprintf("server and kernel take %d bytes, of a budget of %d", *f.Ramp.SpentBytes, f.Ramp.BudgetBytes)
		},
	})
	Target = add(Cause{
		Reason:  "target",
		Meaning: "every connection asked for is open",
		Facts:   "their number",
		Says: func(_ *Cause, f *Facts) string {
			if f.Ramp == nil || f.Ramp.Open < f.Ramp.Target {
				return ""
			}
			return fmt.Sprintf("all %d connections are open", f.Ramp.Target)
		},
	})
	MemoryReserve = add(Cause{
		Reason:  "memory reserve",
		Meaning: "the harness stopped the ramp to keep the host alive",
		Facts:   "MemAvailable, less the slab that the connections brought, or what a control group may still use",
		Says: func(_ *Cause, f *Facts) string {
			if f.Ramp == nil || f.Ramp.Shortage == nil {
				return ""
			}
			memory, short := "MemAvailable, less the slab of the connections,", f.Ramp.Shortage
			if short.Group != "" {
				memory = "what control group " + short.Group + " may still use"
			}
			return fmt.Sprintf("%s fell to %d bytes, below the reserve of %d", memory, short.AvailableBytes, short.ReserveBytes)
		},
		Advice: "a host with more memory, or a smaller memory_reserve_bytes in the plan",
		Memory: true,
	})
	ServerDescriptors = add(Cause{
		Reason:  "server descriptors",
		Meaning: "RLIMIT_NOFILE of the server's processes is used up",
		Facts:   "the descriptors that they hold",
		Says: func(_ *Cause, f *Facts) string {
			if f.Ramp == nil || f.Ramp.Descriptors == nil || f.Ramp.DescriptorLimit == 0 ||
				*f.Ramp.Descriptors < f.Ramp.DescriptorLimit-descriptorSlack {
				return ""
			}
			return fmt.Sprintf("the server holds %d descriptors, RLIMIT_NOFILE allows %d", *f.Ramp.Descriptors, f.Ramp.DescriptorLimit)
		},
		Advice: "raise the limit, or start more server processes",
	})
	LibraryCap = add(Cause{
		Reason:  "library cap",
		Meaning: "the `max_connections_per_process` of the variant's variant.toml is reached",
		Facts:   "the number of connections",
		Says: func(_ *Cause, f *Facts) string {
			if f.Ramp == nil || f.Ramp.LibraryLimit == 0 || f.Ramp.Open < f.Ramp.LibraryLimit {
				return ""
			}
			return fmt.Sprintf("the server holds %d connections, its library allows %d", f.Ramp.Open, f.Ramp.LibraryLimit)
		},
		Advice: "raise the library's setting in the variant's program and the number in its variant.toml, or start more server processes",
	})
	ClientDescriptors = add(Cause{
		Reason:   "client descriptors",
		Meaning:  "RLIMIT_NOFILE of the swarm's processes is used up",
		Failures: on(control.PhaseSocket, "EMFILE"),
		Says:     seen("the swarm's RLIMIT_NOFILE is used up at %d connections"),
		Advice:   "raise the limit, or leave client.processes at 0, which starts as many processes as needed",
	})
	HostDescriptors = add(Cause{
		Reason:   "host descriptors",
		Meaning:  "`fs.file-max` of the client host is used up",
		Failures: on(control.PhaseSocket, "ENFILE"),
		Says:     seen("fs.file-max is used up at %d connections"),
		Advice:   "scripts/tune.sh apply raises it",
		Tuned:    true,
	})
	EpollWatches = add(Cause{
		Reason:   "epoll watches",
		Meaning:  "`fs.epoll.max_user_watches` is used up",
		Failures: on(control.PhaseSocket, "ENOSPC"), // of epoll_ctl(2)
		Says:     seen("fs.epoll.max_user_watches is used up at %d connections"),
		Advice:   "scripts/tune.sh apply raises it",
		Tuned:    true,
	})
	ClientPorts = add(Cause{
		Reason:   "client ports",
		Meaning:  "no source port is left to any target",
		Failures: slices.Concat(on(control.PhaseBind, "EADDRNOTAVAIL", "EADDRINUSE"), on(control.PhaseConnect, "EADDRNOTAVAIL")),
		Says: func(c *Cause, f *Facts) string {
			if !f.stopped(control.StoppedByClient) { // some ports may be somebody else's
				return ""
			}
			return seen("no source address has a port left, at %d connections")(c, f)
		},
		Advice: "more source addresses, server addresses or server ports, or a wider net.ipv4.ip_local_port_range",
	})
	Memory = add(Cause{
		Reason:  "memory",
		Meaning: "the kernel or a control group ran out of memory",
		Failures: slices.Concat(on(control.PhaseSocket, "ENOMEM", "ENOBUFS"), on(control.PhaseConnect, "ENOMEM", "ENOBUFS"),
			on(control.PhaseHandshake, "ENOMEM", "ENOBUFS"), on(control.PhaseOpen, "ENOMEM", "ENOBUFS"), on(control.PhaseSend, "ENOMEM", "ENOBUFS")),
		Counters: []string{"oom_kill", "TCPAbortOnMemory"},
		Says:     ofMemory,
		Advice:   "a host or a control group with more memory; for TCPAbortOnMemory a larger net.ipv4.tcp_mem",
		Memory:   true,
	})
	ServerDied = add(Cause{
		Reason:  "server died",
		Meaning: "a process of the server ended",
		Facts:   "its exit status and last words",
		Says:    func(_ *Cause, f *Facts) string { return f.ServerEnded },
		Advice:  "what the server wrote to standard error says more",
	})
	ClientDied = add(Cause{
		Reason:  "client died",
		Meaning: "a process of the swarm ended",
		Facts:   "its exit status and last words",
		Says:    func(_ *Cause, f *Facts) string { return f.ClientEnded },
		Advice:  "what the swarm wrote to standard error says more",
	})
	ProcessLimit = add(Cause{
		Reason:  "process limit",
		Meaning: "a host refused to start a process",
		Facts:   "the error of fork(2) or clone(2)",
		Says:    func(_ *Cause, f *Facts) string { return f.StartRefused },
		Advice:  "a higher RLIMIT_NPROC, pids.max of the control group, kernel.threads-max or kernel.pid_max",
	})
	ContractBroken = add(Cause{
		Reason:  "contract broken",
		Meaning: "the server did not keep the contract of servers/README.md",
		Facts:   "its answer, or that it gave none",
		Says:    func(_ *Cause, f *Facts) string { return f.ContractBroken },
		Advice:  "run connbench conform NAME: it prints the checks that fail",
	})
	TLSRefused = add(Cause{
		Reason:   "TLS refused",
		Meaning:  "the TLS handshake failed: no TLS 1.3, an unexpected certificate, or an alert",
		Failures: on(control.PhaseHandshake, control.NoTLS, control.BadCertificate, control.Alert),
		Says:     seen("the TLS handshake failed, at %d connections"),
		Advice:   "see whether the server speaks TLS 1.3 on this port, and whose certificate it shows",
	})
	CompressionRefused = add(Cause{
		Reason:   "compression refused",
		Meaning:  "the server did not agree to the compression that was asked for",
		Failures: on(control.PhaseHandshake, control.NoCompression),
		Says:     seen("the server did not agree to the compression that was asked for, at %d connections"),
		Advice:   "compare the server's Sec-WebSocket-Extensions header with compression in its variant.toml",
	})
	ProtocolBroken = add(Cause{
		Reason:  "protocol broken",
		Meaning: "the server sent what neither TLS nor HTTP nor WebSocket allows, or data that nobody asked for",
		Failures: slices.Concat(on(control.PhaseHandshake, control.BadAnswer, control.BadAccept, control.BadRecord), on(control.PhaseOpen, control.BadFrame, control.BadRecord, control.Alert),
			on(control.PhaseEcho, control.Mismatch)),
		Says: func(c *Cause, f *Facts) string {
			if !f.mostly(c.Failures) {
				return ""
			}
			return fmt.Sprintf("the server broke the protocol %d times, at %d connections", f.Failures(c.Failures), f.open())
		},
		Advice:      "run connbench conform NAME: it prints the checks that fail",
		Invalidates: true,
	})
	Refused = add(Cause{
		Reason:   "refused",
		Meaning:  "nothing listens on the server's address any more",
		Failures: on(control.PhaseConnect, "ECONNREFUSED"),
		Says:     seen("nothing accepts on the server's address any more, at %d connections"),
		Advice:   "see why the server closed its listener",
	})
	Unreachable = add(Cause{
		Reason:  "unreachable",
		Meaning: "a route, a firewall or a security policy does not let connections through",
		Failures: slices.Concat(on(control.PhaseConnect, "EACCES", "EHOSTDOWN", "EHOSTUNREACH", "EINVAL", "EMSGSIZE", "ENETDOWN", "ENETUNREACH",
			"ENONET", "ENOPROTOOPT", "ENOTSUP", "EPERM", "EPROTO"),
			on(control.PhaseHandshake, "EHOSTUNREACH", "ENETUNREACH"), on(control.PhaseOpen, "EHOSTUNREACH", "ENETUNREACH"),
			on(control.PhaseSend, "EHOSTUNREACH", "ENETUNREACH")),
		Says: func(c *Cause, f *Facts) string {
			if !f.mostly(c.Failures) {
				return ""
			}
			return fmt.Sprintf("the network reports the server as unreachable, at %d connections", f.open())
		},
		Advice: "check the routes, neighbour tables and firewalls between the hosts",
	})
	Conntrack = add(Cause{
		Reason:   "tracked connections",
		Meaning:  "`nf_conntrack_max` of a network namespace on the way is used up",
		Failures: unanswered,
		Counters: []string{"conntrack_drop"},
		Says:     accounted("nf_conntrack_max is used up on the way (conntrack_drop %+d), at %d connections"),
		Advice:   "raise net.netfilter.nf_conntrack_max, or add a rule that exempts the server's ports (NOTRACK)",
	})
	AcceptQueue = add(Cause{
		Reason:   "accept queue",
		Meaning:  "the server accepts no more, or too slowly",
		Failures: unanswered,
		Counters: []string{"ListenOverflows"},
		Says:     accounted("the server does not accept: its queue was full %d times (ListenOverflows), at %d connections"),
		Advice:   "see why the server does not accept; against bursts a longer backlog and net.core.somaxconn, or a smaller ramp.window",
	})
	PacketLoss = add(Cause{
		Reason:   "packet loss",
		Meaning:  "packets are lost on the way",
		Failures: unanswered,
		Counters: []string{"RetransSegs"},
		Facts:    "no full queue",
		Says: func(c *Cause, f *Facts) string {
			resent := f.Counter(c.Counters[0])
			missing := f.Failures(c.Failures)
			if missing == 0 || 2*resent < missing || 2*missing < f.Failures(timeouts) {
				return ""
			}
			return fmt.Sprintf("%d connects were never acknowledged, although packets were retransmitted %d times (RetransSegs), at %d connections",
				missing, resent, f.open())
		},
		Advice: "look for drops at the interfaces and queues on the way; a slower ramp.rate_per_second may avoid them",
	})
	Timeout = add(Cause{
		Reason:   "timeout",
		Meaning:  "no answer in time, and none of the causes above",
		Failures: timeouts,
		Says: func(c *Cause, f *Facts) string {
			if f.Failures(c.Failures) == 0 {
				return ""
			}
			return fmt.Sprintf("no answer within %g s, at %d connections", f.Ramp.TimeoutSeconds, f.open())
		},
		Advice: "see whether the server is stuck or overloaded; a longer ramp.timeout_seconds gives it more time",
	})
	Rejected = add(Cause{
		Reason:   "rejected",
		Meaning:  "the server answers, but refuses or closes",
		Failures: refusals,
		Says:     seen("the server refused connections, at %d"),
		Advice:   "see why the server refuses: its own limits, or an error in its log",
	})
	ClientLimit = add(Cause{
		Reason:  "client limit",
		Meaning: "the swarm could go no further",
		Failures: slices.Concat(on(control.PhaseSocket, "EACCES", "EAFNOSUPPORT", "EPERM"),
			on(control.PhaseBind, "EACCES", "EINVAL", "ENODEV", "EPERM")),
		Facts: "the swarm's own report",
		Says: func(c *Cause, f *Facts) string {
			if !f.stopped(control.StoppedByClient) && f.Failures(c.Failures) == 0 {
				return ""
			}
			return fmt.Sprintf("the swarm could go no further than %d connections", f.open())
		},
		Advice: "fix what the failures report about the client host",
	})
	Unknown = add(Cause{
		Reason:  "unknown",
		Meaning: "none of the causes above: please file a bug report",
		Facts:   "all counters that changed",
		Says: func(_ *Cause, f *Facts) string {
			if f.Ramp == nil {
				return f.Failed
			}
			return fmt.Sprintf("the ramp ended at %d of %d connections (%q)", f.Ramp.Open, f.Ramp.Target, f.Ramp.StoppedBy)
		},
		Invalidates: true,
	})
)

// NotOfRamp are the kinds of failure that show no cause, since they come after a
// ramp: of messages and of closing.
var NotOfRamp = slices.DeleteFunc(control.FailureKinds(), func(kind control.FailureKind) bool {
	switch kind.Phase {
	case control.PhasePing, control.PhaseClose:
		return false
	case control.PhaseEcho, control.PhaseSend:
		return kind.Error != control.Timeout
	}
	return true
})

// descriptorSlack is how near to its limit a server's number of descriptors shows
// that the limit was met: a descriptor or two of the runtime may come and go.
const descriptorSlack = 4

func add(c Cause) *Cause {
	All = append(All, &c)
	return &c
}

// on are the kinds of failure of one phase with these errors.
func on(phase control.Phase, errors ...control.Error) (kinds []control.FailureKind) {
	for _, e := range errors {
		kinds = append(kinds, control.FailureKind{Phase: phase, Error: e})
	}
	return kinds
}

// seen says a sentence about the number of open connections if there was any of the
// cause's failures.
func seen(format string) func(*Cause, *Facts) string {
	return func(c *Cause, f *Facts) string {
		if f.Failures(c.Failures) == 0 {
			return ""
		}
		return fmt.Sprintf(format, f.open())
	}
}

// accounted says a sentence about the cause's counter and the number of open
// connections if the counter accounts for half of the failures at least: counters
// are everybody's.
func accounted(format string) func(*Cause, *Facts) string {
	return func(c *Cause, f *Facts) string {
		failures, counted := f.Failures(c.Failures), f.Counter(c.Counters[0])
		if failures == 0 || 2*counted < failures {
			return ""
		}
		return fmt.Sprintf(format, counted, f.open())
	}
}

// ofMemory: a kill counts if the trial ended by it, or the ramp below its target. A
// reset counts as one for want of TCP's memory only if the swarm has seen failures
// that it explains.
func ofMemory(c *Cause, f *Facts) string {
	kills, aborts := f.Counter("oom_kill"), f.Counter("TCPAbortOnMemory")
	switch {
	case kills > 0 && (f.Ramp != nil || f.ServerEnded != "" || f.ClientEnded != ""):
		return fmt.Sprintf("the kernel killed %d processes for want of memory (oom_kill)", kills)
	case f.Failures(c.Failures) > 0:
		return fmt.Sprintf("the kernel has no memory for another socket, at %d connections", f.open())
	case aborts > 0 && f.Failures(slices.Concat(timeouts, refusals)) > 0:
		return fmt.Sprintf("net.ipv4.tcp_mem is used up (TCPAbortOnMemory %+d), at %d connections", aborts, f.open())
	}
	return ""
}
