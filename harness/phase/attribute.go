package phase

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"connbench/clients/control"
	"connbench/harness/record"
	"connbench/harness/session"
)

// attribute names the one limit that ended the ramp, with the facts that say so.
// The order is from what explains the others to what is explained by them.
func (t *Trial) attribute(ramp control.Result, reserve int64, facts evidence) record.Stop {
	stop := record.Stop{Failures: failuresOf(ramp), Counters: facts.server, ClientCounters: facts.clients}
	failed := map[string]int64{}
	for _, f := range stop.Failures {
		failed[f.Phase+" "+f.Error] += f.Count
		stop.Evidence = append(stop.Evidence, fmt.Sprintf("%s: %s, %d times", f.Phase, f.Error, f.Count))
	}
	stop.Evidence = append(stop.Evidence, facts.said...)
	say := func(reason, format string, args ...any) record.Stop {
		stop.Reason = reason
		stop.Evidence = append([]string{fmt.Sprintf(format, args...)}, stop.Evidence...)
		return stop
	}
	sum := func(keys ...string) (times int64) {
		for _, key := range keys {
			times += failed[key]
		}
		return times
	}
	any := func(keys ...string) bool { return sum(keys...) > 0 }

	if budget := Budget.Of(t.Record); budget != nil && budget.Connections != nil {
		return say(record.ReasonBudget, "server and kernel take %d bytes, of a budget of %d", *budget.SpentBytes, budget.Bytes)
	}
	open, target := ramp.Open, t.Target
	if open >= target {
		return say(record.ReasonTarget, "all %d connections are open", target)
	}
	if available := reserve; available > 0 {
		return say(record.ReasonMemoryReserve, "MemAvailable, less the slab of the connections, fell to %d bytes, below the reserve of %d", available, t.Plan.MemoryReserveBytes)
	}
	if kills := facts.server["oom_kill"]; kills > 0 {
		return say(record.ReasonMemory, "the kernel killed %d processes for want of memory", kills)
	}
	if used, limit := t.Session.Meter.Last.Descriptors(), t.DescriptorsPerProcess*int64(t.ServerProcesses); used != nil && limit > 0 && *used >= limit-descriptorSlack {
		return say(record.ReasonServerDescriptors, "the server holds %d descriptors, RLIMIT_NOFILE allows %d", *used, limit)
	}
	if cap := t.MostPerProcess * t.ServerProcesses; cap > 0 && open >= cap {
		return say(record.ReasonLibraryCap, "the server holds %d connections, its library allows %d", open, cap)
	}
	// The server's kernel acknowledges what a silent server does not answer, so that
	// only the unanswered can have been lost on the way or before a full queue. The
	// counters are everybody's: they must account for half of them at least.
	unanswered := sum("connect timeout", "connect ETIMEDOUT", "handshake unacknowledged", "handshake ETIMEDOUT")
	timeouts := unanswered + sum("handshake timeout")
	counted := func(counter string) (times int64, enough bool) {
		times = facts.of(counter)
		return times, unanswered > 0 && 2*times >= unanswered
	}
	drops, dropped := counted("conntrack_drop")
	overflows, overflowed := counted("ListenOverflows")
	resent, lost := counted("RetransSegs")
	refusals := any("handshake rejected", "handshake closed", "handshake ECONNRESET", "handshake bad accept", "handshake bad frame", "open closed", "open ECONNRESET", "connect ECONNRESET")
	switch {
	case any("socket EMFILE"):
		return say(record.ReasonClientDescriptors, "the swarm's RLIMIT_NOFILE is used up at %d connections", open)
	case any("socket ENFILE"):
		return say(record.ReasonHostDescriptors, "fs.file-max is used up at %d connections", open)
	case any("socket ENOSPC"): // epoll_ctl(2)
		return say(record.ReasonEpollWatches, "fs.epoll.max_user_watches is used up at %d connections", open)
	case ramp.StoppedBy == control.StoppedByClient && any("bind EADDRNOTAVAIL", "connect EADDRNOTAVAIL", "bind EADDRINUSE"):
		return say(record.ReasonClientPorts, "no source address has a port left, at %d connections", open)
	case any("socket ENOMEM", "socket ENOBUFS", "connect ENOMEM", "connect ENOBUFS", "send ENOBUFS", "send ENOMEM"):
		return say(record.ReasonMemory, "the kernel has no memory for another socket, at %d connections", open)
	case (timeouts > 0 || refusals) && facts.of("TCPAbortOnMemory") > 0:
		return say(record.ReasonMemory, "net.ipv4.tcp_mem is used up (TCPAbortOnMemory %+d), at %d connections", facts.of("TCPAbortOnMemory"), open)
	case any("connect ECONNREFUSED"):
		return say(record.ReasonRefused, "nothing accepts on the server's address any more, at %d connections", open)
	case dropped:
		return say(record.ReasonConntrack, "nf_conntrack_max is used up on the way (conntrack_drop %+d), at %d connections", drops, open)
	case overflowed:
		return say(record.ReasonAcceptQueue, "the server does not accept: its queue was full %d times (ListenOverflows), at %d connections", overflows, open)
	case lost && 2*unanswered >= timeouts:
		return say(record.ReasonPacketLoss, "of %d connects nothing was acknowledged though packets were sent again %d times (RetransSegs), at %d connections", unanswered, resent, open)
	case timeouts > 0:
		return say(record.ReasonTimeout, "no answer within %g s, at %d connections", RampPlan.Of(t.Plan).TimeoutSeconds, open)
	case refusals:
		return say(record.ReasonRejected, "the server refused connections, at %d", open)
	case ramp.StoppedBy == control.StoppedByClient:
		return say(record.ReasonClientLimit, "the swarm could go no further than %d connections", open)
	}
	stop.Evidence = append(stop.Evidence, facts.all()...)
	return say(record.ReasonUnknown, "the ramp ended at %d of %d connections (%q)", open, target, ramp.StoppedBy)
}

// evidence is what hosts and servers tell of a ramp: by how much the counters of the
// server's host changed, and those of client hosts elsewhere, and last words.
type evidence struct {
	server, clients map[string]int64
	said            []string
}

// of is a counter's change on all hosts.
func (e evidence) of(counter string) int64 { return e.server[counter] + e.clients[counter] }

// all lists every change.
func (e evidence) all() (list []string) {
	for _, side := range []struct {
		name    string
		changes map[string]int64
	}{{"server host", e.server}, {"client hosts", e.clients}} {
		for _, name := range slices.Sorted(maps.Keys(side.changes)) {
			list = append(list, fmt.Sprintf("%s: %s %+d", side.name, name, side.changes[name]))
		}
	}
	return list
}

// gather is the evidence of what happened since the readings before.
func (t *Trial) gather(ctx context.Context, before session.Reading, elsewhere map[string]int64) evidence {
	facts := evidence{server: t.Session.Meter.Last.Measured.System.Since(before.Measured.System, nil).Counters}
	for name, now := range t.Hosts.Counters(ctx) {
		// A counter that was not there before has nothing to be compared with.
		if earlier, known := elsewhere[name]; known && now != earlier {
			if facts.clients == nil {
				facts.clients = map[string]int64{}
			}
			facts.clients[name] = now - earlier
		}
	}
	if words := t.Session.Server.LastWords(ctx); words != "" {
		facts.said = append(facts.said, words)
	}
	return facts
}

// descriptorSlack is how near to its limit a server's descriptor count says that
// the limit was met: a descriptor or two of the runtime may come and go.
const descriptorSlack = 4

// StopOfFailure is why the ramp ended where the trial itself could not go on: reason
// if that is known, else what the counters of the server's host say.
func (t *Trial) StopOfFailure(ctx context.Context, reason string, err error) record.Stop {
	stop := record.Stop{Reason: reason, Evidence: []string{err.Error()}}
	counters := t.countersOfFailure(ctx)
	switch kills := counters.server["oom_kill"]; {
	case reason == "":
		stop.Reason = record.ReasonUnknown
		stop.Evidence = append(stop.Evidence, counters.all()...)
	case kills > 0 && (reason == record.ReasonServerDied || reason == record.ReasonClientDied):
		stop.Reason = record.ReasonMemory
		stop.Evidence = append(stop.Evidence, fmt.Sprintf("the kernel killed %d processes for want of memory (oom_kill)", kills))
	}
	stop.Counters = counters.server
	return stop
}

// countersOfFailure are those that changed on the server's host since the first
// reading of it; none where there was none, or the host cannot be asked any more.
func (t *Trial) countersOfFailure(ctx context.Context) evidence {
	if t.Session.Meter == nil || t.Session.Meter.First == nil || ctx.Err() != nil {
		return evidence{}
	}
	now, err := t.Session.Server.Measure(ctx, true)
	if err != nil {
		return evidence{}
	}
	return evidence{server: now.System.Since(t.Session.Meter.First.Measured.System, nil).Counters}
}
