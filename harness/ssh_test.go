package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"connbench/harness/agent"
	"connbench/harness/lab/namespaces"
)

// sshFleet is a fleet that real sshds serve, in network namespaces of the test's
// own: the server, two client hosts, a jump host that is the only way to these,
// and the host where connbench runs.
type sshFleet struct {
	folder string
	hosts  []*sshHost // server, client1, client2, jump, home
	// before are the processes that run before anything is measured.
	before map[int]bool
}

// sshHost is a host of it.
type sshHost struct {
	name, address, sources string
	agent                  *agent.Client
	// pid is a process there, by which others enter.
	pid   int
	cache string
}

const (
	sshPort  = 2222
	jumpHost = 3
	homeHost = 4
)

// startFleet makes the fleet. setup is a shell script that is run in each host's
// mount namespace before its sshd starts, with the host's name as $1.
func startFleet(t *testing.T, setup string) *sshFleet {
	t.Helper()
	needNamespaces(t)
	sshd, err := exec.LookPath("/usr/sbin/sshd")
	if err != nil {
		t.Skip("needs OpenSSH's server:", err)
	}
	for _, tool := range []string{"ssh", "ssh-keygen", "nsenter", "unshare"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs a tool:", err)
		}
	}
	f := &sshFleet{folder: t.TempDir()}
	network := namespaces.Network{Clients: homeHost}
	running, err := namespaces.Start([]string{filepath.Join(bin(t), "connbench"), "namespaces"}, network)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(running.Close)
	keygen(t, f.file("id"))
	var known strings.Builder
	for i, plan := range network.Hosts() {
		h := &sshHost{
			name: plan.Name, address: plan.Address.Addr().String(), sources: plan.Sources.String(),
			agent: running.Agents[i], cache: f.file("cache-" + plan.Name),
		}
		switch i {
		case jumpHost:
			h.name = "jump"
		case homeHost:
			h.name = "home"
		}
		f.hosts = append(f.hosts, h)
		f.startSSHD(t, sshd, h, setup)
		public, err := os.ReadFile(f.file("hostkey-" + h.name + ".pub"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&known, "[%s]:%d %s", h.address, sshPort, public)
	}
	f.write(t, "known_hosts", known.String())
	f.writeConfig(t, "known_hosts", "id")
	f.writeLab(t)
	f.before = map[int]bool{}
	for _, pid := range processesIn(t, f.networks()) {
		f.before[pid] = true
	}
	return f
}

func (f *sshFleet) file(name string) string { return filepath.Join(f.folder, name) }

func (f *sshFleet) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(f.file(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func keygen(t *testing.T, file string) {
	t.Helper()
	if output, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
}

// startSSHD starts the host's sshd, which takes the fleet's key, but on all hosts
// except the jump host from there alone.
func (f *sshFleet) startSSHD(t *testing.T, sshd string, h *sshHost, setup string) {
	t.Helper()
	keygen(t, f.file("hostkey-"+h.name))
	allowed := "root@" + namespaces.Network{Clients: homeHost}.Hosts()[jumpHost].Address.Addr().String()
	if h.name == "jump" {
		allowed = "root"
	}
	if err := os.MkdirAll(h.cache, 0o700); err != nil {
		t.Fatal(err)
	}
	f.write(t, "sshd-"+h.name, fmt.Sprintf(`
ListenAddress %s:%d
HostKey %s
AuthorizedKeysFile %s
AllowUsers %s
SetEnv XDG_CACHE_HOME=%s
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
PidFile none
MaxStartups 100
`, h.address, sshPort, f.file("hostkey-"+h.name), f.file("id.pub"), allowed, h.cache))
	// A /run of its own, since sshd wants a folder there.
	script := setup + `
mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && exec ` + sshd + ` -D -e -f "$2" 2>&1`
	process, err := h.agent.Start(t.Context(), agent.Start{
		Command: []string{"unshare", "--mount", "sh", "-c", script, "sh", h.name, f.file("sshd-" + h.name)},
	})
	if err != nil {
		t.Fatal(err)
	}
	h.pid = process.PID
	for line := range process.Lines {
		if strings.Contains(line, "Server listening") {
			return
		}
	}
	<-process.Exited()
	t.Skipf("needs an sshd that runs: %s", process.Exit())
}

// writeConfig writes the configuration of ssh: files of known hosts and of the
// key, and the jump host.
func (f *sshFleet) writeConfig(t *testing.T, known, key string) {
	t.Helper()
	var text strings.Builder
	for _, h := range f.hosts {
		fmt.Fprintf(&text, "Host %s\n  HostName %s\n", h.name, h.address)
		if h.name != "jump" {
			fmt.Fprintf(&text, "  ProxyJump jump\n")
		}
	}
	fmt.Fprintf(&text, `Host *
  User root
  Port %d
  IdentityFile %s
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile %s
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
`, sshPort, f.file(key), f.file(known))
	f.write(t, "ssh_config", text.String())
}

func (f *sshFleet) writeLab(t *testing.T) {
	t.Helper()
	var text strings.Builder
	text.WriteString("ssh_config = \"ssh_config\"\n")
	for i, h := range f.hosts[:jumpHost] {
		role, addresses := "client", h.sources
		if i == 0 {
			role, addresses = "server", h.address
		}
		fmt.Fprintf(&text, "[[host]]\nname = %q\nrole = %q\naddresses = [%q]\n", h.name, role, addresses)
	}
	f.write(t, "fleet.toml", text.String())
}

// networks are the hosts' network namespaces.
func (f *sshFleet) networks() map[string]bool {
	networks := map[string]bool{}
	for _, h := range f.hosts {
		networks[networkOf(h.pid)] = true
	}
	return networks
}

// at has a command run on the fleet's home.
func (f *sshFleet) at(c *exec.Cmd) {
	c.Args = append([]string{"nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", f.hosts[homeHost].pid), c.Path}, c.Args[1:]...)
	c.Path, _ = exec.LookPath("nsenter") // startFleet has looked
}

// bench is a run on the fleet.
func (f *sshFleet) bench(t *testing.T, plan string, flags ...string) *benchRun {
	t.Helper()
	c := benchTest(t, plan, append([]string{"--lab", f.file("fleet.toml")}, flags...)...)
	f.at(c.Cmd)
	return c
}

// clean fails the test if anything is left on a host that was not there before.
func (f *sshFleet) clean(t *testing.T) {
	t.Helper()
	left := slices.DeleteFunc(processesIn(t, f.networks()), func(pid int) bool { return f.before[pid] })
	awaitEnd(t, left)
	folders, err := filepath.Glob(filepath.Join(os.TempDir(), "connbench-ssh-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		t.Log("there is", folder)
	}
}

// sh runs a script on a host.
func (h *sshHost) sh(t *testing.T, script string) {
	t.Helper()
	p, err := h.agent.Start(context.Background(), agent.Start{Command: []string{"sh", "-c", script}})
	if err != nil {
		t.Fatal(err)
	}
	<-p.Exited()
	if exit := p.Exit(); exit.Status != 0 {
		t.Fatalf("%s: %s: %s", h.name, script, exit)
	}
}

func TestFleetIsMeasured(t *testing.T) {
	f := startFleet(t, "")
	c := f.bench(t, fmt.Sprintf(small, true, 0, 0.3))
	if status := c.exit(t); status != 0 {
		t.Fatalf("exit status %d\n%s", status, c.stderr.String())
	}
	f.clean(t)
	run := c.run(t)
	trial := run.Trials[0]
	census := trial.Connections.Census
	switch {
	case !trial.Valid:
		t.Errorf("the trial is invalid: %v", trial.Invalid)
	case *census.Swarm != 240 || *census.Server != 240 || *census.Kernel != 240:
		t.Errorf("connections %+v", trial.Connections)
	case trial.Lab != "fleet" || !run.Manifest.SharedKernel:
		t.Errorf("lab %q, shared kernel %v: the test's hosts are one machine", trial.Lab, run.Manifest.SharedKernel)
	}
}
