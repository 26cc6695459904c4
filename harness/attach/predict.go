package attach

import (
	"context"
	"math"
	"net/netip"
	"regexp"
	"slices"

	"connbench/harness/agent"
	"connbench/harness/bench"
	"connbench/harness/build"
	"connbench/harness/explain"
	"connbench/harness/lab"
	"connbench/harness/limits"
	"connbench/harness/plan"
	"connbench/harness/session/processes"
	"connbench/harness/suite"
)

// Predict computes which limit stops the next connection of a server that runs already. It
// connects to nothing. Without a URL, the server is where its processes listen.
func Predict(ctx context.Context, tree build.Tree, r Request) (found bench.Prediction, err error) {
	l, s, err := r.open(ctx, tree)
	if err != nil {
		return found, err
	}
	defer l.Close()
	for _, host := range l.Hosts() {
		for _, warning := range host.Warnings {
			found.Warnings = append(found.Warnings, "host "+host.Facts.Name+": "+warning)
		}
	}
	found.Prediction, err = predict(ctx, plan.Default(), r.Connections, l, s)
	return found, err
}

// Limits is [Predict] if r names a server, and else [bench.Predict] for one to be started.
func Limits(ctx context.Context, tree build.Tree, other bench.Request, r Request) (bench.Prediction, error) {
	if r.URL == "" && r.Target.Empty() {
		return bench.Predict(ctx, tree, other)
	}
	r.Lab, r.Connections = other.Lab, plan.Max
	if other.Connections != nil {
		r.Connections = *other.Connections
	}
	return Predict(ctx, tree, r)
}

// open opens the lab, and finds the server.
func (r Request) open(ctx context.Context, tree build.Tree) (_ *lab.Lab, s processes.Attached, err error) {
	var place Place
	var addresses []netip.AddrPort
	if r.URL != "" {
		if place, err = ParseURL(r.URL); err != nil {
			return nil, s, err
		}
		if r.Pods == "" { // the names of a cluster mean nothing here
			if addresses, err = place.Addresses(ctx); err != nil {
				return nil, s, err
			}
		}
	}
	l, err := openLab(ctx, tree, r, addresses)
	if err != nil {
		return nil, s, err
	}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	hosts := [][]netip.AddrPort{addresses}
	switch {
	case r.Pods != "" && r.URL != "":
		if addresses, err = l.Resolve(ctx, place.Host, place.Port); err != nil {
			return nil, s, err
		}
		hosts = nil
		for i := range addresses {
			hosts = append(hosts, addresses[i:i+1])
		}
	case len(addresses) == 0:
		if hosts[0], err = listens(ctx, l, r.Target); err != nil {
			return nil, s, err
		}
	}
	if s, err = r.find(ctx, l, hosts); err != nil {
		return nil, s, err
	}
	s.Protocol = place.Protocol
	return l, s, nil
}

// listens returns where the processes of a target listen.
func listens(ctx context.Context, l *lab.Lab, t agent.Target) ([]netip.AddrPort, error) {
	watched, err := l.Server.Agent.Find(ctx, t)
	if err != nil {
		return nil, explain.Usage(err)
	}
	for _, w := range watched {
		for _, address := range w.Listens {
			if address.Addr().IsUnspecified() {
				address = netip.AddrPortFrom(reachable(l, address.Addr()), address.Port())
			}
			return []netip.AddrPort{address}, nil
		}
	}
	return nil, explain.Hint(explain.Usagef("%s: no process listens on a TCP port", t), "name the process that accepts the connections, or the server's URL")
}

// reachable is an address by which clients reach a server that listens on all addresses: the
// first of the lab's that the server takes. An IPv6 listener takes IPv4 too.
func reachable(l *lab.Lab, listens netip.Addr) netip.Addr {
	for _, text := range l.Server.Addresses {
		if address, err := netip.ParseAddr(text); err == nil && (address.Is4() || listens.Is6()) {
			return address
		}
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// predict computes the limits of a server for connections from the clients that will be used.
func predict(ctx context.Context, p plan.Plan, connections plan.Count, l *lab.Lab, s processes.Attached) (limits.Prediction, error) {
	if s.Hidden() {
		return limits.Prediction{}, errHidden(s)
	}
	parts := make([]suite.RunningPart, len(s.Parts))
	err := lab.Together(len(parts), func(i int) error {
		part := s.Parts[i]
		m, err := part.Host.Agent.Observe(ctx, part.Target, true)
		parts[i] = suite.RunningPart{Host: part.Host, Running: runningOf(part.Found), System: m.System}
		return err
	})
	if err != nil {
		return limits.Prediction{}, err
	}
	from := *l
	from.Clients = s.Clients
	p.Connections = connections
	var addresses []string
	for _, part := range s.Parts {
		addresses = append(addresses, part.Address.Addr().String())
	}
	return suite.PredictRunning(ctx, p, &from, parts, addresses)
}

// errHidden is the error if the processes on the server's host cannot be read.
func errHidden(s processes.Attached) error {
	return explain.Hint(explain.Usagef("the processes on %s cannot be read", s.Parts[0].Address.Addr()), "use --lab with a lab file that lists its host")
}

// firstLimit says which limit comes first, and what raises it.
func firstLimit(p limits.Prediction) string {
	text := suite.Size{Prediction: p}.Limit()
	if limit, ok := p.Binding(); ok && limit.Raise != "" {
		text += "; to raise it: " + limit.Raise
	}
	return text
}

// containerGroup is a part of the control groups that container engines make.
var containerGroup = regexp.MustCompile(`(docker|libpod|crio|cri-containerd|kubepods|lxc)`)

// runningOf returns the limits of the processes that accept connections; of all, if none is
// known to.
func runningOf(watched []agent.Watched) limits.Running {
	accepting := slices.DeleteFunc(slices.Clone(watched), func(w agent.Watched) bool { return len(w.Listens) == 0 })
	if len(accepting) == 0 {
		accepting = watched
	}
	// A master that only hands its listener to workers accepts nothing.
	workers := slices.DeleteFunc(slices.Clone(accepting), func(w agent.Watched) bool {
		return slices.ContainsFunc(accepting, func(other agent.Watched) bool { return other.Parent == w.PID })
	})
	r := limits.Running{OpenFiles: math.MaxInt64, HardOpenFiles: math.MaxInt64, Processes: max(1, len(workers))}
	for _, w := range workers {
		if len(w.Backlogs) > 0 {
			r.Backlog = max(r.Backlog, slices.Max(w.Backlogs))
		}
		if w.OpenFilesSoft == nil || w.Descriptors == nil {
			continue
		}
		if left := *w.OpenFilesSoft - *w.Descriptors; r.PID == 0 || left < r.OpenFiles-r.Descriptors {
			r.PID, r.OpenFiles, r.HardOpenFiles, r.Descriptors = w.PID, *w.OpenFilesSoft, *w.OpenFilesHard, *w.Descriptors
			r.Unit, r.Container = w.Unit, containerGroup.MatchString(w.Group)
		}
	}
	return r
}
