package trial

import (
	"fmt"
	"strconv"

	"connbench/clients/control"
	"connbench/harness/probe"
	"connbench/harness/record"
)

// attribute names the one limit that ended the ramp, with the facts that say so.
// The order is from what explains the others to what is explained by them.
func (r *run) attribute(before reading) record.Stop {
	stop := record.Stop{Failures: failuresOf(r.rampResult), Counters: r.meter.last.measured.System.Since(before.measured.System, nil).Counters}
	failed := map[string]int64{}
	for _, f := range stop.Failures {
		failed[f.Phase+" "+f.Error] += f.Count
		stop.Evidence = append(stop.Evidence, fmt.Sprintf("%s: %s, %d times", f.Phase, f.Error, f.Count))
	}
	say := func(reason, format string, args ...any) record.Stop {
		stop.Reason = reason
		stop.Evidence = append([]string{fmt.Sprintf(format, args...)}, stop.Evidence...)
		return stop
	}
	any := func(keys ...string) bool {
		for _, key := range keys {
			if failed[key] > 0 {
				return true
			}
		}
		return false
	}

	if budget := r.record.Budget; budget != nil && budget.Connections != nil {
		return say(record.ReasonBudget, "server and kernel take %d bytes, of a budget of %d", *budget.SpentBytes, budget.Bytes)
	}
	open, target := r.rampResult.Open, r.Target
	if open >= target {
		return say(record.ReasonTarget, "all %d connections are open", target)
	}
	if available := r.watch.reserveReached(); available > 0 {
		return say(record.ReasonMemoryReserve, "MemAvailable fell to %d bytes, below the reserve of %d", available, r.Plan.MemoryReserveBytes)
	}
	if stop.Counters["oom_kill"] > 0 {
		return say(record.ReasonMemory, "the kernel killed %d processes for want of memory", stop.Counters["oom_kill"])
	}
	if used, limit := r.meter.last.descriptors(), r.serverDescriptorLimit(); used != nil && limit > 0 && *used >= limit-descriptorSlack {
		return say(record.ReasonServerDescriptors, "the server holds %d descriptors, RLIMIT_NOFILE allows %d", *used, limit)
	}
	switch {
	case any("socket EMFILE"):
		return say(record.ReasonClientDescriptors, "the swarm's RLIMIT_NOFILE is used up at %d connections", open)
	case any("socket ENFILE"):
		return say(record.ReasonHostDescriptors, "fs.file-max is used up at %d connections", open)
	case any("socket ENOSPC"): // epoll_ctl(2)
		return say(record.ReasonEpollWatches, "fs.epoll.max_user_watches is used up at %d connections", open)
	case any("bind EADDRNOTAVAIL", "connect EADDRNOTAVAIL", "bind EADDRINUSE"):
		return say(record.ReasonClientPorts, "no source address has a port left, at %d connections", open)
	case any("socket ENOMEM", "socket ENOBUFS", "connect ENOMEM", "connect ENOBUFS", "send ENOBUFS", "send ENOMEM"):
		return say(record.ReasonMemory, "the kernel has no memory for another socket, at %d connections", open)
	case any("connect ECONNREFUSED"):
		return say(record.ReasonRefused, "nothing accepts on the server's address any more, at %d connections", open)
	case any("connect timeout", "connect ETIMEDOUT", "handshake timeout", "handshake ETIMEDOUT"):
		return say(record.ReasonTimeout, "no answer within %g s, at %d connections", r.Plan.Ramp.TimeoutSeconds, open)
	case any("handshake rejected", "handshake closed", "handshake ECONNRESET", "handshake bad accept", "handshake bad frame", "open closed", "open ECONNRESET", "connect ECONNRESET"):
		return say(record.ReasonRejected, "the server refused connections, at %d", open)
	case r.rampResult.StoppedBy == control.StoppedByClient:
		return say(record.ReasonClientLimit, "the swarm could go no further than %d connections", open)
	}
	return say(record.ReasonUnknown, "the ramp ended at %d of %d connections (%q)", open, target, r.rampResult.StoppedBy)
}

// descriptorSlack is how near to its limit a server's descriptor count says that
// the limit was met: a descriptor or two of the runtime may come and go.
const descriptorSlack = 4

// serverDescriptorLimit is what all server processes together may have open, 0
// if there is no limit. Go programs raise their soft limit to the hard one.
func (r *run) serverDescriptorLimit() int64 {
	limit, err := strconv.ParseInt(r.Lab.Server.Facts.Limits[probe.LimitNoFileHard], 10, 64)
	if err != nil {
		return 0 // "unlimited", or unknown
	}
	return limit * int64(r.ServerProcesses)
}
