package main

import (
	"bytes"
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
	"connbench/harness/record"
)

// slurmCluster is the cluster that harness/lab/slurm/test.sh starts for these tests: n1 has
// the feature server, n2 to n4 are clients.
type slurmCluster struct {
	folder string
	before []int // the processes on the nodes before anything is measured
}

func cluster(t *testing.T) *slurmCluster {
	t.Helper()
	folder := os.Getenv("CONNBENCH_TEST_SLURM")
	if folder == "" {
		t.Skip("needs a Slurm cluster: make test-slurm starts one")
	}
	c := &slurmCluster{folder: folder}
	c.awaitIdle(t)
	c.before = c.processes(t)
	return c
}

// slurm runs one of Slurm's commands, or another one here.
func slurm(t *testing.T, words ...string) string {
	t.Helper()
	output, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", words, err, output)
	}
	return strings.TrimSpace(string(output))
}

// awaitIdle waits until there is no job, and all nodes are there.
func (c *slurmCluster) awaitIdle(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		jobs, idle := slurm(t, "squeue", "-h"), slurm(t, "sinfo", "-h", "-t", "idle", "-o", "%D")
		if jobs == "" && idle == "4" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("a minute later there are jobs %q, and %s idle nodes", jobs, idle)
		}
	}
}

// processes are those on the nodes.
func (c *slurmCluster) processes(t *testing.T) (list []int) {
	t.Helper()
	for i := 1; i <= 4; i++ {
		list = append(list, c.processesOn(t, fmt.Sprint("n", i))...)
	}
	return list
}

func (c *slurmCluster) processesOn(t *testing.T, node string) (list []int) {
	t.Helper()
	for _, word := range strings.Fields(slurm(t, "ip", "netns", "pids", node)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, pid)
	}
	return list
}

// clean fails the test if a job, a process or a file is left.
func (c *slurmCluster) clean(t *testing.T) {
	t.Helper()
	c.awaitIdle(t)
	awaitEnd(t, slices.DeleteFunc(c.processes(t), func(pid int) bool { return slices.Contains(c.before, pid) }))
	if left, err := filepath.Glob(filepath.Join(c.folder, "tmp.n*", "connbench-*-*")); err != nil || len(left) > 0 {
		t.Errorf("files of sbcast are left: %v, error %v", left, err)
	}
	for i := 1; i <= 4; i++ {
		if addresses := slurm(t, "ip", "-n", fmt.Sprint("n", i), "-4", "-o", "addr", "show", "eth0"); strings.Contains(addresses, "\n") {
			t.Errorf("n%d has kept addresses of the job:\n%s", i, addresses)
		}
	}
}

// lab writes a lab file.
func (c *slurmCluster) lab(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "cluster.toml")
	if err := os.WriteFile(file, []byte("kind = \"slurm\"\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// chosen is a lab of a server node and three client nodes, each with four addresses.
const chosen = `
clients = 3
salloc = ["--time=10"]
[server]
constraint = "server"
addresses = ["198.18.1.1"]
[client]
constraint = "client"
addresses = ["198.18.2.0/24", "198.18.3.0/24", "198.18.4.0/24"]
`

// rampAndHold is a plan of so many connections, which come at a rate and stay for a time.
func rampAndHold(connections, rate int, hold float64) string {
	return fmt.Sprintf(`
title = "A test"
variants = ["sound"]
connections = %d
keep_noisy = true
[ramp]
steps = 3
rate_per_second = %d
pause_seconds = 0.01
timeout_seconds = 10
settled = false
[hold]
seconds = %g
`, connections, rate, hold)
}

func TestSlurmNodesAreMeasured(t *testing.T) {
	c := cluster(t)
	b := benchTest(t, rampAndHold(6000, 20000, 0.1), "--lab", c.lab(t, chosen))
	if status := b.exit(t); status != 0 {
		t.Fatalf("exit status %d\n%s", status, b.stderr.String())
	}
	c.clean(t)
	run := b.run(t)
	trial := run.Trials[0]
	census := trial.Connections.Census
	if !trial.Valid || *census.Swarm != 6000 || *census.Server != 6000 || *census.Kernel != 6000 {
		t.Errorf("connections %+v, invalid because %v", census, trial.Invalid)
	}
	if run.Manifest.Lab != "cluster" || run.Manifest.LabKind != "slurm" {
		t.Errorf("a lab %q of kind %q", run.Manifest.Lab, run.Manifest.LabKind)
	}
	for i, host := range run.Manifest.Hosts {
		want, role := fmt.Sprintf("198.18.%[1]d.1 198.18.%[1]d.2 198.18.%[1]d.3 198.18.%[1]d.4", i+1), record.RoleClient
		if i == 0 {
			want, role = "198.18.1.1", record.RoleServer
		}
		slices.Sort(host.Addresses)
		if got := strings.Join(host.Addresses, " "); host.Name != fmt.Sprint("n", i+1) || got != want || host.Roles[0] != role || host.Link != "eth0, veth, MTU 1500" {
			t.Errorf("host %s, %v, has addresses %s and link %s; want %s", host.Name, host.Roles, got, host.Link, want)
		}
		// Each node has its programs in its own folder.
		kept, err := filepath.Glob(filepath.Join(c.folder, "tmp."+host.Name, fmt.Sprint("connbench-", os.Getuid()), "programs", "*", "*"))
		if err != nil || len(kept) != 2 {
			t.Errorf("%s keeps %v, error %v: want the agent and the server, or the swarm", host.Name, kept, err)
		}
	}
}

// A node whose slurmd, agent and programs are killed. The step's own process tells srun of
// it; were that killed too, srun would say nothing, and the silence of the agent would tell
// after two minutes.
func TestSlurmNodeIsLost(t *testing.T) {
	c := cluster(t)
	b := benchTest(t, rampAndHold(600, 200, 0.1), "--lab", c.lab(t, chosen), "--rounds", "2")
	b.start(t, "  ramp")
	for _, pid := range c.processesOn(t, "n3") {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if !bytes.HasPrefix(line, []byte("slurmstepd")) {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	slurm(t, filepath.Join(c.folder, "start"), "n3")
	if status := statusOf(t, b.Wait()); status != 1 {
		t.Errorf("exit status %d, with an invalid trial", status)
	}
	trials := asked(b.run(t))
	if len(trials) != 2 {
		t.Fatalf("%d trials\n%s", len(trials), b.said())
	}
	if said := strings.Join(trials[0].Invalid, "\n"); trials[0].Valid || trials[0].Stop.Reason != cause.HostLost.Reason || !strings.Contains(said, "host n3: ") {
		t.Errorf("stop %+v, invalid because %q", trials[0].Stop, said)
	}
	if census := trials[1].Connections.Census; !trials[1].Valid || *census.Swarm != 600 || *census.Server != 600 {
		t.Errorf("the next trial: census %+v, invalid because %v", census, trials[1].Invalid)
	}
	c.before = append(c.before, c.processesOn(t, "n3")...) // another slurmd
	c.clean(t)
}

func TestSlurmJobIsCancelled(t *testing.T) {
	c := cluster(t)
	b := benchTest(t, rampAndHold(60, 20000, 600), "--lab", c.lab(t, chosen))
	b.start(t, "  hold")
	job, _, _ := strings.Cut(slurm(t, "squeue", "-h", "-o", "%i"), "+")
	slurm(t, "scancel", job)
	if status := statusOf(t, b.Wait()); status != 1 {
		t.Errorf("exit status %d", status)
	}
	lines := strings.Split(strings.TrimSpace(b.said()), "\n")
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "connbench: job "+job+" has ended: ") || !strings.Contains(last, ": interrupted after ") {
		t.Errorf("said %q", last)
	}
	if state := b.run(t).Manifest.State; state != record.StateInterrupted {
		t.Errorf("state %q", state)
	}
	c.clean(t)
}

func TestSlurmRunIsKilled(t *testing.T) {
	c := cluster(t)
	b := benchTest(t, rampAndHold(60, 20000, 600), "--lab", c.lab(t, chosen))
	b.start(t, "  hold")
	family := b.family()
	if err := b.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	b.Wait()
	awaitEnd(t, family)
	c.clean(t)
}

// Within a job, that job's nodes are taken, and it goes on.
func TestSlurmJobIsThereAlready(t *testing.T) {
	c := cluster(t)
	program := filepath.Join(bin(t), "connbench")
	check := fmt.Sprintf("%s lab check --bin %s %s && squeue --noheader --format=%%T", program, bin(t), c.lab(t, ""))
	said := slurm(t, "salloc", "-Q", "--exclusive", "-N3", "sh", "-c", check)
	for _, want := range []string{"n1   │ client │", "n2   │ client │", "n3   │ server │", "RUNNING"} {
		if !strings.Contains(said, want) {
			t.Errorf("said\n%s\nwant %s", said, want)
		}
	}
	output, err := exec.Command("salloc", "-Q", "--exclusive", "-N1", "sh", "-c", check).CombinedOutput()
	if status := statusOf(t, err); status != 2 || !strings.Contains(string(output), "has 1 node(s); it needs 1 for the server and 1 for clients\nhint: ") {
		t.Errorf("exit status %d, said %s", status, output)
	}
	c.clean(t)
}

// One line says in Slurm's own words why a job does not run, and a hint follows.
func TestSlurmGivesNoNodes(t *testing.T) {
	c := cluster(t)
	unreachable := filepath.Join(t.TempDir(), "slurm.conf")
	text, err := os.ReadFile(filepath.Join(c.folder, "slurm.conf"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(unreachable, append([]byte("SlurmctldPort=7\nMessageTimeout=2\n"), text...), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		lab         string
		environment string
		status      int
		want, hint  string
	}{
		"no such partition": {`salloc = ["--partition=moon"]`, "", 1, "no nodes: Job submit/allocate failed: Invalid partition name specified", "this must work: salloc "},
		"no such feature":   {"[server]\nconstraint = \"moon\"", "", 1, "no nodes: Job submit/allocate failed: Invalid feature specification", "this must work: salloc "},
		"never scheduled":   {"clients = 9\nwait_seconds = 2", "", 1, "the scheduler has not started the job within 2s: PartitionConfig", "ask for less"},
		"no access":         {"", "SLURM_CONF=" + unreachable, 1, "no nodes: Job submit/allocate failed: Unable to contact slurm controller", "this must work: salloc "},
		"no Slurm":          {"", "PATH=/nonexistent", 1, "salloc is missing: a lab of kind slurm needs Slurm's commands", "start connbench where sinfo works"},
		"an argument":       {`salloc = ["reboot"]`, "", 2, `cluster.toml:2: salloc has "reboot": each is an option of salloc`, ""},
		"no such address":   {"[client]\naddresses = [\"203.0.113.0/24\"]", "", 1, "has no address in 203.0.113.0/24", "a prolog may give it some: scripts/slurm-prolog"},
	} {
		t.Run(name, func(t *testing.T) {
			check := exec.Command(filepath.Join(bin(t), "connbench"), "lab", "check", "--bin", bin(t), c.lab(t, test.lab))
			check.Env = append(os.Environ(), test.environment)
			var stderr bytes.Buffer
			check.Stderr = &stderr
			status := statusOf(t, check.Run())
			first, rest, _ := strings.Cut(strings.TrimSpace(stderr.String()), "\n")
			hint := strings.TrimPrefix(rest, "hint: ")
			if status != test.status || !strings.HasPrefix(first, "connbench: ") || !strings.Contains(first, test.want) || !strings.HasPrefix(hint, test.hint) || strings.Contains(hint, "\n") {
				t.Errorf("exit status %d, said %s", status, stderr.String())
			}
			c.clean(t)
		})
	}
}
