// Package kubernetes is the lab of pods: a server pod and client pods, which the cluster
// of the user's kubectl places, and which go when the run goes, however it ends.
package kubernetes

import (
	"cmp"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"connbench/harness/explain"
	"connbench/harness/lab"
	"connbench/harness/lab/shell"
	"connbench/harness/record"
)

//go:embed README.md
var doc string

const name = "kubernetes"

func init() {
	lab.Register(lab.Kind{
		Name: name, File: "pods of a Kubernetes cluster", About: "pods of a Kubernetes cluster, which the suite makes and removes",
		Doc: doc, Paper: onPaper, Pods: true, Open: func(ctx context.Context, o lab.Options) (lab.Site, error) {
			f, err := Read(o.File)
			if err != nil {
				return nil, explain.Usage(err)
			}
			if err := o.NeedsSocket("pods have no routed prefixes, which the packet engine needs: use ENGINE=socket"); err != nil {
				return nil, err
			}
			if f.given = o.Pods; f.given != "" && !given.MatchString(f.given) {
				return nil, explain.Usagef("pods %q: they are labels such as app=chat,tier=front", f.given)
			}
			return open(ctx, f, o)
		},
	})
}

// site is the pods of a run.
type site struct {
	file    File
	options lab.Options
	kubectl kubectl
	run     string // names the run in the cluster
	made    bool   // there may be something of it there

	stopBeating func()

	lock  sync.Mutex // guards the pods and addresses of the hosts, and what follows
	hosts []*host
	// beatFailed is why the deadline of the jobs could not be moved on the last time.
	beatFailed error
}

// host is a host of the lab, and the pod that is it now.
type host struct {
	spec   lab.Spec
	set    set
	index  int // in the set
	pod    string
	dialed bool
	// held removes what the run leaves in a pod that it has not made.
	held *held
}

// open makes the pods of a lab file and waits for them. Where the cluster forbids sysctls,
// it goes on without them, to find all that it forbids.
func open(ctx context.Context, f File, o lab.Options) (lab.Site, error) {
	var forbidden []string
	for {
		s, err := start(ctx, f, o)
		var stuck *stuckError
		if errors.As(err, &stuck) {
			if _, asked := stuck.host.set.Sysctls[stuck.sysctl]; asked {
				forbidden = append(forbidden, fmt.Sprintf("%s (%s.sysctls)", stuck.sysctl, stuck.host.set.key))
				delete(stuck.host.set.Sysctls, stuck.sysctl) // the map is that of f
				continue
			}
		}
		switch {
		case err != nil && (len(forbidden) == 0 || ctx.Err() != nil):
			return nil, fmt.Errorf("%s: %w", f.name, err)
		case err == nil && len(forbidden) == 0:
			return s, nil
		case err == nil:
			s.Close()
		}
		refused := fmt.Errorf("%s: the cluster forbids the sysctls %s", f.name, strings.Join(forbidden, ", "))
		if err != nil {
			refused = fmt.Errorf("%w, and without them: %w", refused, err)
		}
		return nil, explain.Hint(refused,
			"leave them out, or let the kubelets allow them: --allowed-unsafe-sysctls")
	}
}

// start makes the pods and waits for them.
func start(ctx context.Context, f File, o lab.Options) (*site, error) {
	s := &site{file: f, options: o, kubectl: f.kubectl(), run: newRun(), stopBeating: func() {}}
	for _, set := range f.sets() {
		if set.given != "" {
			if err := s.takeGiven(ctx, set); err != nil {
				return nil, err
			}
			continue
		}
		for i := range set.count {
			s.hosts = append(s.hosts, &host{set: set, index: i, spec: lab.Spec{Name: set.host(i), Roles: []string{set.role}}})
		}
	}
	if err := s.create(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func newRun() string {
	var random [4]byte
	rand.Read(random[:]) // never fails
	return hex.EncodeToString(random[:])
}

// create makes the jobs, and returns when all pods run.
func (s *site) create(ctx context.Context) error {
	manifest, err := jobs(s.file, s.run)
	if err != nil {
		return err
	}
	made, err := s.kubectl.run(ctx, manifest, requestTimeout, "create", "--filename=-")
	s.made = err == nil || len(made) > 0 || ctx.Err() != nil
	if err != nil {
		return err
	}
	s.beat()
	return s.await(ctx)
}

// beat moves the deadline of the jobs on, until it is stopped.
func (s *site) beat() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	began := time.Now()
	go func() {
		defer close(ended)
		ticks := time.NewTicker(beatEvery)
		defer ticks.Stop()
		for {
			select {
			case <-ticks.C:
				err := s.moveDeadline(ctx, time.Since(began))
				s.lock.Lock()
				s.beatFailed = err
				s.lock.Unlock()
			case <-ctx.Done():
				return
			}
		}
	}()
	s.stopBeating = func() { cancel(); <-ended }
}

func (s *site) moveDeadline(ctx context.Context, age time.Duration) error {
	args := []string{requestTimeout, "patch", "jobs"}
	for _, set := range s.file.made() {
		args = append(args, jobName(s.run, set.role))
	}
	_, err := s.kubectl.run(ctx, nil, append(args, fmt.Sprintf(`--patch={"spec":{"activeDeadlineSeconds":%d}}`, deadline(age)))...)
	return err
}

// lookEvery is how often the pods are looked at while they come up.
var lookEvery = time.Second

// await waits until all pods run. The error says of the first that does not what the
// cluster says of it.
func (s *site) await(ctx context.Context) error {
	late := time.NewTimer(s.file.ready())
	defer late.Stop()
	for {
		waits, err := s.look(ctx)
		if err != nil || waits == nil {
			return err
		}
		select {
		case <-time.After(lookEvery):
		case <-late.C:
			return s.tooLate(ctx, waits)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// waiting is a host whose pod does not run yet, and what it waits for.
type waiting struct {
	host *host
	pod  string // "" until the pod exists
	what string
}

// look looks at all pods, and returns the first host that does not run yet; nil where all do.
func (s *site) look(ctx context.Context) (*waiting, error) {
	pods, err := s.pods(ctx)
	if err != nil {
		return nil, err
	}
	var first *waiting
	noPod := map[string]string{} // by job: why the cluster makes none
	for _, h := range s.hosts {
		if h.set.given != "" {
			continue
		}
		p := h.of(pods)
		if p == nil {
			job := jobName(s.run, h.set.role)
			said, asked := noPod[job]
			if !asked {
				said = s.says(ctx, "Job", job, "FailedCreate")
				noPod[job] = said
			}
			if said != "" {
				return nil, h.never(stuck{why: "the cluster makes no pod for it: " + said, hint: "ask for less in the lab file, or take another namespace"})
			}
			first = cmp.Or(first, &waiting{host: h, what: "the cluster has made no pod for it"})
			continue
		}
		runs, waits, never := p.look()
		switch {
		case never != nil:
			return nil, h.never(*never)
		case !runs:
			first = cmp.Or(first, &waiting{h, p.Metadata.Name, waits})
		default:
			if err := s.meet(h, p); err != nil {
				return nil, err
			}
		}
	}
	return first, nil
}

// stuckError is a host whose pod will never run.
type stuckError struct {
	host *host
	stuck
}

func (e *stuckError) Error() string { return "host " + e.host.spec.Name + ": " + e.why }

func (h *host) never(why stuck) error {
	var err error = &stuckError{h, why}
	if why.hint != "" {
		err = explain.Hint(err, "%s", why.hint)
	}
	return err
}

// tooLate is the error of a host that does not run in time.
func (s *site) tooLate(ctx context.Context, w *waiting) error {
	what, hint := w.what, "raise ready_seconds where a cluster needs more time"
	if said := s.says(ctx, "Pod", w.pod, ""); w.pod != "" && !strings.Contains(what, unscheduled) && said != "" {
		what += ": " + said
	}
	if strings.Contains(what, unscheduled) {
		hint = "ask for less, or for other nodes: requests, node_selector, tolerations, affinity; same_node = true lets server and clients share one"
	}
	return explain.Hint(fmt.Errorf("host %s: after %s %s", w.host.spec.Name, s.file.ready(), what), "%s", hint)
}

// says is the last that the cluster has to say against an object, "" if it is nothing, or
// not for us to know.
func (s *site) says(ctx context.Context, kind, name, reason string) string {
	selector := "type=Warning,involvedObject.kind=" + kind + ",involvedObject.name=" + name
	if reason != "" {
		selector += ",reason=" + reason
	}
	var list struct {
		Items []struct{ Message string } `json:"items"`
	}
	if s.kubectl.get(ctx, &list, "events", "--field-selector="+selector) != nil || len(list.Items) == 0 {
		return ""
	}
	return sentence(list.Items[len(list.Items)-1].Message)
}

// pods are all pods of the run.
func (s *site) pods(ctx context.Context) ([]pod, error) { return s.labelled(ctx, runLabel+"="+s.run) }

// labelled are the pods with these labels.
func (s *site) labelled(ctx context.Context, labels string) ([]pod, error) {
	var list struct {
		Items []pod `json:"items"`
	}
	err := s.kubectl.get(ctx, &list, "pods", "--selector="+labels)
	return list.Items, err
}

// of is the host's pod among those of the run: the last one made that is not being deleted,
// or nil.
func (h *host) of(pods []pod) *pod {
	var found *pod
	for i, p := range pods {
		mine := p.Metadata.Labels[roleLabel] == h.set.role && p.index() == h.index && p.Metadata.DeletionTimestamp == ""
		if mine && (found == nil || p.Metadata.CreationTimestamp >= found.Metadata.CreationTimestamp) {
			found = &pods[i]
		}
	}
	return found
}

// meet makes a pod the host.
func (s *site) meet(h *host, p *pod) error {
	addresses, err := p.addresses(h.set.Addresses)
	if err != nil {
		return explain.Hint(fmt.Errorf("host %s: pod %s: %w", h.spec.Name, p.Metadata.Name, err), "correct %s.addresses", h.set.key)
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	h.pod = p.Metadata.Name
	if h.set.role == record.RoleServer {
		h.spec.Addresses = addresses
	} else {
		h.spec.Sources = addresses
	}
	return nil
}

// Hosts implements [lab.Site].
func (s *site) Hosts() (specs []lab.Spec) {
	s.lock.Lock()
	defer s.lock.Unlock()
	for _, h := range s.hosts {
		specs = append(specs, h.spec)
	}
	return specs
}

// Dial implements [lab.Site].
func (s *site) Dial(ctx context.Context, i int) (*lab.Host, error) {
	h := s.hosts[i]
	s.lock.Lock()
	again := h.dialed
	h.dialed = true
	s.lock.Unlock()
	if again {
		if err := s.find(ctx, h); err != nil {
			return nil, err
		}
	}
	s.lock.Lock()
	pod := h.pod
	s.lock.Unlock()
	way := shell.Host{Name: h.spec.Name, Via: s.kubectl.command("exec", "--stdin", "--container="+container, pod, "--")}
	if h.set.given != "" { // programs go where they can be removed from
		if err := s.hold(h); err != nil {
			return nil, err
		}
		way.Via = s.kubectl.command("exec", "--stdin", pod, "--", "env", "XDG_CACHE_HOME="+s.folder())
	}
	return way.Meet(ctx, s.options, s.Hosts(), i)
}

// find finds the pod of a host that was lost: the same, or the one that its Job has made
// in its stead.
func (s *site) find(ctx context.Context, h *host) error {
	if h.set.given != "" {
		return s.findGiven(ctx, h)
	}
	pods, err := s.pods(ctx)
	if err != nil {
		return err
	}
	p := h.of(pods)
	if p == nil {
		s.lock.Lock()
		defer s.lock.Unlock()
		err := fmt.Errorf("host %s: its pod is gone", h.spec.Name)
		if s.beatFailed != nil {
			err = fmt.Errorf("%w, because its deadline could not be extended: %w", err, s.beatFailed)
		}
		return err
	}
	runs, waits, never := p.look()
	switch {
	case never != nil:
		return h.never(*never)
	case !runs:
		return fmt.Errorf("host %s: %s", h.spec.Name, waits)
	}
	return s.meet(h, p)
}

// Close implements [lab.Site].
func (s *site) Close() {
	s.stopBeating()
	s.releaseAll()
	if !s.made {
		return
	}
	remove := []string{"delete", "jobs", "--selector=" + runLabel + "=" + s.run}
	_, err := s.kubectl.run(context.Background(), nil, append(remove, "--cascade=foreground", "--wait=true", "--ignore-not-found")...)
	if err != nil {
		s.left(fmt.Errorf("the Jobs of run %s were not removed, and may be in the cluster for a minute: %w", s.run, err),
			"this removes them: %s", strings.Join(s.kubectl.command(remove...), " "))
	}
}

// left tells what could not be removed.
func (s *site) left(err error, hint string, args ...any) {
	if s.options.Left != nil {
		s.options.Left(explain.Hint(fmt.Errorf("%s: %w", s.file.name, err), hint, args...))
	}
}
