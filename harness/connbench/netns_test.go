package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"connbench/harness/limits"
	"connbench/harness/phase/connections"
	"connbench/harness/phase/loads"
	"connbench/harness/record"
	"connbench/scripts/needs"
)

func TestNamespacesAreMeasured(t *testing.T) {
	needs.Namespaces(t)
	needs.File(t, "/proc/net/if_inet6", "IPv6")
	for _, test := range []struct {
		lab, engine string
		clients     int // hosts of their own
		within      string
	}{
		{"netns", "socket", 1, "198.18.0.0/15"},
		{"netns-2", "socket", 2, "198.18.0.0/15"},
		{"netns-2-ipv6", "socket", 2, "fd63:6f6e:6e62::/48"},
		{"netns", "packet", 0, "198.18.0.0/15"},
		{"netns-2", "packet", 2, "198.18.0.0/15"},
		{"netns-2-ipv6", "packet", 2, "fd63:6f6e:6e62::/48"},
	} {
		t.Run(test.lab+" "+test.engine, func(t *testing.T) {
			t.Parallel()
			if test.engine == "packet" {
				needTUN(t)
			}
			c := benchTest(t, fmt.Sprintf(small, false, 0, 0.3), "--lab", test.lab, "--engine", test.engine)
			left := c.startInNamespaces(t, 1+test.clients)
			if status := statusOf(t, c.Wait()); status != 0 {
				t.Fatalf("exit status %d\n%s", status, c.stderr.String())
			}
			left()
			run := c.run(t)
			trial := run.Trials[0]
			census := trial.Connections.Census
			switch {
			case !trial.Valid:
				t.Errorf("the trial is invalid: %v", trial.Invalid)
			case *census.Swarm != 240 || *census.Server != 240 || *census.Kernel != 240:
				t.Errorf("connections %+v", trial.Connections)
			case trial.Engine != test.engine || answered(loads.Ping.Of(&trial)) != 120:
				t.Errorf("engine %s, pings %+v", trial.Engine, loads.Ping.Of(&trial))
			case run.BothEnds() != (test.engine == "socket"):
				t.Errorf("with engine %s the kernel's memory holds both ends: %v", test.engine, run.BothEnds())
			case trial.ClientProcesses < test.clients:
				t.Errorf("%d client processes on %d hosts", trial.ClientProcesses, test.clients)
			case trial.Lab != test.lab || !run.Manifest.SharedKernel:
				t.Errorf("lab %q, shared kernel %v", trial.Lab, run.Manifest.SharedKernel)
			}
			hosts := run.Manifest.Hosts
			if len(hosts) != 1+test.clients || slices.Contains(hosts[0].Roles, record.RoleClient) != (test.clients == 0) {
				t.Fatalf("%d hosts, the first with roles %v", len(hosts), hosts[0].Roles)
			}
			for i, host := range hosts {
				if i > 0 && !slices.Equal(host.Roles, []string{record.RoleClient}) {
					t.Errorf("%s has roles %v", host.Name, host.Roles)
				}
				if got := host.Sysctls["net.ipv4.ip_local_port_range"]; got != "1024 65535" {
					t.Errorf("%s has ports %s: not its own settings", host.Name, got)
				}
				if host.Sysctls["net.ipv4.tcp_mem"] == "" {
					t.Errorf("%s: the kernel's own settings are missing", host.Name)
				}
				if address := netip.MustParseAddr(host.Addresses[0]); !netip.MustParsePrefix(test.within).Contains(address) {
					t.Errorf("%s has address %s", host.Name, address)
				}
			}
			// The counters are the server's own: it answered connections, and opened none.
			opened := trial.Stop.Counters["ActiveOpens"]
			if accepted := trial.Stop.Counters["PassiveOpens"]; accepted != 240 || opened != 0 {
				t.Errorf("in the server's namespace %d connections were accepted and %d opened", accepted, opened)
			}
			if warnings := strings.Join(run.Manifest.Warnings, "\n"); strings.Contains(warnings, "net.") {
				t.Errorf("warnings %s", warnings)
			}
		})
	}
}

// However a run ends, nothing of its network is left.
func TestNamespacesAreGone(t *testing.T) {
	needs.Namespaces(t)
	for _, engine := range []string{"socket", "packet"} {
		for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
			t.Run(engine+" "+signal.String(), func(t *testing.T) {
				t.Parallel()
				if engine == "packet" {
					needTUN(t)
				}
				c := benchTest(t, fmt.Sprintf(small, false, 0, 3600.0), "--lab", "netns-2", "--engine", engine)
				left := c.startInNamespaces(t, 3)
				if err := c.Process.Signal(signal); err != nil {
					t.Fatal(err)
				}
				c.Wait()
				left()
			})
		}
	}
}

// needTUN skips a test of the packet engine where there is no TUN.
func needTUN(t *testing.T) {
	t.Helper()
	file, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		t.Skip("needs TUN devices:", err)
	}
	file.Close()
}

// startInNamespaces starts the command and waits until it holds connections in a
// network of so many hosts. left fails the test if anything of that is there
// still.
func (c *benchRun) startInNamespaces(t *testing.T, hosts int) (left func()) {
	t.Helper()
	c.start(t, "  hold")
	networks := map[string]bool{}
	for _, pid := range c.family() {
		networks[networkOf(pid)] = true
	}
	if outside := networkOf(os.Getpid()); networks[outside] || len(networks) != hosts+1 {
		t.Errorf("namespaces %v: want the bridge's and those of %d hosts, and not %s", networks, hosts, outside)
	}
	for _, name := range []string{"bridge", "server", "client1", "client2"} {
		if _, err := net.InterfaceByName(name); err == nil {
			t.Errorf("the interface %q shows on the machine", name)
		}
	}
	inside := processesIn(t, networks)
	return func() {
		t.Helper()
		awaitEnd(t, inside)
		awaitEnd(t, processesIn(t, networks)) // those who came since
		// A namespace without processes lives on where it is mounted.
		mounts, err := os.ReadFile("/proc/self/mounts")
		if err != nil {
			t.Fatal(err)
		}
		for network := range networks {
			if strings.Contains(string(mounts), network) {
				t.Errorf("%s is mounted:\n%s", network, mounts)
			}
		}
	}
}

// networkOf names a process's network namespace, "" if the process has ended.
func networkOf(pid int) string {
	name, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
	return name
}

// processesIn lists the processes in some network namespaces.
func processesIn(t *testing.T, networks map[string]bool) []int {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, link := range links {
		pid, err := strconv.Atoi(strings.Split(link, "/")[2])
		if err != nil {
			t.Fatal(err)
		}
		if networks[networkOf(pid)] {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Where user namespaces are for everybody, root is not needed.
func TestNamespacesWithoutRoot(t *testing.T) {
	needs.Namespaces(t)
	nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	try := exec.Command("unshare", "--user", "--map-root-user", "--net", "true")
	try.SysProcAttr = nobody
	if err := try.Run(); err != nil {
		t.Skip("needs user namespaces for everybody:", err)
	}
	dir := t.TempDir()
	for _, folder := range []string{dir, filepath.Dir(dir)} { // perhaps not everybody may come to the sources
		if err := os.Chmod(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"connbench", "connbench-agent"} {
		program, err := os.ReadFile(filepath.Join(bin(t), name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), program, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(dir, "servers"), os.DirFS("testdata/servers")); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(filepath.Join(dir, "connbench"), "limits", "--lab", "netns-2", "--variants", "sound", "--bin", ".", "--json")
	c.Dir, c.SysProcAttr = dir, nobody
	var stderr bytes.Buffer
	c.Stderr = &stderr
	text, err := c.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	var prediction limits.Prediction
	if err := json.Unmarshal(text, &prediction); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(prediction.Limits, func(l limits.Limit) bool { return l.Name == "source ports" })
	if i < 0 || prediction.Limits[i].Value != "1024 to 65535" {
		t.Errorf("the hosts' own ports are not among the limits:\n%s", text)
	}
}

// Without privilege and user namespaces nothing is begun, and one line says what
// there is to do.
func TestNamespacesRefused(t *testing.T) {
	needs.Namespaces(t)
	needs.Tools(t, "unshare", "setpriv")
	// In a user namespace that may have none within it, without CAP_SYS_ADMIN.
	const confined = `echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin "$@"`
	for _, flags := range [][]string{
		{"limits", "--lab", "netns"},
		{"limits", "--lab", "netns", "--engine", "packet"},
	} {
		args := append([]string{"--user", "--map-root-user", "sh", "-c", confined, "sh", filepath.Join(bin(t), "connbench")}, flags...)
		c := exec.Command("unshare", append(args, "--servers", "testdata/servers", "--bin", bin(t), "--variants", "sound")...)
		output, err := c.CombinedOutput()
		said := strings.TrimSpace(string(output))
		if status := statusOf(t, err); status != 1 || strings.Count(said, "\n") != 1 || !strings.Contains(said, "\nhint: run it as root, or allow user namespaces") || !strings.Contains(said, "LAB=local with ENGINE=socket") {
			t.Errorf("%v: exit status %d, said %q", flags, status, said)
		}
	}
}

// Packets are late where the kernel has netem, and else one line says that it has
// not.
func TestDelayOfNamespaces(t *testing.T) {
	needs.Namespaces(t)
	c := benchTest(t, fmt.Sprintf(small, false, 0, 0.1), "--lab", "netns-1-delay5ms")
	status := c.exit(t)
	if said := c.stderr.String(); strings.Contains(said, "this kernel has no netem") {
		last, hint, _ := strings.Cut(strings.TrimSpace(said), "\nhint: ")
		if last = last[strings.LastIndex(last, "\n")+1:]; status != 1 || last != "connbench: lab netns: setting up server: this kernel has no netem, which delay, loss and rate need" || !strings.Contains(hint, "CONFIG_NET_SCH_NETEM") {
			t.Errorf("exit status %d, said %q", status, last)
		}
		return
	}
	if status != 0 {
		t.Fatalf("exit status %d\n%s", status, c.stderr.String())
	}
	// Connect and handshake are two round trips of two delays each.
	if got := connections.Ramp.Of(&c.run(t).Trials[0]).Handshake.P50US; got < 20_000 {
		t.Errorf("half of the handshakes took %g µs or less; the network alone takes 20,000", got)
	}
}
