package kubernetes

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"connbench/harness/explain"
)

// findGiven finds the pod of a host that was there before the run: the one with its labels.
func (s *site) findGiven(ctx context.Context, h *host) error {
	var list struct {
		Items []pod `json:"items"`
	}
	if err := s.kubectl.get(ctx, &list, "pods", "--selector="+h.set.given); err != nil {
		return err
	}
	var names []string
	var found *pod
	for i, p := range list.Items {
		if runs, _, _ := p.look(); runs && p.Metadata.DeletionTimestamp == "" {
			names = append(names, p.Metadata.Name)
			found = &list.Items[i]
		}
	}
	switch {
	case len(names) == 0:
		return explain.Hint(fmt.Errorf("host %s: no running pod has the labels %s", h.spec.Name, h.set.given), "this must list it: %s", strings.Join(s.kubectl.command("get", "pods", "--selector="+h.set.given), " "))
	case len(names) > 1:
		return explain.Hint(fmt.Errorf("host %s: %d pods have the labels %s, and one can be measured: %s", h.spec.Name, len(names), h.set.given, strings.Join(names, ", ")),
			"scale to one, or name labels that one pod alone has")
	}
	return s.meet(h, found)
}

// Resolve implements [lab.Resolver]: connections to a Service end at the port that it has in
// the server's pod. The way through the cluster's proxy is left out.
func (s *site) Resolve(ctx context.Context, name string, port uint16) (netip.AddrPort, error) {
	if address, err := netip.ParseAddr(name); err == nil {
		return netip.AddrPortFrom(address, port), nil
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
		return netip.AddrPort{}, err
	}
	i := slices.IndexFunc(service.Spec.Ports, func(p servicePort) bool { return p.Port == port && p.Protocol != "UDP" })
	if i < 0 {
		return netip.AddrPort{}, explain.Usagef("service %s has no port %d", parts[0], port)
	}
	var slicesOf struct {
		Items []struct {
			Endpoints []struct{ Addresses []string }
			Ports     []servicePort
		}
	}
	if err := k.get(ctx, &slicesOf, "endpointslices", "--selector=kubernetes.io/service-name="+parts[0]); err != nil {
		return netip.AddrPort{}, err
	}
	for _, slice := range slicesOf.Items {
		at := slices.IndexFunc(slice.Ports, func(p servicePort) bool { return p.Name == service.Spec.Ports[i].Name })
		for _, endpoint := range slice.Endpoints {
			for _, own := range s.Hosts()[0].Addresses {
				if address, err := netip.ParseAddr(own); err == nil && at >= 0 && slices.Contains(endpoint.Addresses, own) {
					return netip.AddrPortFrom(address, slice.Ports[at].Port), nil
				}
			}
		}
	}
	return netip.AddrPort{}, explain.Hint(fmt.Errorf("service %s does not lead to pod %s", parts[0], s.hosts[0].pod), "name the labels of a pod of that service, which is ready")
}

// servicePort is a port of a Service, or of what is behind it.
type servicePort struct {
	Name, Protocol string
	Port           uint16
}
