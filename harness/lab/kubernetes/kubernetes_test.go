package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"connbench/clients/control"
	"connbench/harness/explain"
	"connbench/harness/lab"
)

// cluster is a fake kubectl: a script, and a folder with its answers and with the commands that
// it got.
type cluster struct{ folder string }

// played is the script. What it prints for `get pods` and `get events` lies in files, of
// which those with a number are for one time each; with a file "create", `create` fails
// and says its text, and so do "delete" and "exec", whose input nobody holds.
const played = `#!/bin/sh
cd %q || exit
echo "$@" >>said
for word; do
	case $word in
	create) cat >created; [ ! -e create ] || { cat create >&2; exit 1; }; echo job.batch/x created; exit ;;
	patch) touch patched; exit ;;
	pods) for next in pods.* pods; do [ ! -e $next ] || break; done; cat $next; [ $next = pods ] || rm $next; exit ;;
	service) cat service; exit ;;
	endpointslices) cat endpointslices; exit ;;
	events) cat events 2>/dev/null || echo '{"items": []}'; exit ;;
	delete) touch deleted; [ ! -e delete ] || { cat delete >&2; exit 1; }; exit ;;
	exec) [ "$2" = --stdin ] || { [ ! -e exec ] || { cat exec >&2; exit 1; }; exit; }; cat; echo >>released; exit ;;
	esac
done
exit 3
`

func play(t *testing.T) cluster {
	t.Helper()
	before := lookEvery
	t.Cleanup(func() { lookEvery = before })
	lookEvery = 10 * time.Millisecond
	folder := t.TempDir()
	c := cluster{folder}
	c.write(t, "kubectl", fmt.Sprintf(played, folder))
	if err := os.Chmod(filepath.Join(folder, "kubectl"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
	return c
}

func (c cluster) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(c.folder, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (c cluster) read(name string) string {
	text, _ := os.ReadFile(filepath.Join(c.folder, name))
	return string(text)
}

// lab is a lab file of two clients.
func (c cluster) lab(t *testing.T, more string) File {
	t.Helper()
	c.write(t, "lab.toml", "kind = \"kubernetes\"\nready_seconds = 1\n"+more+"\n[clients]\ncount = 2\n")
	f, err := Read(filepath.Join(c.folder, "lab.toml"))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// What the cluster says of pods.
const (
	running        = `"phase": "Running", "podIP": "10.0.0.%d", "containerStatuses": [{"ready": true}]`
	unscheduledPod = `"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: 1 Insufficient cpu."}]`
	unpulled       = `"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull", "message": "no such host"}}}]`
	noShell        = `"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"reason": "StartError", "message": "exec: \"/bin/sh\": no such file or directory"}}}]`
	creating       = `"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]`
	evicted        = `"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."`
	sysctl         = `"phase": "Failed", "reason": "SysctlForbidden", "message": "forbidden sysctl: \"%s\" not allowlisted"`
)

// podOf is a pod of a role as the API has it.
func podOf(role string, index int, name, status, more string) string {
	return fmt.Sprintf(`{"metadata": {"name": %q, "labels": {"connbench/role": %q}, "annotations": {"batch.kubernetes.io/job-completion-index": "%d"}%s}, "status": {%s}}`, name, role, index, more, status)
}

func podsOf(pods ...string) string { return `{"items": [` + strings.Join(pods, ",") + `]}` }

var (
	serverPod = podOf("server", 0, "server-0", fmt.Sprintf(running, 1), "")
	firstPod  = podOf("client", 0, "client-0", fmt.Sprintf(running, 2), "")
	secondPod = podOf("client", 1, "client-1", fmt.Sprintf(running, 3), "")
	allPods   = podsOf(serverPod, firstPod, secondPod)
)

func TestPodsBecomeHosts(t *testing.T) {
	c := play(t)
	c.write(t, "pods.1", podsOf(serverPod))
	c.write(t, "pods.2", podsOf(serverPod, podOf("client", 0, "client-0", creating, ""), secondPod))
	c.write(t, "pods", allPods)
	f := c.lab(t, "context = \"there\"\nnamespace = \"mine\"")
	f.ReadySeconds = 60
	s, err := open(t.Context(), f, lab.Options{Engine: control.EngineSocket})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, spec := range s.Hosts() {
		got = append(got, fmt.Sprint(spec.Name, spec.Roles, spec.Addresses, spec.Sources))
	}
	if want := []string{"server[server] [10.0.0.1] []", "client1[client] [] [10.0.0.2]", "client2[client] [] [10.0.0.3]"}; !slices.Equal(got, want) {
		t.Errorf("hosts %q, want %q", got, want)
	}
	s.Close()
	for line := range strings.Lines(c.read("said")) {
		if !strings.HasPrefix(line, "--context=there --namespace=mine ") {
			t.Errorf("kubectl was called as %s", line)
		}
	}
	if c.read("said") == "" || !strings.Contains(c.read("said"), "delete jobs --selector=connbench/run=") {
		t.Errorf("kubectl was told %s", c.read("said"))
	}
}

// A pod that never runs ends the lab, with the words of the cluster and a hint, and nothing
// of it stays.
func TestPodsThatDoNotRun(t *testing.T) {
	for name, test := range map[string]struct {
		pods, events string
		want, hint   string
	}{
		"scheduler":  {podsOf(serverPod, podOf("client", 0, "x", unscheduledPod, ""), secondPod), "", "host client1: after 1s it is not scheduled: 0/1 nodes are available: 1 Insufficient cpu.", "node_selector"},
		"image":      {podsOf(podOf("server", 0, "x", unpulled, "")), "", "host server: its image cannot be pulled: no such host", "pull_secrets"},
		"no shell":   {podsOf(serverPod, podOf("client", 0, "x", noShell, "")), "", `host client1: its container does not start: exec: "/bin/sh": no such file or directory`, "/bin/sh"},
		"evicted":    {podsOf(podOf("server", 0, "x", evicted, "")), "", "host server: after 1s it has ended: Evicted: The node was low on resource: memory.", "ready_seconds"},
		"no network": {podsOf(serverPod, firstPod, podOf("client", 1, "x", creating, "")), `{"items": [{"message": "old"}, {"message": "no plugin\nfor networks"}]}`, "host client2: after 1s it does not run: no plugin for networks", "ready_seconds"},
		"quota":      {podsOf(serverPod), `{"items": [{"message": "exceeded quota: small"}]}`, "host client1: the cluster makes no pod for it: exceeded quota: small", "namespace"},
		"no pods":    {podsOf(), "", "host server: after 1s the cluster has made no pod for it", "ready_seconds"},
		"no answer":  {"nonsense", "", "kubectl get: ", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := play(t)
			c.write(t, "pods", test.pods)
			if test.events != "" {
				c.write(t, "events", test.events)
			}
			_, err := open(t.Context(), c.lab(t, ""), lab.Options{Engine: control.EngineSocket})
			if err == nil || !strings.HasPrefix(err.Error(), filepath.Join(c.folder, "lab.toml")+": "+test.want) || !strings.Contains(explain.HintOf(err), test.hint) {
				t.Errorf("error %v, hint %q", err, explain.HintOf(err))
			}
			if _, err := os.Stat(filepath.Join(c.folder, "deleted")); err != nil {
				t.Error("the pods were not removed")
			}
			looks, asked := strings.Count(c.read("said"), "get --output=json pods"), strings.Count(c.read("said"), "reason=FailedCreate")
			if jobs := 2; asked > jobs*looks {
				t.Errorf("%d looks at pods took %d at the events of %d jobs", looks, asked, jobs)
			}
		})
	}
}

// All sysctls that a cluster forbids are named at once.
func TestForbiddenSysctls(t *testing.T) {
	c := play(t)
	c.write(t, "pods.1", podsOf(podOf("server", 0, "x", fmt.Sprintf(sysctl, "kernel.msgmax"), "")))
	c.write(t, "pods.2", podsOf(serverPod, podOf("client", 1, "x", fmt.Sprintf(sysctl, "net.ipv4.tcp_mem"), "")))
	c.write(t, "pods", allPods)
	f := c.lab(t, "")
	f.Server.Sysctls = map[string]string{"kernel.msgmax": "1", "net.core.somaxconn": "4096"}
	f.Clients.Sysctls = map[string]string{"net.ipv4.tcp_mem": "1 2 3"}
	_, err := open(t.Context(), f, lab.Options{Engine: control.EngineSocket})
	if err == nil || !strings.HasSuffix(err.Error(), "the cluster forbids the sysctls kernel.msgmax (server.sysctls), net.ipv4.tcp_mem (clients.sysctls)") || !strings.Contains(explain.HintOf(err), "--allowed-unsafe-sysctls") {
		t.Errorf("error %v, hint %q", err, explain.HintOf(err))
	}
	if created := c.read("created"); strings.Contains(created, "kernel.msgmax") || !strings.Contains(created, "net.core.somaxconn") {
		t.Errorf("the last pods are %s", created)
	}
}

// Clusters that cannot be used, in a line each; where nothing was made, nothing is removed.
func TestNoAccess(t *testing.T) {
	for said, test := range map[string]struct{ want, hint string }{
		"E1128 08:24:23.1 1 memcache.go:265] \"Unhandled Error\"\nThe connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?\n":                                               {"kubectl: The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?", "this must work: kubectl get pods"},
		"Error from server (Forbidden): error when creating \"STDIN\": jobs.batch is forbidden: User \"guest\" cannot create resource\n":                                                                          {"kubectl: Error from server (Forbidden): jobs.batch is forbidden", "README.md"},
		"error: error validating \"STDIN\": error validating data: Get \"https://127.0.0.1:1/openapi/v2\": connection refused; if you choose to ignore these errors, turn validation off with --validate=false\n": {`kubectl: Get "https://127.0.0.1:1/openapi/v2": connection refused`, "this must work: kubectl get pods"},
		"error: context \"there\" does not exist\n": {`kubectl: context "there" does not exist`, "this must work: kubectl get pods"},
	} {
		c := play(t)
		c.write(t, "create", said)
		_, err := open(t.Context(), c.lab(t, ""), lab.Options{Engine: control.EngineSocket})
		if err == nil || !strings.Contains(err.Error(), "lab.toml: "+test.want) || !strings.Contains(explain.HintOf(err), test.hint) {
			t.Errorf("error %v, hint %q", err, explain.HintOf(err))
		}
		if _, err := os.Stat(filepath.Join(c.folder, "deleted")); err == nil {
			t.Error("something was removed")
		}
	}
	t.Setenv("PATH", t.TempDir())
	_, err := open(t.Context(), File{name: "lab.toml"}, lab.Options{Engine: control.EngineSocket})
	if err == nil || err.Error() != "lab.toml: kubectl is missing here: a lab of kind kubernetes needs it" || explain.HintOf(err) == "" {
		t.Errorf("error %v", err)
	}
}

// One that is interrupted while its pods come up removes them.
func TestInterruptedWhilePodsComeUp(t *testing.T) {
	c := play(t)
	c.write(t, "pods", podsOf())
	f := c.lab(t, "")
	f.ReadySeconds = 3600
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for c.read("said") == "" || !strings.Contains(c.read("said"), "get --output=json pods") {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	if _, err := open(ctx, f, lab.Options{Engine: control.EngineSocket}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(filepath.Join(c.folder, "deleted")); err != nil {
		t.Error("the pods were not removed")
	}
}

// A host whose pod was replaced is the new pod.
func TestPodIsReplaced(t *testing.T) {
	c := play(t)
	c.write(t, "pods", allPods)
	opened, err := open(t.Context(), c.lab(t, ""), lab.Options{Engine: control.EngineSocket})
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	s := opened.(*site)
	going := `, "deletionTimestamp": "2026-01-01T00:00:00Z"`
	for _, test := range []struct{ pods, want string }{
		{podsOf(serverPod), "host client2: its pod is gone"},
		{podsOf(podOf("client", 1, "client-1", fmt.Sprintf(running, 3), going)), "host client2: its pod is gone"},
		{podsOf(podOf("client", 1, "client-1-b", unscheduledPod, "")), "host client2: it is not scheduled: 0/1 nodes"},
		{podsOf(podOf("client", 1, "client-1-b", evicted, "")), "host client2: it has ended: Evicted"},
		{podsOf(
			podOf("client", 1, "client-1-c", fmt.Sprintf(running, 9), `, "creationTimestamp": "2026-01-02T00:00:00Z"`),
			podOf("client", 1, "client-1-b", evicted, `, "creationTimestamp": "2026-01-01T00:00:00Z"`),
			podOf("client", 1, "client-1", fmt.Sprintf(running, 3), going),
		), ""},
	} {
		c.write(t, "pods", test.pods)
		err := s.find(t.Context(), s.hosts[2])
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.HasPrefix(err.Error(), test.want)) {
			t.Errorf("error %v, want %q", err, test.want)
		}
	}
	if spec := s.Hosts()[2]; s.hosts[2].pod != "client-1-c" || !slices.Equal(spec.Sources, []string{"10.0.0.9"}) {
		t.Errorf("pod %s at %v", s.hosts[2].pod, spec.Sources)
	}
	s.beatFailed = errors.New("Unauthorized")
	c.write(t, "pods", podsOf())
	if err := s.find(t.Context(), s.hosts[2]); err == nil || !strings.Contains(err.Error(), "its deadline could not be extended: Unauthorized") {
		t.Errorf("error %v", err)
	}
}

// The deadline of the jobs moves on as the run lives.
func TestDeadlineMoves(t *testing.T) {
	c := play(t)
	s := &site{file: c.lab(t, ""), run: "r"}
	s.kubectl = s.file.kubectl()
	if err := s.moveDeadline(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	if said, want := c.read("said"), `patch jobs connbench-r-server connbench-r-client --patch={"spec":{"activeDeadlineSeconds":3645}}`; !strings.Contains(said, want) {
		t.Errorf("kubectl was told %s, want %s", said, want)
	}
}

// What a file asks of pods is in the jobs.
func TestJobs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lab.toml")
	text := `
image = "example/image:1"
pull_secrets = ["registry"]
[server]
requests = { cpu = "2", memory = "4Gi" }
node_selector = { disk = "ssd" }
annotations = { "k8s.v1.cni.cncf.io/networks" = "fast" }
[server.affinity.podAntiAffinity]
requiredDuringSchedulingIgnoredDuringExecution = [{ topologyKey = "zone" }]
[clients]
count = 3
limits = { memory = "1Gi" }
sysctls = { "net.ipv4.ip_local_port_range" = "1024 65535" }
[[clients.tolerations]]
key = "dedicated"
operator = "Exists"
`
	jobsOf := func(more string) []map[string]any {
		t.Helper()
		if err := os.WriteFile(file, []byte(more+text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := Read(file)
		if err != nil {
			t.Fatal(err)
		}
		made, err := jobs(f, "r")
		if err != nil {
			t.Fatal(err)
		}
		var list struct{ Items []map[string]any }
		if err := json.Unmarshal(made, &list); err != nil {
			t.Fatal(err)
		}
		return list.Items
	}
	// at is what a path of keys leads to, as JSON.
	at := func(value any, path string) string {
		for key := range strings.SplitSeq(path, ".") {
			switch node := value.(type) {
			case map[string]any:
				value = node[key]
			case []any:
				value = node[0]
			}
		}
		text, _ := json.Marshal(value)
		return string(text)
	}
	items := jobsOf("")
	const pod = "spec.template.spec."
	const anti = pod + "affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution"
	for _, test := range []struct {
		item int
		path string
		want string
	}{
		{0, "metadata.name", `"connbench-r-server"`},
		{1, "spec.completions", "3"},
		{1, "spec.ttlSecondsAfterFinished", "0"},
		{1, "spec.activeDeadlineSeconds", "45"},
		{1, "spec.template.metadata.labels", `{"app.kubernetes.io/name":"connbench","connbench/role":"client","connbench/run":"r"}`},
		{0, "spec.template.metadata.annotations", `{"k8s.v1.cni.cncf.io/networks":"fast"}`},
		{0, pod + "containers.0.image", `"example/image:1"`},
		{0, pod + "containers.0.resources.requests", `{"cpu":"2","memory":"4Gi"}`},
		{1, pod + "containers.0.resources.limits", `{"memory":"1Gi"}`},
		{0, pod + "nodeSelector", `{"disk":"ssd"}`},
		{1, pod + "tolerations", `[{"key":"dedicated","operator":"Exists"}]`},
		{1, pod + "securityContext.sysctls", `[{"name":"net.ipv4.ip_local_port_range","value":"1024 65535"}]`},
		{0, pod + "securityContext", "null"},
		{0, pod + "imagePullSecrets", `[{"name":"registry"}]`},
		{0, pod + "hostNetwork", "null"},
		{0, anti + ".0", `{"topologyKey":"zone"}`},
	} {
		if got := at(items[test.item], test.path); got != test.want {
			t.Errorf("%s is %s, want %s", test.path, got, test.want)
		}
	}
	// Neither role shares a node with the other, or with another run, unless asked for.
	for i, other := range []string{"client", "server"} {
		got := at(items[i], anti)
		if !strings.Contains(got, `{"key":"connbench/role","operator":"In","values":["`+other+`"]}`) || !strings.Contains(got, `{"key":"connbench/run","operator":"NotIn","values":["r"]}`) {
			t.Errorf("away from %s", got)
		}
	}
	items = jobsOf("same_node = true\n")
	if got := at(items[0], anti); got != `[{"topologyKey":"zone"}]` {
		t.Errorf("away from %s", got)
	}
	if got := at(items[1], pod+"affinity"); got != "null" {
		t.Errorf("affinity of clients: %s", got)
	}
}

// Connections use the addresses of a pod that the file names.
func TestAddressesOfAPod(t *testing.T) {
	var p pod
	text := podOf("server", 0, "x", `"podIP": "10.1.0.5", "podIPs": [{"ip": "10.1.0.5"}, {"ip": "fd00::5"}]`, "")
	text = strings.Replace(text, `"annotations": {`, `"annotations": {"k8s.v1.cni.cncf.io/network-status": "[{\"ips\": [\"10.1.0.5\"]}, {\"name\": \"fast\", \"ips\": [\"192.168.7.5\", \"192.168.8.5\"]}]", `, 1)
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		prefixes, want []string
		problem        string
	}{
		{nil, []string{"10.1.0.5"}, ""},
		{[]string{"fd00::/8"}, []string{"fd00::5"}, ""},
		{[]string{"192.168.0.0/16"}, []string{"192.168.7.5", "192.168.8.5"}, ""},
		{[]string{"10.0.0.0/8", "192.168.8.5"}, []string{"10.1.0.5", "192.168.8.5"}, ""},
		{[]string{"172.16.0.0/12"}, nil, "it has no address in 172.16.0.0/12, but 10.1.0.5, fd00::5"},
	} {
		got, err := p.addresses(test.prefixes)
		if !slices.Equal(got, test.want) || (err == nil) != (test.problem == "") || err != nil && !strings.HasPrefix(err.Error(), test.problem) {
			t.Errorf("%v: %v, error %v", test.prefixes, got, err)
		}
	}
}

// chatPod is a pod that is there before the run.
func chatPod(name, address, more string) string {
	return fmt.Sprintf(`{"metadata": {"name": %q%s}, "status": {"phase": "Running", "podIP": %q, "containerStatuses": [{"ready": true}]}}`, name, more, address)
}

// withChat is a lab file whose server is the pods of a chat.
func (c cluster) withChat(t *testing.T) File {
	f := c.lab(t, "")
	f.given = "app=chat,tier=front"
	return f
}

// openChat opens the lab with these pods.
func (c cluster) openChat(t *testing.T, pods ...string) *site {
	t.Helper()
	c.write(t, "pods.1", podsOf(pods...))
	c.write(t, "pods", allPods)
	opened, err := open(t.Context(), c.withChat(t), lab.Options{Engine: control.EngineSocket})
	if err != nil {
		t.Fatal(err)
	}
	return opened.(*site)
}

// Pods that are there already are the server: none is made for it.
func TestServerIsPodsThatAreThere(t *testing.T) {
	c := play(t)
	going := `, "deletionTimestamp": "2026-01-01T00:00:00Z"`
	c.write(t, "pods", podsOf(chatPod("chat-1", "10.0.0.7", going), podOf("", 0, "chat-2", creating, "")))
	if _, err := open(t.Context(), c.withChat(t), lab.Options{Engine: control.EngineSocket}); err == nil || !strings.Contains(err.Error(), "host server: no running pod has the labels app=chat,tier=front") || explain.HintOf(err) != "this must list it: kubectl get pods --selector=app=chat,tier=front" {
		t.Errorf("error %v, hint %q", err, explain.HintOf(err))
	}
	if c.read("created") != "" {
		t.Errorf("made are %s", c.read("created"))
	}
	for _, test := range []struct{ pods, want []string }{
		{[]string{chatPod("chat-1", "10.0.0.7", "")}, []string{"server[server] [10.0.0.7]", "client1[client] []", "client2[client] []"}},
		{
			[]string{chatPod("chat-2", "10.0.0.8", ""), chatPod("chat-3", "10.0.0.9", going), chatPod("chat-1", "10.0.0.7", "")},
			[]string{"server-chat-1[server] [10.0.0.7]", "server-chat-2[server] [10.0.0.8]", "client1[client] []", "client2[client] []"},
		},
	} {
		s := c.openChat(t, test.pods...)
		var got []string
		for _, spec := range s.Hosts() {
			got = append(got, fmt.Sprint(spec.Name, spec.Roles, spec.Addresses))
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("hosts %q, want %q", got, test.want)
		}
		s.Close()
	}
	if made := c.read("created"); strings.Contains(made, "-server") || !strings.Contains(made, `"matchLabels":{"app":"chat","tier":"front"}`) {
		t.Errorf("made are %s", made)
	}
	for _, text := range []string{"app", "app!=chat", "app=chat,", "app in (a, b)"} {
		if given.MatchString(text) {
			t.Errorf("%q is taken for labels", text)
		}
	}
}

// Connections to a Service go to each of the server's pods.
func TestServiceLeadsToPods(t *testing.T) {
	c := play(t)
	one := c.openChat(t, chatPod("chat-1", "10.0.0.7", ""))
	defer one.Close()
	two := c.openChat(t, chatPod("chat-1", "10.0.0.7", ""), chatPod("chat-2", "10.0.0.8", ""))
	defer two.Close()
	c.write(t, "service", `{"spec": {"ports": [{"name": "quic", "protocol": "UDP", "port": 80}, {"name": "web", "protocol": "TCP", "port": 80}, {"name": "admin", "port": 81}, {"name": "old", "port": 83}]}}`)
	c.write(t, "endpointslices", `{"items": [
		{"endpoints": [{"addresses": ["10.0.0.9"]}, {"addresses": ["10.0.0.8"]}], "ports": [{"name": "web", "port": 8081}]},
		{"endpoints": [{"addresses": ["10.0.0.7"]}], "ports": [{"name": "web", "port": 8080}, {"name": "old", "port": 8083}]}]}`)
	for _, test := range []struct {
		site *site
		name string
		port uint16
		want string
	}{
		{one, "chat.default.svc", 80, "[10.0.0.7:8080]"},
		{one, "chat", 80, "[10.0.0.7:8080]"},
		{one, "10.0.0.7", 8080, "[10.0.0.7:8080]"},
		{one, "chat.default.svc", 82, "service chat has no port 82"},
		{one, "chat.default.svc", 81, "service chat does not lead to pod chat-1"},
		{two, "chat", 80, "[10.0.0.7:8080 10.0.0.8:8081]"},
		{two, "chat", 83, "service chat does not lead to pod chat-2"},
		{two, "10.0.0.7", 8080, "10.0.0.7 is one address, and 2 pods have the labels app=chat,tier=front"},
	} {
		got, err := test.site.Resolve(t.Context(), test.name, test.port)
		if said := fmt.Sprint(got); err == nil && said != test.want || err != nil && err.Error() != test.want {
			t.Errorf("%s port %d: %s, error %v, want %s", test.name, test.port, got, err, test.want)
		}
	}
	if said := c.read("said"); !strings.Contains(said, "--namespace=default --request-timeout=20s get --output=json endpointslices --selector=kubernetes.io/service-name=chat") {
		t.Errorf("kubectl was told %s", said)
	}
}

// A pod of several that was lost is found again, or another one that nobody has.
func TestGivenPodIsReplaced(t *testing.T) {
	c := play(t)
	first, second := chatPod("chat-1", "10.0.0.7", ""), chatPod("chat-2", "10.0.0.8", "")
	s := c.openChat(t, first, second)
	defer s.Close()
	for _, test := range []struct {
		pods      []string
		pod, want string
	}{
		{[]string{first}, "chat-2", "host server-chat-2: pod chat-2 does not run, nor does another one with the labels app=chat,tier=front"},
		{[]string{first, chatPod("chat-0", "10.0.0.9", ""), second}, "chat-2", ""},
		{[]string{first, chatPod("chat-3", "10.0.0.9", "")}, "chat-3", ""},
	} {
		c.write(t, "pods", podsOf(test.pods...))
		err := s.find(t.Context(), s.hosts[1])
		if test.want == "" && err != nil || test.want != "" && (err == nil || err.Error() != test.want || explain.HintOf(err) == "") || s.hosts[1].pod != test.pod {
			t.Errorf("pod %s, error %v, want %s, %q", s.hosts[1].pod, err, test.pod, test.want)
		}
	}
	if spec := s.Hosts()[1]; spec.Name != "server-chat-2" || !slices.Equal(spec.Addresses, []string{"10.0.0.9"}) {
		t.Errorf("%+v", spec)
	}
}

// What was brought to pods that are there is removed, also without Close: with us ends the
// input of what holds a pod.
func TestNothingStaysInPodsThatAreThere(t *testing.T) {
	c := play(t)
	s := c.openChat(t, chatPod("chat-1", "10.0.0.7", ""), chatPod("chat-2", "10.0.0.8", ""))
	for _, h := range []*host{s.hosts[0], s.hosts[1], s.hosts[1]} {
		if h.dialed = true; s.hold(h) != nil {
			t.Fatal("the pod is not held")
		}
	}
	s.Close()
	removes := func(pod string) string {
		return "exec --stdin " + pod + ` -- sh -c cat >/dev/null; rm -rf "$1" sh ` + s.folder() + "\n"
	}
	if said := c.read("said"); c.read("released") != "\n\n" || strings.Count(said, removes("chat-1")) != 1 || strings.Count(said, removes("chat-2")) != 1 || strings.Contains(said, "exec chat-") {
		t.Errorf("released %q, kubectl was told %s", c.read("released"), said)
	}
	// Where the connection was lost, there is another one.
	s = c.openChat(t, chatPod("chat-1", "10.0.0.7", ""))
	s.hosts[0].dialed = true
	if err := s.hold(s.hosts[0]); err != nil {
		t.Fatal(err)
	}
	s.hosts[0].held.process.Kill()
	s.Close()
	if said := c.read("said"); !strings.Contains(said, "exec chat-1 -- rm -rf "+s.folder()+"\n") {
		t.Errorf("kubectl was told %s", said)
	}
}

// The site tells what it could not remove, and the command that removes it.
func TestWhatIsLeftIsTold(t *testing.T) {
	const refused = "The connection to the server 127.0.0.1:1 was refused"
	running, going := podsOf(chatPod("chat-1", "10.0.0.7", ""), chatPod("chat-2", "10.0.0.8", "")), podsOf(chatPod("chat-2", "10.0.0.8", `, "deletionTimestamp": "2026-01-01T00:00:00Z"`))
	inPods := []string{"/tmp/connbench-r was not removed from the pods chat-1, chat-2: kubectl: " + refused, "this removes it from a POD: kubectl --namespace=mine exec POD -- rm -rf /tmp/connbench-r"}
	jobs := []string{"the Jobs of run r were not removed, and may be in the cluster for a minute: kubectl: " + refused, "this removes them: kubectl --namespace=mine delete jobs --selector=connbench/run=r"}
	for name, test := range map[string]struct {
		remove, exec, pods string
		want               []string // each error, with its hint
	}{
		"nothing":               {"", "", running, nil},
		"no cluster":            {refused, refused, "", slices.Concat(inPods, jobs)},
		"Jobs":                  {refused, "", running, jobs},
		"folders":               {"", refused, running, inPods},
		"pods that end":         {"", refused, going, nil},
		"pods that are no more": {"", refused, podsOf(), nil},
	} {
		c := play(t)
		for file, text := range map[string]string{"delete": test.remove, "exec": test.exec, "pods": test.pods} {
			if text != "" {
				c.write(t, file, text)
			}
		}
		var told []string
		f := c.withChat(t)
		f.Namespace = "mine"
		s := &site{file: f, run: "r", made: true, kubectl: f.kubectl(), stopBeating: func() {}, options: lab.Options{
			Left: func(err error) {
				told = append(told, strings.TrimPrefix(err.Error(), f.name+": "), explain.HintOf(err))
			},
		}}
		for _, pod := range []string{"chat-1", "chat-2", "chat-3"} {
			s.hosts = append(s.hosts, &host{pod: pod, set: set{given: f.given}, dialed: pod != "chat-3"})
		}
		s.hosts = append(s.hosts, &host{pod: "client-0", dialed: true})
		s.Close()
		if !slices.Equal(told, test.want) {
			t.Errorf("%s: told %q, want %q", name, told, test.want)
		}
	}
}
