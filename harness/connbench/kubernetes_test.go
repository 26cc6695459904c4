package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"connbench/harness/cause"
	"connbench/harness/lab"
	"connbench/harness/probe"
	"connbench/harness/record"
)

// pods are labs of a cluster that is up: harness/lab/kubernetes/cluster/up.sh runs the test
// next to one.
type pods struct {
	folder, image, guest string
}

// podPlan is a plan for three client pods of 2,000 connections each.
const podPlan = `
title = "Pods"
variants = ["floor"]
classes = ["tuned"]
connections = 6000
[ramp]
steps = 6
timeout_seconds = 60
settled = false
%s
[server]
ready_seconds = 60
[hold]
seconds = %d
`

// podLab is a lab file; all pods are on the one node that the cluster has.
const podLab = `
kind = "kubernetes"
same_node = true
image = %q
ready_seconds = 120
[server]
limits = { memory = "512Mi", cpu = "1500m" }
sysctls = { "net.core.somaxconn" = "8192" }
[clients]
count = 3
sysctls = { "net.ipv4.ip_local_port_range" = "10000 60000" }
`

func TestPods(t *testing.T) {
	p := pods{folder: t.TempDir(), image: os.Getenv("CONNBENCH_TEST_IMAGE"), guest: os.Getenv("CONNBENCH_TEST_GUEST")}
	if p.image == "" {
		t.Skip("needs a cluster: make test-kubernetes brings one up")
	}
	for _, test := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"check", p.check}, {"limits", p.limits}, {"measured", p.measured}, {"lost", p.lost},
		{"attached", p.attached}, {"killed", p.killed}, {"interrupted", p.interrupted}, {"bad input", p.badInput},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.run(t)
			p.clean(t)
		})
	}
}

// file writes a file of the test.
func (p pods) file(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(p.folder, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func (p pods) lab(t *testing.T) string {
	t.Helper()
	return p.file(t, "pods.toml", fmt.Sprintf(podLab, p.image))
}

// kubectl is what it prints.
func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	text, err := exec.Command("kubectl", args...).Output()
	if err != nil {
		t.Fatalf("kubectl %v: %v", args, err)
	}
	return strings.TrimSpace(string(text))
}

// left is what there is in the cluster of a run.
func left(t *testing.T) string {
	t.Helper()
	return kubectl(t, "get", "jobs,pods", "--output=name")
}

// clean fails the test if a run that has ended left something in the cluster.
func (p pods) clean(t *testing.T) {
	t.Helper()
	if found := left(t); found != "" {
		t.Errorf("the cluster still has %s", found)
	}
}

// command is connbench as make has built it.
func (p pods) command(args ...string) *exec.Cmd {
	return exec.Command("../../bin/connbench", args...)
}

// bench is a run with the programs that make built.
func (p pods) bench(t *testing.T, ramp string, hold int, flags ...string) *benchRun {
	t.Helper()
	c := &benchRun{results: filepath.Join(t.TempDir(), "results")}
	plan := p.file(t, "podplan.toml", fmt.Sprintf(podPlan, ramp, hold))
	c.Cmd = p.command(append([]string{"bench", "--lab", p.lab(t), "--plan", plan, "--results", c.results}, flags...)...)
	c.Stdout, c.Stderr = &c.stdout, &c.stderr
	return c
}

// check looks at every pod, and at the ways between them.
func (p pods) check(t *testing.T) {
	text, err := p.command("lab", "check", "--json", p.lab(t)).Output()
	var hosts []lab.Health
	if err == nil {
		err = json.Unmarshal(text, &hosts)
	}
	if err != nil || len(hosts) != 4 {
		t.Fatalf("error %v\n%s", err, text)
	}
	for _, h := range hosts {
		if !h.Reached || len(h.Problems) > 0 || slices.Contains(h.Roles, record.RoleClient) != (h.Connects > 0) {
			t.Errorf("%+v", h)
		}
	}
}

// limits are those of the pod.
func (p pods) limits(t *testing.T) {
	c := p.command("limits", "--lab", p.lab(t), "--connections", "6000")
	text, err := c.CombinedOutput()
	if err != nil {
		t.Errorf("error %v", err)
	}
	if said := string(text); !strings.Contains(said, "memory of the control group") || !strings.Contains(said, "8192") {
		t.Errorf("neither the memory of the server's pod nor its listen queue is in\n%s", said)
	}
}

// sound fails the test unless a trial has all its connections.
func (p pods) sound(t *testing.T, trial record.Trial) {
	t.Helper()
	census := trial.Connections.Census
	switch {
	case !trial.Valid:
		t.Errorf("the trial is invalid: %v", trial.Invalid)
	case *census.Swarm != 6000 || *census.Server != 6000 || *census.Kernel != 6000:
		t.Errorf("connections %+v", trial.Connections)
	case trial.Stop.Reason != cause.Target.Reason:
		t.Errorf("stop %+v", trial.Stop)
	}
}

func (p pods) measured(t *testing.T) {
	c := p.bench(t, "", 1)
	if status := c.exit(t); status != 0 {
		t.Fatalf("exit status %d\n%s", status, c.stderr.String())
	}
	run := c.run(t)
	p.sound(t, asked(run)[0])
	if run.Manifest.LabKind != "kubernetes" || len(run.Manifest.Hosts) != 4 {
		t.Fatalf("a lab of kind %q, %d hosts", run.Manifest.LabKind, len(run.Manifest.Hosts))
	}
	server := run.Manifest.Hosts[0]
	if server.Limits[probe.LimitCgroupMemory] != fmt.Sprint(512<<20) || server.Limits[probe.LimitCgroupCPUs] != "1.5" || server.Sysctls["net.core.somaxconn"] != "8192" {
		t.Errorf("limits %v, somaxconn %s", server.Limits, server.Sysctls["net.core.somaxconn"])
	}
	for i, host := range run.Manifest.Hosts {
		if len(host.Addresses) != 1 || !strings.HasPrefix(host.Addresses[0], "198.18.") || host.Link == "" {
			t.Errorf("%s has the addresses %v and the link %q", host.Name, host.Addresses, host.Link)
		}
		if ports := host.Sysctls["net.ipv4.ip_local_port_range"]; i > 0 && strings.Join(strings.Fields(ports), " ") != "10000 60000" {
			t.Errorf("%s has the ports %q", host.Name, ports)
		}
	}
}

// lost is about a client pod that is deleted in the midst of a trial.
func (p pods) lost(t *testing.T) {
	c := p.bench(t, "rate_per_second = 500", 1, "--rounds", "2")
	c.start(t, "  ramp")
	kubectl(t, "delete", "pods", "--selector=connbench/role=client,batch.kubernetes.io/job-completion-index=1", "--wait=false")
	if status := statusOf(t, c.Wait()); status != 1 {
		t.Errorf("exit status %d, with an invalid trial", status)
	}
	trials := asked(c.run(t))
	if len(trials) != 2 {
		t.Fatalf("%d trials\n%s", len(trials), c.said())
	}
	if said := strings.Join(trials[0].Invalid, "\n"); trials[0].Valid || trials[0].Stop.Reason != cause.HostLost.Reason || !strings.Contains(said, "host client2: ") {
		t.Errorf("stop %+v, invalid because %q", trials[0].Stop, said)
	}
	p.sound(t, trials[1])
}

// chatPod is a replica of a server that somebody else runs in the cluster, and chatService
// leads to all of them.
const (
	chatPod = `
apiVersion: v1
kind: Pod
metadata: {name: chat-%[1]d, labels: {app: chat, replica: "%[1]d"}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: chat
    image: %[2]s
    command: [sh, -c, "until [ -e /tmp/ready ]; do sleep 1; done; tail -f /dev/null | /tmp/floor --listen 0.0.0.0:8080"]
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---`
	chatService = `
apiVersion: v1
kind: Service
metadata: {name: chat}
spec: {selector: {app: chat}, ports: [{port: 80, targetPort: 8080}]}
`
)

// attached is about a server in two pods that are there already.
func (p pods) attached(t *testing.T) {
	chat := p.file(t, "chat.yaml", fmt.Sprintf(chatPod, 1, p.image)+fmt.Sprintf(chatPod, 2, p.image)+chatService)
	kubectl(t, "create", "--filename="+chat)
	defer kubectl(t, "delete", "--ignore-not-found", "--filename="+chat)
	for _, pod := range []string{"chat-1", "chat-2"} {
		p.bringFloor(t, pod)
	}
	attach := func(labels string, flags ...string) *benchRun {
		c := &benchRun{results: filepath.Join(t.TempDir(), "results")}
		c.Cmd = p.command(append([]string{"attach", "ws://chat.default.svc/", "--lab", p.lab(t), "--pods", labels, "--seconds", "0", "--results", c.results}, flags...)...)
		c.Stdout, c.Stderr = &c.stdout, &c.stderr
		return c
	}

	var kernel []float64 // per connection
	for i, labels := range []string{"replica=1", "app=chat"} {
		servers := i + 1
		c := attach(labels, "--connections", "1500", "--hold", "0.1")
		accepted := []int{passiveOpens(t, "chat-1"), passiveOpens(t, "chat-2")}
		if status := c.exit(t); status != 0 {
			t.Fatalf("exit status %d\n%s", status, c.stderr.String())
		}
		for i := range servers {
			pod := fmt.Sprint("chat-", i+1)
			if n := passiveOpens(t, pod) - accepted[i]; n < 1500/servers {
				t.Errorf("of 1500 connections %d were to %s, one of %d pods", n, pod, servers)
			}
			if found := kubectl(t, "exec", pod, "--", "ls", "/tmp"); found != "floor\nready" {
				t.Errorf("pod %s has %q in /tmp", pod, found)
			}
		}
		run := c.run(t)
		trial := run.Trials[0]
		if census := trial.Connections.Census; len(run.Trials) != 1 || !trial.Valid || *census.Swarm != 1500 || *census.Kernel != 1500 {
			t.Errorf("%d pods: %d trials, connections %+v, invalid because %v", servers, len(run.Trials), trial.Connections, trial.Invalid)
		}
		if len(run.Manifest.Hosts) != servers+3 || trial.ServerProcesses != servers {
			t.Errorf("%d pods: %d hosts, %d processes", servers, len(run.Manifest.Hosts), trial.ServerProcesses)
		}
		full, each := trial.Steps[len(trial.Steps)-1], trial.PerConnection
		if full.Descriptors == nil || *full.Descriptors < 1500 || each.RSSBytes == nil || *each.RSSBytes <= 0 || trial.CPU["accept_us"] == nil {
			t.Errorf("%d pods: with all connections %+v, per connection %+v, CPU %v", servers, full, each, trial.CPU)
		}
		if each.KernelBytes != nil {
			kernel = append(kernel, *each.KernelBytes)
		}
		if said := c.stdout.String(); strings.Contains(said, "held all 1,500 connections on 2 hosts.") != (servers == 2) {
			t.Errorf("%d pods: said %s", servers, said)
		}
	}
	// Both pods are on one node, whose kernel counts once.
	if len(kernel) == 2 && kernel[1] > 1.5*kernel[0] {
		t.Errorf("a connection takes %.0f bytes of the kernel with one pod, and %.0f with two", kernel[0], kernel[1])
	}

	lost := attach("app=chat", "--connections", "2000", "--rate", "100")
	lost.start(t, "  ramp")
	kubectl(t, "delete", "pod", "chat-2", "--wait=false")
	if status := statusOf(t, lost.Wait()); status != 1 {
		t.Errorf("exit status %d, with an invalid trial", status)
	}
	trial := lost.run(t).Trials[0]
	if said := strings.Join(trial.Invalid, "\n"); trial.Valid || trial.Stop.Reason != cause.HostLost.Reason || !strings.Contains(said, "host server-chat-2: ") {
		t.Errorf("stop %+v, invalid because %q\n%s", trial.Stop, said, lost.said())
	}
	if found := kubectl(t, "exec", "chat-1", "--", "ls", "/tmp"); found != "floor\nready" {
		t.Errorf("the pod that stayed has %q in /tmp", found)
	}
}

// bringFloor brings the server into a pod, and waits until it is ready.
func (p pods) bringFloor(t *testing.T, pod string) {
	t.Helper()
	kubectl(t, "wait", "--for=jsonpath={.status.phase}=Running", "--timeout=120s", "pod/"+pod)
	program, err := os.Open("../../bin/servers/floor-tuned")
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	bring := exec.Command("kubectl", "exec", "--stdin", pod, "--", "sh", "-c", "cat >/tmp/floor && chmod 755 /tmp/floor && touch /tmp/ready")
	bring.Stdin = program
	if said, err := bring.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	kubectl(t, "wait", "--for=condition=Ready", "--timeout=120s", "pod/"+pod)
}

// passiveOpens is the number of connections that a pod has ever accepted.
func passiveOpens(t *testing.T, pod string) int {
	t.Helper()
	const place = 6 // of PassiveOpens in the second line of Tcp
	fields := strings.Fields(kubectl(t, "exec", pod, "--", "sh", "-c", "grep ^Tcp: /proc/net/snmp | tail -n 1"))
	n, err := strconv.Atoi(fields[place])
	if err != nil {
		t.Fatalf("%q: %v", fields, err)
	}
	return n
}

// killed is about a run that cannot clean up: its pods go by themselves. The bound is for what
// the API server notes as the time when they were to go, so that neither a slow end of pods nor
// a slow look at them counts.
func (p pods) killed(t *testing.T) {
	const promised = time.Minute
	c := p.bench(t, "", 3600)
	c.start(t, "  hold")
	if found := left(t); strings.Count(found, "pod/") != 4 {
		t.Fatalf("the cluster has %s", found)
	}
	going := watchPods(t)
	killed := time.Now()
	c.Process.Signal(syscall.SIGKILL)
	c.Wait()
	deleted := going.all(t, 4)
	for pod, at := range deleted {
		after := at.Sub(killed)
		t.Logf("pod %s was deleted %.0f s after kill -9", pod, after.Seconds())
		if after > promised {
			t.Errorf("pod %s was deleted %s after kill -9, and a minute is promised", pod, after)
		}
	}
	kubectl(t, "wait", "--for=delete", "--timeout=120s", "jobs", "--all") // which p.clean asks for
}

// podWatch is a kubectl that says what happens to pods.
type podWatch struct {
	*exec.Cmd
	events *json.Decoder
}

func watchPods(t *testing.T) podWatch {
	t.Helper()
	w := podWatch{Cmd: exec.Command("kubectl", "get", "pods", "--watch", "--output-watch-events", "--output=json")}
	output, err := w.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.Process.Kill()
		w.Wait()
	})
	w.events = json.NewDecoder(output)
	return w
}

// all waits until so many pods are gone, and returns when each was told to go: its deletion
// time less the time that it has for it (metadata of the API's objects).
func (w podWatch) all(t *testing.T, pods int) map[string]time.Time {
	t.Helper()
	hang := time.AfterFunc(5*time.Minute, func() { w.Process.Kill() })
	defer hang.Stop()
	deleted := map[string]time.Time{}
	for gone := 0; gone < pods; {
		var event struct {
			Type   string
			Object struct {
				Metadata struct {
					Name                       string
					DeletionTimestamp          time.Time
					DeletionGracePeriodSeconds int
				}
			}
		}
		if err := w.events.Decode(&event); err != nil {
			t.Fatalf("%d of %d pods are gone, and were told so at %v: %v", gone, pods, deleted, err)
		}
		m := event.Object.Metadata
		if _, known := deleted[m.Name]; !known && !m.DeletionTimestamp.IsZero() {
			deleted[m.Name] = m.DeletionTimestamp.Add(-time.Duration(m.DeletionGracePeriodSeconds) * time.Second)
		}
		if event.Type == "DELETED" {
			gone++
		}
	}
	return deleted
}

func (p pods) interrupted(t *testing.T) {
	c := p.bench(t, "", 3600)
	c.start(t, "  hold")
	c.Process.Signal(syscall.SIGINT)
	if status := statusOf(t, c.Wait()); status != 1 {
		t.Errorf("exit status %d\n%s", status, c.said())
	}
}

// badInput is one line each, with a hint, and nothing is left of it.
func (p pods) badInput(t *testing.T) {
	closed := p.file(t, "closed", strings.ReplaceAll(readFile(t, os.Getenv("KUBECONFIG")), ":6443", ":1"))
	stranger := p.file(t, "stranger", strings.Replace(readFile(t, os.Getenv("KUBECONFIG")), "token: \"", "token: \"x", 1))
	for name, test := range map[string]struct {
		from, to   string
		path       string // "" is this test's
		want, hint string
	}{
		"no kubectl":   {path: p.folder, want: "kubectl is missing here", hint: "install it"},
		"no server":    {from: "same_node", to: fmt.Sprintf("kubeconfig = %q\nsame_node", closed), want: "dial tcp 127.0.0.1:1: connect: connection refused", hint: "this must work: kubectl --kubeconfig="},
		"no such user": {from: "same_node", to: fmt.Sprintf("kubeconfig = %q\nsame_node", stranger), want: "provide credentials", hint: "this must work: kubectl --kubeconfig="},
		"no rights":    {from: "same_node", to: fmt.Sprintf("kubeconfig = %q\nsame_node", p.guest), want: `User "guest" cannot create resource "jobs"`, hint: "harness/lab/kubernetes/README.md"},
		"no context":   {from: "same_node", to: "context = \"moon\"\nsame_node", want: `context "moon" does not exist`, hint: "this must work: kubectl --context=moon"},
		"no namespace": {from: "same_node", to: "namespace = \"moon\"\nsame_node", want: `namespaces "moon" not found`, hint: "this must work: kubectl --namespace=moon"},
		"no image":     {from: p.image, to: "localhost/nowhere:1", want: "its image cannot be pulled: ", hint: "pull_secrets"},
		"no room":      {from: "cpu = \"1500m\"", to: "cpu = \"1500\"", want: "it is not scheduled: 0/1 nodes are available: 1 Insufficient cpu", hint: "same_node"},
		"no such node": {from: "count = 3", to: "count = 3\nnode_selector = { disk = \"ssd\" }", want: "host client1: after 20s it is not scheduled: 0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector", hint: "node_selector"},
		"one node":     {from: "same_node = true", to: "same_node = false", want: "it is not scheduled: 0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules", hint: "same_node = true"},
		"sysctls":      {from: "sysctls = {", to: "sysctls = { \"net.ipv4.tcp_mem\" = \"1 2 3\", \"kernel.msgmax\" = \"1\", ", want: "the cluster forbids the sysctls kernel.msgmax (server.sysctls), net.ipv4.tcp_mem (server.sysctls)", hint: "--allowed-unsafe-sysctls"},
		"no quantity":  {from: "512Mi", to: "lots", want: "quantities must match the regular expression", hint: "this must work"},
	} {
		t.Run(name, func(t *testing.T) {
			text := fmt.Sprintf(podLab, p.image)
			if !strings.Contains(text, test.from) {
				t.Fatalf("%q is not there", test.from)
			}
			text = strings.Replace(text, test.from, test.to, 1)
			text = strings.Replace(text, "ready_seconds = 120", "ready_seconds = 20", 1)
			if name == "sysctls" {
				text = strings.Replace(text, "ready_seconds = 20", "ready_seconds = 120", 1)
			}
			c := p.command("lab", "check", p.file(t, "bad.toml", text))
			if test.path != "" {
				c.Env = append(os.Environ(), "PATH="+test.path)
			}
			var stderr bytes.Buffer
			c.Stderr = &stderr
			if status := statusOf(t, c.Run()); status != 1 {
				t.Errorf("exit status %d", status)
			}
			lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
			if len(lines) != 2 || !strings.Contains(lines[0], test.want) || !strings.HasPrefix(lines[1], "hint: ") || !strings.Contains(lines[1], test.hint) {
				t.Errorf("said %q, want %q and the hint %q", lines, test.want, test.hint)
			}
			p.clean(t)
		})
	}
}

func readFile(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
