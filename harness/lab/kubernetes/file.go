package kubernetes

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"connbench/clients/addresses"
	"connbench/harness/config"
	"connbench/harness/lab/paper"
	"connbench/harness/record"
)

// File is a lab file: how the pods of a run are made, and where.
type File struct {
	// Kind is the kind of lab, which has been looked at already.
	Kind string `toml:"kind"`
	// Kubeconfig and Context are passed to kubectl; "" leaves the choice to kubectl.
	Kubeconfig string `toml:"kubeconfig"`
	Context    string `toml:"context"`
	// Namespace is where the pods are made; "" is the context's.
	Namespace string `toml:"namespace"`
	// Image is what the pods run: any with a shell and sha256sum.
	Image string `toml:"image"`
	// PullSecrets are the names of secrets that it takes to pull the image.
	PullSecrets []string `toml:"pull_secrets"`
	// ReadySeconds is how long all pods may take until they run.
	ReadySeconds int `toml:"ready_seconds"`
	// SameNode lets the server share a node with clients, and with other runs.
	SameNode bool `toml:"same_node"`
	// HostNetwork has pods use their node's network in place of one of their own.
	HostNetwork bool `toml:"host_network"`

	Server  Pods    `toml:"server"`
	Clients Clients `toml:"clients"`

	name string
	// given are the labels of the pods that are the server, if they are there already.
	given string
}

// Pods say what the pods of one role are like. What has a type of Kubernetes' own is
// handed on as it is.
type Pods struct {
	// Requests and Limits are the container's resources: cpu, memory and so on.
	Requests map[string]string `toml:"requests"`
	Limits   map[string]string `toml:"limits"`
	// NodeSelector, Tolerations and Affinity say which nodes the pods may run on.
	NodeSelector map[string]string `toml:"node_selector"`
	Tolerations  []map[string]any  `toml:"tolerations"`
	Affinity     map[string]any    `toml:"affinity"`
	// Annotations are the pods': what gives them further networks reads those.
	Annotations map[string]string `toml:"annotations"`
	// Sysctls are set in the network of each pod.
	Sysctls map[string]string `toml:"sysctls"`
	// Addresses are prefixes: connections use those of a pod's addresses that are in one
	// of them. None is the pod's first address.
	Addresses []string `toml:"addresses"`
}

// Clients are the pods of the swarm.
type Clients struct {
	Pods
	// Count is the number of pods.
	Count int `toml:"count"`
}

// Bounds of a lab, and what a file leaves out.
const (
	mostClients         = 1000
	defaultImage        = "docker.io/library/debian:12-slim"
	defaultReadySeconds = 180
	mostReadySeconds    = 3600
)

// Read reads a lab file. Its errors are mistakes in the file, each with its place.
func Read(file string) (File, error) {
	f := File{name: file, Image: defaultImage, ReadySeconds: defaultReadySeconds, Clients: Clients{Count: 1}}
	return f, config.Read(file, &f, func() []string {
		if f.Kubeconfig != "" && !filepath.IsAbs(f.Kubeconfig) {
			f.Kubeconfig = filepath.Join(filepath.Dir(file), f.Kubeconfig)
		}
		return f.problems()
	})
}

// onPaper is the lab that a file describes. Each pod has at least one address.
func onPaper(file string) (paper.Lab, error) {
	f, err := Read(file)
	if err != nil {
		return paper.Lab{}, err
	}
	p := paper.Lab{
		Clients: f.Clients.Count, Sources: f.Clients.Count, Targets: 1,
		PortRange: f.Clients.Sysctls["net.ipv4.ip_local_port_range"],
	}
	if p.Server, err = f.Server.resources(); err != nil {
		return p, fmt.Errorf("%s: server.%w", file, err)
	}
	if p.Client, err = f.Clients.resources(); err != nil {
		return p, fmt.Errorf("%s: clients.%w", file, err)
	}
	return p, nil
}

// resources are what a pod may use: its limits, or what it requests where it has none.
func (p Pods) resources() (r paper.Resources, err error) {
	read := func(name string) (x float64) {
		key, text := "limits."+name, p.Limits[name]
		if text == "" {
			key, text = "requests."+name, p.Requests[name]
		}
		if text == "" || err != nil {
			return 0
		}
		if x, err = quantity(text); err != nil {
			err = fmt.Errorf("%s: %w", key, err)
		}
		return x
	}
	r.Cores, r.MemoryBytes = read("cpu"), int64(read("memory"))
	return r, err
}

// suffixes are those of a quantity, https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
var suffixes = map[string]float64{
	"n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
	"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "Pi": 1 << 50, "Ei": 1 << 60,
}

// quantity reads a number as Kubernetes writes it: "500m", "16Gi", "1e9".
func quantity(text string) (float64, error) {
	number := strings.TrimRightFunc(text, unicode.IsLetter)
	unit, known := suffixes[text[len(number):]]
	if number == text {
		unit, known = 1, true
	}
	x, err := strconv.ParseFloat(number, 64)
	if !known || err != nil || !(x > 0 && x*unit < 1<<60) {
		return 0, fmt.Errorf("%q is no quantity such as 500m or 16Gi", text)
	}
	return x * unit, nil
}

func (f File) ready() time.Duration { return time.Duration(f.ReadySeconds) * time.Second }

// What names may be: of a namespace (RFC 1123), of a sysctl, with dots or slashes, and of
// an image, for which more is the registry's to say.
var (
	namespaceName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	sysctlName    = regexp.MustCompile(`^[a-z0-9]([-_a-z0-9]*[./])*[-_a-z0-9]+$`)
	imageName     = regexp.MustCompile(`^[^\s-]\S*$`)
)

// problems are all that makes no sense, a line each, which begins with the key.
func (f File) problems() (list []string) {
	wrong := func(is bool, format string, args ...any) {
		if is {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	wrong(f.Namespace != "" && !namespaceName.MatchString(f.Namespace), "namespace is %q: it is not a valid namespace name", f.Namespace)
	wrong(!imageName.MatchString(f.Image), "image is %q: it is not a valid image name", f.Image)
	wrong(f.ReadySeconds < 1 || f.ReadySeconds > mostReadySeconds, "ready_seconds is %d: it must be from 1 to %d", f.ReadySeconds, mostReadySeconds)
	wrong(f.Clients.Count < 1 || f.Clients.Count > mostClients, "clients.count is %d: it must be from 1 to %d", f.Clients.Count, mostClients)
	if f.Kubeconfig != "" {
		_, err := os.Stat(f.Kubeconfig)
		wrong(err != nil, "kubeconfig: %v", err)
	}
	for _, s := range f.sets() {
		for _, name := range slices.Sorted(maps.Keys(s.Sysctls)) {
			wrong(!sysctlName.MatchString(name), "%s.sysctls has %q: it is not a valid sysctl name", s.key, name)
		}
		wrong(f.HostNetwork && len(s.Sysctls) > 0, "%s.sysctls: with host_network they are the node's, which no pod may set", s.key)
		for _, text := range s.Addresses {
			_, err := addresses.ParsePrefix(text)
			wrong(err != nil, "%s.addresses: %v", s.key, err)
		}
	}
	return list
}

// set are the pods of one role.
type set struct {
	Pods
	role  string
	count int
	key   string // of their table in the file
	given string // the labels by which pods are found that are not made; "" for those that are
}

// sets are all pods of the lab, the server's first.
func (f File) sets() []set {
	return []set{
		{Pods: f.Server, role: record.RoleServer, count: 1, key: "server", given: f.given},
		{Pods: f.Clients.Pods, role: record.RoleClient, count: f.Clients.Count, key: "clients"},
	}
}

// made are those of the sets that the run makes.
func (f File) made() []set {
	return slices.DeleteFunc(f.sets(), func(s set) bool { return s.given != "" })
}

// host is the name of one of the pods as a host of the lab.
func (s set) host(i int) string {
	if s.role == record.RoleServer {
		return s.role
	}
	return fmt.Sprint(s.role, i+1)
}
