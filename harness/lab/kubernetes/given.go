package kubernetes

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"connbench/harness/explain"
	"connbench/harness/lab"
	"connbench/harness/record"
)

// takeGiven makes hosts of the pods that were there before the run: of those that run and have
// the labels of the set. Several have their pods' names.
func (s *site) takeGiven(ctx context.Context, of set) error {
	pods, err := s.given(ctx, of)
	if err != nil {
		return err
	}
	if len(pods) == 0 {
		return s.noneGiven(of, fmt.Errorf("host %s: no running pod has the labels %s", of.host(0), of.given))
	}
	for i := range pods {
		h := &host{set: of, index: i, spec: lab.Spec{Name: of.host(0), Roles: []string{of.role}}}
		if len(pods) > 1 {
			h.spec.Name += "-" + pods[i].Metadata.Name
		}
		s.hosts = append(s.hosts, h)
		if err := s.meet(h, &pods[i]); err != nil {
			return err
		}
	}
	return nil
}

// given lists the pods that run and have the labels of the set, by name.
func (s *site) given(ctx context.Context, of set) ([]pod, error) {
	pods, err := s.labelled(ctx, of.given)
	pods = slices.DeleteFunc(pods, func(p pod) bool {
		runs, _, _ := p.look()
		return !runs || p.Metadata.DeletionTimestamp != ""
	})
	slices.SortFunc(pods, func(a, b pod) int { return cmp.Compare(a.Metadata.Name, b.Metadata.Name) })
	return pods, err
}

func (s *site) noneGiven(of set, err error) error {
	return explain.Hint(err, "this must list it: %s", strings.Join(s.kubectl.command("get", "pods", "--selector="+of.given), " "))
}

// findGiven finds the pod of a host again that was lost: the same, or else one that is no other
// host.
func (s *site) findGiven(ctx context.Context, h *host) error {
	pods, err := s.given(ctx, h.set)
	if err != nil {
		return err
	}
	s.lock.Lock()
	before := h.pod
	i := slices.IndexFunc(pods, func(p pod) bool { return p.Metadata.Name == h.pod })
	if i < 0 {
		i = slices.IndexFunc(pods, func(p pod) bool {
			return !slices.ContainsFunc(s.hosts, func(other *host) bool { return other.pod == p.Metadata.Name })
		})
	}
	if i >= 0 {
		h.pod = pods[i].Metadata.Name // before another host takes it
	}
	s.lock.Unlock()
	if i < 0 {
		return s.noneGiven(h.set, fmt.Errorf("host %s: pod %s does not run, nor does another one with the labels %s", h.spec.Name, before, h.set.given))
	}
	return s.meet(h, &pods[i])
}

// Resolve implements [lab.Resolver]: connections to a Service end at the port that it has in
// each of the server's pods. The way through the cluster's proxy is left out, so that each pod
// gets as many.
func (s *site) Resolve(ctx context.Context, name string, port uint16) (found []netip.AddrPort, err error) {
	specs := s.Hosts()
	if address, err := netip.ParseAddr(name); err == nil {
		if servers := countServers(specs); servers > 1 {
			return nil, explain.Hint(explain.Usagef("%s is one address, and %d pods have the labels %s", name, servers, s.file.given), "name their Service, or labels that one pod alone has")
		}
		return []netip.AddrPort{netip.AddrPortFrom(address, port)}, nil
	}
	parts := strings.Split(name, ".")
	k := s.kubectl
	if len(parts) > 1 {
		k.words = append(slices.Clone(k.words), "--namespace="+parts[1])
	}
	var service struct {
		Spec struct{ Ports []servicePort }
	}
	if err := k.get(ctx, &service, "service", parts[0]); err != nil {
		return nil, err
	}
	i := slices.IndexFunc(service.Spec.Ports, func(p servicePort) bool { return p.Port == port && p.Protocol != "UDP" })
	if i < 0 {
		return nil, explain.Usagef("service %s has no port %d", parts[0], port)
	}
	var behind struct{ Items []endpointSlice }
	if err := k.get(ctx, &behind, "endpointslices", "--selector=kubernetes.io/service-name="+parts[0]); err != nil {
		return nil, err
	}
	for h, spec := range specs {
		if !spec.Is(record.RoleServer) {
			continue
		}
		at, there := endpoint(behind.Items, service.Spec.Ports[i].Name, spec.Addresses)
		if !there {
			return nil, explain.Hint(fmt.Errorf("service %s does not lead to pod %s", parts[0], s.hosts[h].pod), "name the labels of pods of that service, which are ready")
		}
		found = append(found, at)
	}
	return found, nil
}

func countServers(specs []lab.Spec) (n int) {
	for _, spec := range specs {
		if spec.Is(record.RoleServer) {
			n++
		}
	}
	return n
}

// servicePort is a port of a Service, or of what is behind it.
type servicePort struct {
	Name, Protocol string
	Port           uint16
}

// endpointSlice is a part of what is behind a Service.
type endpointSlice struct {
	Endpoints []struct{ Addresses []string }
	Ports     []servicePort
}

// endpoint is where a port of a Service leads to on one of a pod's addresses.
func endpoint(behind []endpointSlice, port string, addresses []string) (at netip.AddrPort, there bool) {
	for _, slice := range behind {
		i := slices.IndexFunc(slice.Ports, func(p servicePort) bool { return p.Name == port })
		for _, endpoint := range slice.Endpoints {
			for _, own := range addresses {
				if address, err := netip.ParseAddr(own); err == nil && i >= 0 && slices.Contains(endpoint.Addresses, own) {
					return netip.AddrPortFrom(address, slice.Ports[i].Port), true
				}
			}
		}
	}
	return at, false
}

// folder is where programs are in a pod that the run has not made.
func (s *site) folder() string { return "/tmp/connbench-" + s.run }

// hold has the host's pod, which the run has not made, remove our folder when s closes, or when
// this process ends, however it does: until then a shell there waits for the end of its input.
func (s *site) hold(h *host) error {
	s.lock.Lock()
	defer s.lock.Unlock()
	if h.held != nil && h.held.pod == h.pod {
		select {
		case <-h.held.ended: // with its connection, or the pod
		default:
			return nil
		}
	}
	words := s.kubectl.command("exec", "--stdin", h.pod, "--", "sh", "-c", `cat >/dev/null; rm -rf "$1"`, "sh", s.folder())
	c := exec.Command(words[0], words[1:]...)
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is not for it
	input, err := c.StdinPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	if h.held != nil {
		h.held.input.Close()
	}
	held := &held{pod: h.pod, input: input, process: c.Process}
	ended := make(chan struct{})
	held.ended, h.held = ended, held
	go func() {
		held.failed = c.Wait()
		close(ended)
	}()
	return nil
}

// held is a kubectl that holds a pod.
type held struct {
	pod     string
	input   io.Closer
	process *os.Process
	ended   <-chan struct{}
	failed  error // known when it has ended
}

// release has what was held removed, and reports whether it was.
func (h *held) release() bool {
	h.input.Close()
	select {
	case <-h.ended:
	case <-time.After(patience):
		h.process.Kill()
		<-h.ended
	}
	return h.failed == nil
}

// releaseAll removes what the run has brought to pods that it has not made, and tells what it
// could not remove.
func (s *site) releaseAll() {
	remove := []string{"rm", "-rf", s.folder()}
	failed := make([]error, len(s.hosts))
	var all sync.WaitGroup
	for i, h := range s.hosts {
		if h.set.given == "" || !h.dialed {
			continue
		}
		all.Go(func() {
			if h.held != nil && h.held.release() {
				return
			}
			_, err := s.kubectl.run(context.Background(), nil, append([]string{"exec", h.pod, "--"}, remove...)...)
			if err != nil && s.lives(h) {
				failed[i] = err
			}
		})
	}
	all.Wait()
	var pods []string
	var why error
	for i, err := range failed {
		if err != nil {
			pods, why = append(pods, s.hosts[i].pod), cmp.Or(why, err)
		}
	}
	if len(pods) == 0 {
		return
	}
	command := strings.Join(append(s.kubectl.command("exec", "POD", "--"), remove...), " ")
	s.left(fmt.Errorf("%s was not removed from the pods %s: %w", s.folder(), strings.Join(pods, ", "), why), "this removes it from a POD: %s", command)
}

// lives says whether the host's pod may still be there: what is in one that ends goes with it.
func (s *site) lives(h *host) bool {
	pods, err := s.labelled(context.Background(), h.set.given)
	return err != nil || slices.ContainsFunc(pods, func(p pod) bool {
		return p.Metadata.Name == h.pod && p.Metadata.DeletionTimestamp == "" && p.Status.Phase == "Running"
	})
}
