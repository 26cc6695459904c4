// Package attach measures a server that somebody else has started: it finds its processes,
// decides where to connect to and from, and has the suite run a trial of it, and one of the
// floor next to it.
package attach

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"connbench/clients/control"
	"connbench/harness/agent"
	"connbench/harness/bench"
	"connbench/harness/build"
	"connbench/harness/explain"
	"connbench/harness/gate"
	"connbench/harness/lab"
	"connbench/harness/naming"
	"connbench/harness/phase"
	"connbench/harness/phase/connections"
	"connbench/harness/plan"
	"connbench/harness/progress"
	"connbench/harness/record"
	"connbench/harness/session/processes"
	"connbench/harness/suite"
	"connbench/harness/variant"
)

// Request says which server is measured, and how.
type Request struct {
	URL string
	// Target says which processes are measured; zero: those that listen where URL says.
	Target agent.Target
	// Lab is where, and SSH, instead of it, the server's host with the clients here.
	Lab, SSH string
	// Pods are the labels of the pods that are measured, in a lab of pods.
	Pods string
	// Owned are addresses that are none of the lab's, and that the caller says are theirs.
	Owned []string
	// Sources are the addresses and prefixes that clients connect from; none: the lab's.
	Sources []string
	// Opening is what the swarm asks for; its path and host come from URL.
	Opening control.Opening
	// TLS is how connections to a wss:// URL are encrypted; its server name comes from URL.
	TLS control.TLS
	Load
	// NoFloor leaves out the trial of the floor.
	NoFloor bool
	// Command is what to type to repeat the run, without what is secret.
	Command string
}

// Run carries out r and files the run in the results folder of the tree. The run is nil
// where nothing was filed. If both it and the error are non-nil, the error says what is wrong
// with the run.
func Run(ctx context.Context, tree build.Tree, r Request, display progress.Progress) (*record.Run, error) {
	run, err := measure(ctx, tree, r, display)
	if run == nil && ctx.Err() != nil {
		return nil, bench.Interrupted(ctx, err, bench.BeforeAny)
	}
	return run, err
}

func measure(ctx context.Context, tree build.Tree, r Request, display progress.Progress) (run *record.Run, err error) {
	if err := r.complete(); err != nil {
		return nil, err
	}
	theLab, session, err := r.open(ctx, tree)
	if err != nil {
		return nil, err
	}
	defer theLab.Close()
	ctx, stop := theLab.While(ctx)
	defer stop()
	defer func() {
		if run == nil && err != nil && ctx.Err() != nil {
			err = bench.Interrupted(ctx, err, bench.BeforeAny)
		}
	}()
	described := describe(Public(r.URL), session)
	described.Protocol = session.Protocol
	if r.TLS.ServerName != "" {
		described.Secured, session.TLS = variant.SecurityTLS, &r.TLS
	}
	job := suite.Job{
		Lab: theLab, Programs: []variant.Program{described}, Command: r.Command, Progress: display,
		Attached: &suite.Attached{Session: session, Processes: max(1, len(session.Found()))},
	}
	if job.Plan, job.Attached.Beside, err = r.plans(described.Name, title(Public(r.URL))); err != nil {
		return nil, err
	}
	job.Plan.Lab, job.Attached.Beside.Lab = theLab.Name, theLab.Name
	job.Attached.Filed = filed(job.Plan)
	job.Attached.Session.Plan, job.Attached.Session.Opening = job.Plan, r.Opening
	for _, part := range session.Parts {
		for _, process := range part.Found {
			display.Say("measures process %d (%s)%s: %s", process.PID, process.Name, on(session, part), process.Command)
		}
	}
	if err := r.size(ctx, tree, &job); err != nil {
		return nil, err
	}
	if err := r.build(ctx, tree, &job); err != nil {
		return nil, err
	}
	dir := filepath.Join(tree.Results, bench.FolderName(time.Now(), theLab.Name, "attach-"+described.Name))
	display.Begin(job.Trials(), phase.Duration(job.Plan, job.Target))
	invalid, err := job.Run(ctx, dir)
	display.Close()
	return bench.Finish(ctx, dir, invalid, len(job.Failing), err)
}

// complete checks what is asked for, and adds what the URL says.
func (r *Request) complete() error {
	place, err := ParseURL(r.URL)
	if err != nil {
		return err
	}
	if err := r.check(); err != nil {
		return err
	}
	r.Opening.Path, r.Opening.Host = place.Path, place.Authority
	r.NoFloor = r.NoFloor || r.Pods != "" // no server of ours runs in a pod of somebody else
	switch {
	case r.Pods != "" && (r.SSH != "" || r.Lab == ""):
		return explain.Hint(explain.Usagef("--pods chooses pods of a cluster"), "add --lab FILE.toml, with kind = \"kubernetes\"")
	case place.Protocol != "" && (r.Say != "" || r.ListenSeconds > 0 || len(r.Opening.Subprotocols) > 0):
		return explain.Hint(explain.Usagef("--say, --listen and --subprotocol are for WebSocket, and %s is not", Public(r.URL)), "HTTP has --echo, for a server that sends back the content of a POST; without it, each request is a GET")
	case place.Secure && r.TLS.ServerName == "":
		r.TLS.ServerName = place.Host
	case !place.Secure && (r.TLS.ServerName != "" || r.TLS.Authority != ""):
		return explain.Hint(explain.Usagef("--ca and --server-name are for TLS, and %s has none", Public(r.URL)), "write wss:// or https://")
	}
	return explain.Usage(r.Opening.Check())
}

// size decides how large the run is: the clients must be able to hold the connections, and so
// must the floor. The server itself may well run into a limit.
func (r Request) size(ctx context.Context, tree build.Tree, job *suite.Job) error {
	choices, err := tree.Choose([]string{floor}, []string{variant.ClassTuned})
	if err != nil {
		return err
	}
	size, err := bench.Fit(ctx, tree, job.Attached.Beside, job.Lab, choices, func(string, ...any) {})
	if err != nil {
		return err
	}
	job.Target, job.Processes, job.Limit = size.Target, size.Processes, size.Limit()
	session := job.Attached.Session
	if session.Hidden() {
		job.Progress.Say("the processes on %s cannot be read: the server's own figures stay empty", session.Parts[0].Address.Addr())
		return nil
	}
	prediction, err := predict(ctx, job.Plan, r.Connections, job.Lab, session)
	if err != nil {
		return err
	}
	job.Limit = firstLimit(prediction)
	job.Progress.Say("first limit: %s", job.Limit)
	return nil
}

// build builds the swarm, and the floor unless it is left out.
func (r Request) build(ctx context.Context, tree build.Tree, job *suite.Job) error {
	var passing []variant.Program
	if !r.NoFloor {
		choices, err := tree.Choose([]string{floor}, []string{variant.ClassTuned})
		if err != nil {
			return err
		}
		programs, err := tree.Build(ctx, choices, runtime.GOARCH, job.Progress.Say)
		if err != nil {
			return err
		}
		programs = variant.Expand(programs, variant.Layers{Protocol: []string{cmp.Or(job.Attached.Session.Protocol, control.ProtocolWebSocket)}})
		if passing, job.Failing, err = gate.Pass(ctx, programs, job.Progress.Say); err != nil {
			return err
		}
	}
	servers, swarms, err := bench.ForHosts(ctx, tree, job.Lab, passing, job.Progress)
	job.Programs, job.Swarms = append(job.Programs, servers...), swarms
	return err
}

// filed is a plan as a run records it: a question may hold a token.
func filed(p plan.Plan) plan.Plan {
	say := connections.SayPlan.Of(p)
	if say.Text != "" {
		say.Text = "…"
		connections.SayPlan.Set(&p, say)
	}
	return p
}

// Public is a URL without its query, which may hold what is nobody else's business: runs are
// published.
func Public(url string) string {
	before, _, found := strings.Cut(url, "?")
	if !found {
		return url
	}
	return before + "?…"
}

// on says which host a part of a server is on; "" if there is only one.
func on(s processes.Attached, part processes.Part) string {
	if len(s.Parts) == 1 {
		return ""
	}
	return " on " + part.Host.Facts.Name
}

// describe returns the program that stands for the server in tables: it has the name of its
// first process.
func describe(url string, s processes.Attached) variant.Program {
	name, settings := "server", []string{"its processes cannot be read"}
	if found := s.Found(); len(found) > 0 {
		settings = nil
		if naming.Check("name", found[0].Name) == nil && found[0].Name != floor {
			name = found[0].Name
		}
	}
	for _, part := range s.Parts {
		for _, process := range part.Found {
			settings = append(settings, fmt.Sprintf("process %d (%s)%s", process.PID, process.Name, on(s, part))) // its arguments may be secret
		}
	}
	return variant.Program{Choice: variant.Choice{
		Variant: variant.Variant{
			Name: name, Title: url, Model: "unknown",
			Classes: map[string]variant.Class{record.ClassAttached: {Settings: strings.Join(settings, "; ")}},
		},
		Class: record.ClassAttached,
	}}
}

// find decides where the swarm connects to and from, and which processes are measured.
// addresses has a list for each server host of the lab. Of each list, it takes the first address
// that somebody listens on.
func (r Request) find(ctx context.Context, l *lab.Lab, addresses [][]netip.AddrPort) (s processes.Attached, err error) {
	s.Clients = slices.Clone(l.Clients)
	owned := true // by the lab's server hosts
	for i, host := range l.Servers() {
		if owned, err = r.mayConnect(ctx, l, host, addresses[i]); err != nil {
			return s, err
		}
		part := processes.Part{Target: r.Target, Address: addresses[i][0]}
		if owned {
			part.Host = host
			if part.Address, part.Found, err = r.listening(ctx, host, addresses[i]); err != nil {
				return s, err
			}
			if part.Target.Empty() {
				part.Target.Listeners = []netip.AddrPort{part.Address}
			}
		}
		s.Parts = append(s.Parts, part)
	}
	for i := range s.Clients {
		if s.Clients[i].Sources, err = r.sourcesOf(ctx, l, s.Clients[i], s.Parts[0].Address.Addr(), owned); err != nil {
			return s, err
		}
	}
	return s, nil
}

// mayConnect reports whether the addresses are those of a server host. If they are not, the
// caller must have said that they are theirs.
func (r Request) mayConnect(ctx context.Context, l *lab.Lab, server *lab.Host, addresses []netip.AddrPort) (owned bool, err error) {
	var list []string
	for _, address := range addresses {
		if address.Addr().IsLoopback() && slices.ContainsFunc(l.Clients, func(c lab.Client) bool { return c.Host != server }) {
			return false, explain.Hint(explain.Usagef("%s is a loopback address: clients on other hosts would connect to themselves", address.Addr()),
				"name the address by which they reach the server")
		}
		list = append(list, address.Addr().String())
	}
	foreign, err := server.Agent.Foreign(ctx, list)
	if err != nil || len(foreign) == 0 {
		return true, err
	}
	for _, address := range foreign {
		if !slices.ContainsFunc(r.Owned, func(text string) bool { return sameAddress(text, address) }) {
			return false, explain.Hint(explain.Usagef("%s is no address of host %s", address, server.Facts.Name),
				"add --i-own-this-server %s if the server is yours, or --ssh HOST to measure it there", address)
		}
	}
	return false, nil
}

func sameAddress(a, b string) bool {
	x, wrong := netip.ParseAddr(a)
	y, wrongToo := netip.ParseAddr(b)
	return wrong == nil && wrongToo == nil && x.Unmap() == y.Unmap()
}

// listening returns the first of the addresses that somebody on the host listens on, and the
// processes to measure.
func (r Request) listening(ctx context.Context, host *lab.Host, addresses []netip.AddrPort) (at netip.AddrPort, found []agent.Watched, err error) {
	for _, at = range addresses {
		var there []agent.Watched
		if there, err = host.Agent.Find(ctx, agent.Target{Listeners: []netip.AddrPort{at}}); err == nil && len(there) > 0 {
			found = there
			break
		}
	}
	if !r.Target.Empty() { // a proxy may listen, or somebody whose files cannot be read
		if len(found) == 0 {
			at = addresses[0]
		}
		found, err = host.Agent.Find(ctx, r.Target)
	}
	if err != nil {
		return at, nil, explain.Usage(err)
	}
	return at, found, nil
}

// openLab opens the lab of the request. If the server's host is reached by ssh, a lab file
// of it and of this machine does.
func openLab(ctx context.Context, tree build.Tree, r Request, server []netip.AddrPort) (*lab.Lab, error) {
	if r.Pods != "" {
		return bench.OpenPods(ctx, tree, r.Lab, r.Pods)
	}
	if r.SSH == "" {
		name := r.Lab
		if name == "" {
			name = lab.Local
		}
		return bench.OpenLab(ctx, tree, name, control.EngineSocket)
	}
	if len(server) == 0 {
		return nil, explain.Usagef("--ssh takes the server's URL as well")
	}
	if r.Lab != "" {
		return nil, explain.Usagef("--ssh and --lab: a lab file names its hosts itself")
	}
	file, err := sshLab(r.SSH, server[0].Addr())
	if err != nil {
		return nil, err
	}
	defer file.Remove()
	return bench.OpenLab(ctx, tree, file.Path, control.EngineSocket)
}
