// Package slurm is the lab of nodes that Slurm allocates: srun makes the pipes, sbcast
// brings the programs.
package slurm

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"connbench/harness/agent"
	"connbench/harness/explain"
	"connbench/harness/lab"
	"connbench/harness/lab/shell"
	"connbench/harness/record"
	"connbench/harness/subprocess"
	"connbench/harness/tail"
)

//go:embed README.md
var doc string

func init() {
	lab.Register(lab.Kind{
		Name: "slurm", File: "nodes that Slurm allocates", About: "nodes of a cluster that Slurm allocates",
		Doc: doc, Paper: onPaper, Open: open,
	})
}

// site is a job and its nodes.
type site struct {
	options lab.Options
	file    File
	job     *job
	nodes   []node
	specs   []lab.Spec

	lock   sync.Mutex
	placed map[string]*broadcast // by component and file
	number int                   // of broadcasts
}

func open(ctx context.Context, o lab.Options) (lab.Site, error) {
	f, err := Read(o.File)
	if err != nil {
		return nil, explain.Usage(err)
	}
	if err := o.NeedsSocket("use ENGINE=socket: no prefix is routed to a node"); err != nil {
		return nil, err
	}
	j, err := current(ctx)
	if j == nil && err == nil {
		j, err = allocate(ctx, f)
	}
	if err != nil {
		return nil, err
	}
	s := &site{options: o, file: f, job: j, placed: map[string]*broadcast{}}
	if err := s.plan(ctx); err != nil {
		s.job.close()
		return nil, err
	}
	return s, nil
}

// plan gives the nodes their roles and addresses.
func (s *site) plan(ctx context.Context) error {
	nodes := s.job.nodes()
	clients := len(nodes) - 1
	if s.file.Clients > 0 {
		clients = s.file.Clients
	}
	if clients < 1 || len(nodes) < clients+1 {
		return explain.Hint(explain.Usagef("job %s has %d node(s); it needs 1 for the server and %d for clients", s.job.id, len(nodes), max(clients, 1)),
			"ask for more nodes, or state fewer clients in %s", s.file.name)
	}
	s.nodes = append(nodes[len(nodes)-1:], nodes[:clients]...)
	own, err := s.own(ctx)
	if err != nil {
		return err
	}
	addresses, err := known(ctx, s.unaddressed())
	if err != nil {
		return err
	}
	for i, n := range s.nodes {
		of := s.stated(i)
		spec := lab.Spec{Name: n.name, Roles: []string{record.RoleClient}, CPUs: of.CPUs}
		if i == 0 {
			spec.Roles = []string{record.RoleServer}
		}
		chosen := choose(own[n.name], of.Addresses, addresses[n.name])
		if len(chosen) == 0 {
			return explain.Hint(fmt.Errorf("node %s has no address in %s", n.name, strings.Join(of.Addresses, ", ")),
				"a prolog may give it some: scripts/slurm-prolog is an example; or correct addresses in %s", s.file.name)
		}
		if i == 0 {
			spec.Addresses = chosen
		} else {
			spec.Sources = chosen
		}
		s.specs = append(s.specs, spec)
	}
	return nil
}

// stated is what the file says of node i.
func (s *site) stated(i int) Nodes {
	if i == 0 {
		return s.file.Server
	}
	return s.file.Client
}

// unaddressed are the nodes for which the file states no addresses.
func (s *site) unaddressed() (names []string) {
	for i, n := range s.nodes {
		if len(s.stated(i).Addresses) == 0 {
			names = append(names, n.name)
		}
	}
	return names
}

// everyNode runs a script on all nodes of a component that the lab has, one step for all.
func (s *site) everyNode(ctx context.Context, c int, patience time.Duration, script string, args ...string) (string, error) {
	var names []string
	for _, n := range s.nodes {
		if n.c == c {
			names = append(names, n.name)
		}
	}
	if len(names) == 0 {
		return "", nil
	}
	count := fmt.Sprint(len(names))
	words := s.job.srun(c, "--nodes="+count, "--ntasks="+count, "--ntasks-per-node=1", "--nodelist="+strings.Join(names, ","), "/bin/sh", "-c", script, "connbench")
	var output bytes.Buffer
	var said tail.Tail
	err := subprocess.Run(ctx, patience, func(c *exec.Cmd) { c.Stdout, c.Stderr = &output, &said }, append(words, args...)...)
	if err == nil || ctx.Err() != nil {
		return output.String(), ctx.Err()
	}
	if said.String() != "" {
		err = errors.New(plainly(said.String()))
	}
	if over := s.job.ask(ctx); over != nil {
		err = over
	}
	return "", missing(fmt.Errorf("srun: %w", err), "srun")
}

// listOwn prints a node's own addresses and prefixes, the node's name before each.
const listOwn = `
{ ip -o -4 route show table local type local; ip -o -6 route show table local type local; } 2>/dev/null |
	while read -r word address rest; do [ "$word" != local ] || echo "$SLURMD_NODENAME $address"; done
`

// stepPatience bounds a step that does little.
const stepPatience = 2 * time.Minute

// own are the addresses and prefixes of each node.
func (s *site) own(ctx context.Context) (map[string][]netip.Prefix, error) {
	found := map[string][]netip.Prefix{}
	for c := range s.job.components {
		text, err := s.everyNode(ctx, c, stepPatience, listOwn)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(text) {
			name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
			prefix, err := netip.ParsePrefix(text)
			if err != nil {
				address, err := netip.ParseAddr(text)
				if err != nil {
					continue
				}
				prefix = netip.PrefixFrom(address, address.BitLen())
			}
			if !slices.Contains(found[name], prefix) {
				found[name] = append(found[name], prefix)
			}
		}
	}
	return found, nil
}

// Hosts implements [lab.Site].
func (s *site) Hosts() []lab.Spec { return s.specs }

// Ended implements [lab.Ending].
func (s *site) Ended() <-chan error { return s.job.ended }

// Ask implements [lab.Ending].
func (s *site) Ask(ctx context.Context) error { return s.job.ask(ctx) }

// Dial implements [lab.Site].
func (s *site) Dial(ctx context.Context, i int) (*lab.Host, error) {
	n := s.nodes[i]
	// Without HOME, which nodes may share, programs are kept on each node.
	via := append(s.job.srun(n.c, "--nodes=1", "--ntasks=1", "--nodelist="+n.name),
		"env", "-u", "HOME", "-u", "XDG_CACHE_HOME", "TMPDIR="+s.file.Scratch)
	way := shell.Host{Name: n.name, Via: via, Explain: s.explain}
	if s.file.Sbcast {
		way.Place = func(ctx context.Context, file string) (string, error) { return s.place(ctx, i, file) }
	}
	host, err := way.Meet(ctx, s.options, s.specs, i)
	if err == nil {
		go s.watch(host.Agent)
	}
	return host, err
}

// watch asks about the job when an agent has gone: it may have gone with the job.
func (s *site) watch(a *agent.Client) {
	<-a.Gone()
	ctx, cancel := context.WithTimeout(context.Background(), askPatience)
	defer cancel()
	s.job.ask(ctx)
}

// explain adds to the error of a step that the job has ended.
func (s *site) explain(err error) error {
	ctx, cancel := context.WithTimeout(context.Background(), askPatience)
	defer cancel()
	if over := s.job.ask(ctx); over != nil {
		return explain.Hint(fmt.Errorf("%w, and %w", over, lab.ErrGone), "ask for more time in the lab file: salloc = [\"--time=60\"]")
	}
	return explain.Hint(err, "this must work in the job: srun hostname")
}

// broadcast is a file that sbcast brings to all nodes of a component.
type broadcast struct {
	once  sync.Once
	there string
	err   error
	taken map[int]bool // by which hosts: each moves it away
}

// sbcastPatience bounds the way of a file to many nodes.
const sbcastPatience = 10 * time.Minute

// place has sbcast bring a file, to all nodes at once, and returns where it is on them.
func (s *site) place(ctx context.Context, i int, file string) (string, error) {
	c := s.nodes[i].c
	key := fmt.Sprint(c, file)
	s.lock.Lock()
	b := s.placed[key]
	if b == nil || b.taken[i] || b.err != nil {
		s.number++
		b = &broadcast{taken: map[int]bool{}, there: s.files(c) + fmt.Sprint(s.number)}
		s.placed[key] = b
	}
	b.taken[i] = true
	s.lock.Unlock()
	b.once.Do(func() {
		_, err := askFor(ctx, sbcastPatience, "sbcast", "--force", "--jobid="+s.job.sbcast(c), file, b.there)
		s.lock.Lock()
		b.err = explain.Hint(err, "sbcast = false in %s brings programs over the pipes of srun", s.file.name)
		s.lock.Unlock()
	})
	s.lock.Lock()
	defer s.lock.Unlock()
	return b.there, b.err
}

// files is how the paths of the files begin that sbcast makes in a component: an epilog may
// remove what a killed run has left.
func (s *site) files(c int) string {
	return path.Join(s.file.Scratch, "connbench-"+s.job.components[c].id+"-")
}

// Close implements [lab.Site].
func (s *site) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), stepPatience)
	defer cancel()
	for c := range s.job.components {
		if s.number > 0 && s.job.ask(ctx) == nil {
			// What was brought to nodes that had it already. A node that has gone has nothing.
			s.everyNode(ctx, c, stepPatience, `rm -f "$1"*`, s.files(c))
		}
	}
	s.job.close()
}
