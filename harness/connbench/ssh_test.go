package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"connbench/harness/agent"
	"connbench/harness/agent/children"
	"connbench/harness/cause"
	"connbench/harness/lab"
	"connbench/harness/lab/netns/namespaces"
	"connbench/scripts/needs"
)

// sshHosts are hosts that real sshds serve, in network namespaces of the test's
// own: the server, two client hosts, a jump host that is the only way to these,
// and the host where connbench runs.
type sshHosts struct {
	folder string
	routed bool
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

// startSSHHosts makes the hosts. setup is a shell script that is run in each host's
// mount namespace before its sshd starts, with the host's name as $1 and
// the folder of its cache as $3. Where routed, the clients' prefixes are routed to
// them and not local there, as the packet engine needs it.
func startSSHHosts(t *testing.T, setup string, routed bool) *sshHosts {
	t.Helper()
	needs.Namespaces(t)
	const sshd = "/usr/sbin/sshd"
	needs.Tools(t, sshd, "ssh", "ssh-keygen", "nsenter", "unshare")
	f := &sshHosts{folder: t.TempDir(), routed: routed}
	network := namespaces.Network{Clients: homeHost, Routed: routed}
	running, err := namespaces.Start([]string{filepath.Join(bin(t), "connbench"), "lab", "helper", "netns", filepath.Join(bin(t), "connbench-agent")}, network)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(running.Close)
	keygen(t, f.file("id"))
	var known strings.Builder
	for i, plan := range network.Hosts() {
		h := &sshHost{
			name: plan.Name, address: plan.Address.Addr().String(), sources: plan.More.String(),
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

func (f *sshHosts) file(name string) string { return filepath.Join(f.folder, name) }

func (f *sshHosts) write(t *testing.T, name, text string) {
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

// startSSHD starts the host's sshd, which takes the hosts' key, but on all hosts
// except the jump host from there alone.
func (f *sshHosts) startSSHD(t *testing.T, sshd string, h *sshHost, setup string) {
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
SetEnv XDG_CACHE_HOME=%s PATH=%s:/usr/sbin:/usr/bin:/sbin:/bin SHLVL=2
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
PidFile none
MaxStartups 100
`, h.address, sshPort, f.file("hostkey-"+h.name), f.file("id.pub"), allowed, h.cache, f.file("bin-"+h.name)))
	// With such an SHLVL the login shell does not run the user's .bashrc, which may take
	// half a second for each command. A /run of its own, since sshd wants a folder there.
	script := setup + `
mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && exec ` + sshd + ` -D -e -f "$2" 2>&1`
	process, err := h.agent.Start(t.Context(), children.Start{
		Command: []string{"unshare", "--mount", "sh", "-c", script, "sh", h.name, f.file("sshd-" + h.name), h.cache},
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
func (f *sshHosts) writeConfig(t *testing.T, known, key string) {
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

func (f *sshHosts) writeLab(t *testing.T) {
	t.Helper()
	var text strings.Builder
	text.WriteString("ssh_config = \"ssh_config\"\n")
	for i, h := range f.hosts[:jumpHost] {
		role, key, addresses := "client", "addresses", h.sources
		switch {
		case i == 0:
			role, addresses = "server", h.address
		case f.routed:
			key = "packet"
		}
		fmt.Fprintf(&text, "[[host]]\nname = %q\nrole = %q\n%s = [%q]\n", h.name, role, key, addresses)
	}
	f.write(t, "hosts.toml", text.String())
}

// networks are the hosts' network namespaces.
func (f *sshHosts) networks() map[string]bool {
	networks := map[string]bool{}
	for _, h := range f.hosts {
		networks[networkOf(h.pid)] = true
	}
	return networks
}

// at has a command run on the host where connbench runs.
func (f *sshHosts) at(c *exec.Cmd) {
	c.Args = append([]string{"nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", f.hosts[homeHost].pid), c.Path}, c.Args[1:]...)
	c.Path, _ = exec.LookPath("nsenter") // startSSHHosts has looked
}

// bench is a run on the hosts.
func (f *sshHosts) bench(t *testing.T, plan string, flags ...string) *benchRun {
	t.Helper()
	c := benchTest(t, plan, append([]string{"--lab", f.file("hosts.toml")}, flags...)...)
	f.at(c.Cmd)
	return c
}

// clean fails the test if anything is left on a host that was not there before.
func (f *sshHosts) clean(t *testing.T) {
	t.Helper()
	left := slices.DeleteFunc(processesIn(t, f.networks()), func(pid int) bool { return f.before[pid] })
	awaitEnd(t, left)
}

// sh runs a script on a host.
func (h *sshHost) sh(t *testing.T, script string) {
	t.Helper()
	p, err := h.agent.Start(context.Background(), children.Start{Command: []string{"sh", "-c", script}})
	if err != nil {
		t.Fatal(err)
	}
	<-p.Exited()
	if exit := p.Exit(); exit.Status != 0 {
		t.Fatalf("%s: %s: %s", h.name, script, exit)
	}
}

func TestSSHHostsAreMeasured(t *testing.T) {
	t.Parallel()
	f := startSSHHosts(t, "", false)
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
	case trial.ClientProcesses < 2:
		t.Errorf("%d client processes on 2 hosts", trial.ClientProcesses)
	case trial.Lab != "hosts" || !run.Manifest.SharedKernel:
		t.Errorf("lab %q, shared kernel %v: the test's hosts are one machine", trial.Lab, run.Manifest.SharedKernel)
	}
	for i, host := range run.Manifest.Hosts {
		if want := f.hosts[i].name; host.Name != want {
			t.Errorf("host %d is %s, want %s", i, host.Name, want)
		}
		if host.Link != "eth0, veth, MTU 1500" {
			t.Errorf("%s: link %q", host.Name, host.Link)
		}
		// Programs are kept where that host keeps its own.
		kept, err := filepath.Glob(filepath.Join(f.hosts[i].cache, "connbench", "programs", "*", "*"))
		if err != nil || len(kept) != 2 {
			t.Errorf("%s keeps %v, error %v: want the agent and the server, or the swarm", host.Name, kept, err)
		}
	}

	t.Run("check", func(t *testing.T) { f.checks(t) })
	t.Run("trouble", func(t *testing.T) { f.refusals(t) })
	t.Run("machines", func(t *testing.T) { f.machines(t) })
	t.Run("one at a time", func(t *testing.T) { f.oneAtATime(t) })
}

// check is `lab check` of the hosts, with a variable of the environment more.
func (f *sshHosts) check(t *testing.T, environment string, flags ...string) (hosts map[string]lab.Health, status int, said string) {
	t.Helper()
	c := exec.Command(filepath.Join(bin(t), "connbench"), append([]string{"lab", "check", "--json", "--bin", bin(t), f.file("hosts.toml")}, flags...)...)
	f.at(c)
	c.Env = append(os.Environ(), environment)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	text, err := c.Output()
	var list []lab.Health
	if len(text) > 0 {
		if err := json.Unmarshal(text, &list); err != nil {
			t.Fatal(err)
		}
	}
	hosts = map[string]lab.Health{}
	for _, h := range list {
		hosts[h.Name] = h
	}
	return hosts, statusOf(t, err), stderr.String()
}

func (f *sshHosts) checks(t *testing.T) {
	hosts, status, said := f.check(t, "")
	if status != 0 || len(hosts) != 3 {
		t.Fatalf("exit status %d, %d hosts\n%s%+v", status, len(hosts), said, hosts)
	}
	for _, h := range hosts {
		if !h.Reached || h.Architecture != runtime.GOARCH || h.Kernel == "" || h.NoFileHard == "" || h.FreeBytes == nil || h.ClockAheadSeconds == nil {
			t.Errorf("%+v", h)
		}
	}
	if hosts["client1"].Connects != 64 || hosts["client2"].Connects != 64 {
		t.Errorf("connects of %+v", hosts)
	}
	// A shell of the user's that has something to say first, as ssh's LocalCommand meets it.
	f.write(t, "shell", "#!/bin/sh\necho welcome\nexec /bin/sh \"$@\"\n")
	if err := os.Chmod(f.file("shell"), 0o700); err != nil {
		t.Fatal(err)
	}
	if hosts, status, said := f.check(t, "SHELL="+f.file("shell")); status != 0 {
		t.Errorf("exit status %d\n%s%+v", status, said, hosts)
	}
	// An address that is not the host's, and a server address nobody has: nothing connects.
	whole := f.readLab(t)
	f.write(t, "hosts.toml", strings.Replace(whole, f.hosts[1].sources, f.hosts[1].sources+`", "192.0.2.7`, 1))
	hosts, status, _ = f.check(t, "")
	if problems := fmt.Sprint(hosts["client1"].Problems); status != 1 || !strings.Contains(problems, "not an address of this host: 192.0.2.7") || hosts["client1"].Connects+hosts["client2"].Connects > 0 {
		t.Errorf("exit status %d, problems %s", status, problems)
	}
	f.write(t, "hosts.toml", strings.Replace(whole, f.hosts[0].address, "192.0.2.1", 1))
	hosts, status, _ = f.check(t, "")
	if problems := fmt.Sprint(hosts["server"].Problems); status != 1 || !strings.Contains(problems, "not an address of this host: 192.0.2.1") {
		t.Errorf("exit status %d, problems %s", status, problems)
	}
	f.write(t, "hosts.toml", whole)
	f.clean(t)
}

func (f *sshHosts) readLab(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(f.file("hosts.toml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// refusals are the ways in which ssh does not get there.
func (f *sshHosts) refusals(t *testing.T) {
	known, err := os.ReadFile(f.file("known_hosts"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(known), "\n")
	_, server, _ := strings.Cut(lines[0], " ")
	address, _, _ := strings.Cut(lines[1], " ")
	f.write(t, "known_changed", lines[0]+address+" "+server+strings.Join(lines[2:], ""))
	f.write(t, "known_less", lines[0]+strings.Join(lines[2:], ""))
	keygen(t, f.file("stranger"))
	whole := f.readLab(t)
	defer f.write(t, "hosts.toml", whole)
	defer f.writeConfig(t, "known_hosts", "id")
	for _, test := range []struct {
		name, known, key, lab string
		want                  string
	}{
		{"host key changed", "known_changed", "id", whole, "host client1: its host key is not the one that ssh knows of it"},
		{"host key unknown", "known_less", "id", whole, "host client1: ssh does not know its host key, and does not ask"},
		{"key refused", "known_hosts", "stranger", whole, "host client2: it refuses our key: "},
		{"no such host", "known_hosts", "id", strings.Replace(whole, `"client2"`, `"client2"`+"\nssh = \"home.invalid\"", 1), "host client2: "},
		{"no sudo", "known_hosts", "id", strings.Replace(whole, `"client2"`, `"client2"`+"\nsudo = true", 1), "host client2: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := exec.LookPath("sudo"); err == nil && test.name == "no sudo" {
				t.Skip("sudo is here")
			}
			f.writeConfig(t, test.known, test.key)
			f.write(t, "hosts.toml", test.lab)
			c := f.bench(t, fmt.Sprintf(small, false, 0, 0.1))
			if status := c.exit(t); status != 1 {
				t.Errorf("exit status %d", status)
			}
			if said := c.stderr.String(); !strings.Contains(said, test.want) {
				t.Errorf("said %q, want %q", said, test.want)
			}
			f.clean(t)
		})
	}
}

// machines are those for which other programs are needed than there are.
func (f *sshHosts) machines(t *testing.T) {
	there, here := f.file("bin-client1"), t.TempDir()
	if err := os.Mkdir(there, 0o755); err != nil {
		t.Fatal(err)
	}
	uname := filepath.Join(there, "uname")
	defer os.Remove(uname)
	for _, tool := range []string{"ssh", "sh"} { // and no go
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(here, tool)); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct{ kernel, machine, want string }{
		{"Linux", "riscv64", "connbench-agent must be built for riscv64, and go is missing here"},
		{"Linux", "pdp11", `its architecture, "pdp11", is not supported`},
		{"Plan9", "amd64", "it runs Plan9, and must run Linux"},
	} {
		says := fmt.Sprintf("#!/bin/sh\n[ $1 = -s ] && echo %s || echo %s\n", test.kernel, test.machine)
		if err := os.WriteFile(uname, []byte(says), 0o755); err != nil {
			t.Fatal(err)
		}
		hosts, status, _ := f.check(t, "PATH="+here)
		if got := fmt.Sprint(hosts["client1"].Problems); status != 1 || got != "["+test.want+"]" {
			t.Errorf("exit status %d, problems %s, want %s", status, got, test.want)
		}
	}
}

// oneAtATime is about two runs on the same hosts; and about what is left of one that is
// killed.
func (f *sshHosts) oneAtATime(t *testing.T) {
	first := f.bench(t, fmt.Sprintf(small, false, 0, 3600.0))
	first.start(t, "  hold")
	second := f.bench(t, fmt.Sprintf(small, false, 0, 0.1))
	if status := second.exit(t); status != 1 {
		t.Errorf("exit status %d", status)
	}
	for _, host := range []string{"server", "client1", "client2"} {
		if said := second.stderr.String(); !strings.Contains(said, "host "+host+": ") || !strings.Contains(said, "another run is on this host, its agent is process ") {
			t.Errorf("said %q", said)
		}
	}
	local := first.family() // ssh, its jumps
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	first.Wait()
	// At once: it waits for the end of what was killed.
	third := f.bench(t, fmt.Sprintf(small, false, 0, 0.1))
	if status := third.exit(t); status != 0 {
		t.Errorf("exit status %d\n%s", status, third.stderr.String())
	}
	awaitEnd(t, local)
	f.clean(t)
}

// share is how the swarm of a host that was lost is spoken of.
var share = regexp.MustCompile(`host client[12]: .*, and the swarm there with \d+ of the \d+ connections`)

// A host that goes away is named, its trial is invalid, and the next one runs.
func TestSSHHostVanishes(t *testing.T) {
	t.Parallel()
	f := startSSHHosts(t, "", false)
	for _, test := range []struct {
		name   string
		reason string
		vanish func(*benchRun)
	}{
		{"client2", cause.HostLost.Reason, func(*benchRun) { f.crash(t, f.hosts[2]) }},
		{"server", cause.HostLost.Reason, func(*benchRun) { f.crash(t, f.hosts[0]) }},
		// After the ramp, and at the near end: the reason of the ramp's end stands.
		{"client1", cause.Target.Reason, func(c *benchRun) { f.killWay(t, c, "client1") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			// A ramp of some seconds.
			plan := strings.Replace(fmt.Sprintf(small, false, 0, 2.0), "[ramp]\n", "[ramp]\nrate_per_second = 100\n", 1)
			c := f.bench(t, plan, "--rounds", "2")
			if test.reason == cause.Target.Reason {
				c.start(t, "  hold")
			} else {
				c.start(t, "  ramp")
			}
			test.vanish(c)
			if status := statusOf(t, c.Wait()); status != 1 {
				t.Errorf("exit status %d, with an invalid trial", status)
			}
			trials := asked(c.run(t))
			if len(trials) != 2 {
				t.Fatalf("%d trials", len(trials))
			}
			said := strings.Join(trials[0].Invalid, "\n")
			if trials[0].Valid || trials[0].Stop.Reason != test.reason || !strings.Contains(said, test.name) {
				t.Errorf("stop %+v, invalid because %q", trials[0].Stop, said)
			}
			if test.name != "server" && !share.MatchString(said) || test.reason == cause.Target.Reason && !strings.Contains(said, " 120 of the 240 ") {
				t.Errorf("its share is not in %q", said)
			}
			if !trials[1].Valid {
				t.Errorf("the next trial is invalid: %v", trials[1].Invalid)
			}
			f.clean(t)
		})
	}
}

// crash kills whatever a run has on a host.
func (f *sshHosts) crash(t *testing.T, h *sshHost) {
	t.Helper()
	for _, pid := range processesIn(t, map[string]bool{networkOf(h.pid): true}) {
		if !f.before[pid] {
			syscall.Kill(pid, syscall.SIGKILL) // unless it has just ended
		}
	}
}

// killWay kills the connection to a host at its near end.
func (f *sshHosts) killWay(t *testing.T, c *benchRun, host string) {
	t.Helper()
	for _, pid := range c.family() {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if strings.Contains(string(line), "\x00-M\x00") && strings.HasSuffix(string(line), "\x00"+host+"\x00") {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("no connection to %s was found", host)
}

func TestDiskOfSSHHostIsFull(t *testing.T) {
	info, err := os.Stat(filepath.Join(bin(t), "connbench-agent"))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		what string
		room int64
		want []string
	}{
		{"no room for the agent", info.Size() / 2, []string{"host client1: ", "No space left on device", "~/.cache/connbench"}},
		{"no room for the swarm", info.Size() + 1<<20, []string{"carrying the swarm to host client1: keeping swarm", "no space left on device"}},
	} {
		t.Run(test.what, func(t *testing.T) {
			t.Parallel()
			f := startSSHHosts(t, fmt.Sprintf(`[ "$1" != client1 ] || mount -t tmpfs -o size=%d tmpfs "$3" || exit`, test.room), false)
			c := f.bench(t, fmt.Sprintf(small, false, 0, 0.1))
			if status := c.exit(t); status != 1 {
				t.Errorf("exit status %d", status)
			}
			for _, want := range test.want {
				if said := c.stderr.String(); !strings.Contains(said, want) {
					t.Errorf("said %q, want %q", said, want)
				}
			}
			f.clean(t)
		})
	}
}

// The packet engine on client hosts to which prefixes are routed.
func TestSSHHostsWithPacketEngine(t *testing.T) {
	t.Parallel()
	needs.File(t, "/dev/net/tun", "TUN devices")
	f := startSSHHosts(t, "", true)
	if hosts, status, said := f.check(t, "", "--engine", "packet"); status != 0 {
		t.Errorf("exit status %d\n%s%+v", status, said, hosts)
	}
	c := f.bench(t, fmt.Sprintf(small, false, 0, 0.3), "--engine", "packet")
	if status := c.exit(t); status != 0 {
		t.Fatalf("exit status %d\n%s", status, c.stderr.String())
	}
	trial := c.run(t).Trials[0]
	if !trial.Valid || trial.Engine != "packet" || trial.Connections.Reached != 240 {
		t.Errorf("engine %s reached %d; invalid because %v", trial.Engine, trial.Connections.Reached, trial.Invalid)
	}
	f.clean(t)
	f.hosts[1].sh(t, "echo 0 >/proc/sys/net/ipv4/conf/eth0/forwarding")
	hosts, status, _ := f.check(t, "", "--engine", "packet")
	if problems := fmt.Sprint(hosts["client1"].Problems); status != 1 || !strings.Contains(problems, "sysctl -w net.ipv4.conf.eth0.forwarding=1") || len(hosts["client2"].Problems) > 0 {
		t.Errorf("exit status %d, problems %s and %v", status, problems, hosts["client2"].Problems)
	}
	// Without addresses of its own, a client host is none for the other engine.
	c = f.bench(t, fmt.Sprintf(small, false, 0, 0.1))
	if status := c.exit(t); status != 2 || !strings.Contains(c.stderr.String(), "host client1 has no addresses, and engine socket needs some") {
		t.Errorf("exit status %d\n%s", status, c.stderr.String())
	}
}
