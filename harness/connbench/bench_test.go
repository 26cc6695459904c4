package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"connbench/harness/build"
	"connbench/harness/cause"
	"connbench/harness/gate"
	"connbench/harness/phase/connections"
	"connbench/harness/phase/loads"
	"connbench/harness/phase/searches"
	"connbench/harness/record"
	"connbench/harness/record/folder"
	"connbench/harness/variant"
	"connbench/scripts/needs"
	"connbench/servers/contract"
	"connbench/servers/family"
)

// The tests run the real command against servers that fail on purpose
// (testdata/servers), and against the floor. It is built once.
var built struct {
	sync.Once
	dir      string
	programs map[string]variant.Program
	err      error
}

// sideBySide is how many tests run at a time: most of the time a run waits.
const sideBySide = 4

func TestMain(m *testing.M) {
	flag.Parse()
	if runtime.GOMAXPROCS(0) < sideBySide {
		flag.Set("test.parallel", strconv.Itoa(sideBySide))
	}
	if signal.Ignored(syscall.SIGHUP) {
		// As nohup has it: programs that are started would ignore it too, unless it is caught here.
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	status := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(status)
}

// bin is a folder with connbench, its agent, the swarm and the servers of testdata, each of
// which has a verdict that lets it pass: the gate would not.
func bin(t *testing.T) string {
	t.Helper()
	needs.Server(t)
	built.Do(func() { built.dir, built.programs, built.err = buildAll() })
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.dir
}

func buildAll() (dir string, programs map[string]variant.Program, err error) {
	dir, err = os.MkdirTemp("", "connbench-test")
	if err != nil {
		return "", nil, err
	}
	for program, source := range map[string]string{"connbench": ".", "connbench-agent": "connbench/harness/agent/connbench-agent", "swarm": "connbench/clients/swarm"} {
		if output, err := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(dir, program), source).CombinedOutput(); err != nil {
			return dir, nil, fmt.Errorf("building %s: %w\n%s", program, err, output)
		}
	}
	all, err := variant.Discover("testdata/servers")
	if err != nil {
		return dir, nil, err
	}
	real, err := variant.Discover("../../servers")
	if err != nil {
		return dir, nil, err
	}
	all = append(all, real[slices.IndexFunc(real, func(v variant.Variant) bool { return v.Name == "floor" })])
	programs = map[string]variant.Program{}
	for _, v := range all {
		if programs[v.Name], err = buildPassing(dir, v); err != nil {
			return dir, nil, err
		}
	}
	return dir, programs, nil
}

// buildPassing builds a variant into the folder bin, with a verdict that lets it pass the
// gate.
func buildPassing(bin string, v variant.Variant) (program variant.Program, err error) {
	choice := variant.Choice{Variant: v, Class: variant.ClassTuned}
	built, err := build.Tree{Bin: bin}.Build(context.Background(), []variant.Choice{choice}, runtime.GOARCH, func(string, ...any) {})
	if err != nil {
		return program, err
	}
	for _, way := range variant.Expand(built, variant.Layers{Protocol: v.Protocols, Compression: slices.Concat([]string{variant.CompressionNone}, contract.Compressions)}) {
		verdict, err := json.Marshal(gate.Verdict{Subject: gate.SubjectOf(way), Passed: true})
		if err != nil {
			return program, err
		}
		file := way.Path
		if way.Protocol != "" {
			file += "." + way.Protocol
		}
		if way.Compressed != "" {
			file += "." + way.Compressed
		}
		if err := os.WriteFile(file+".verdict.json", verdict, 0o644); err != nil {
			return program, err
		}
	}
	return built[0], nil
}

// small is a plan that takes a few seconds. Beside other tests every trial is noisy, so noisy
// ones are not repeated.
const small = `
title = "A test"
variants = ["sound"]
connections = 240
keep_noisy = true
[ramp]
steps = 6
pause_seconds = 0.01
timeout_seconds = 3
settled = %v
[server]
ready_seconds = 5
port = %d
[hold]
seconds = %g
[echo]
seconds = 1
rate_per_second = 500
payload_bytes = 32
[ping]
seconds = 0.5
interval_seconds = 1
payload_bytes = 8
[sweep]
rates_per_second = [200, 400]
seconds = 0.3
payload_bytes = 32
p99_us = 9e6
[saturate]
seconds = 0.3
in_flight = 8
payload_bytes = 32
[complexity]
work_us = [0, 100]
messages_per_second = 5
p99_us = 9e6
resolution = 1.2
seconds = 0.2
payload_bytes = 32
`

// benchRun is a run of connbench bench with a small plan in a folder of its own.
type benchRun struct {
	*exec.Cmd
	results string
	stdout  bytes.Buffer
	stderr  bytes.Buffer
	ended   chan bool // closed when all is in stderr, where start has begun it
}

func benchTest(t *testing.T, plan string, flags ...string) *benchRun {
	t.Helper()
	return benchOf(t, "testdata/servers", plan, flags...)
}

// refuses has the suite's own servers measured by a plan that cannot be, which must be said.
func refuses(t *testing.T, plan, variants, want string) {
	t.Helper()
	c := benchOf(t, "../../servers", plan, "--variants", variants)
	if status := c.exit(t); status == 0 || !strings.Contains(c.stderr.String(), want) {
		t.Errorf("exit status %d, want it to say %q:\n%s", status, want, c.stderr.String())
	}
}

// benchOf is a benchTest of the servers in a folder.
func benchOf(t *testing.T, servers, plan string, flags ...string) *benchRun {
	t.Helper()
	folder := t.TempDir()
	file := filepath.Join(folder, "small.toml")
	if err := os.WriteFile(file, []byte(plan), 0o644); err != nil {
		t.Fatal(err)
	}
	c := &benchRun{results: filepath.Join(folder, "results")}
	args := append([]string{"bench", "--servers", servers, "--bin", bin(t), "--plan", file, "--results", c.results}, flags...)
	c.Cmd = exec.Command(filepath.Join(bin(t), "connbench"), args...)
	c.Stdout, c.Stderr = &c.stdout, &c.stderr
	// A cache of programs of its own, but Go's build cache as it is: everything
	// would be compiled anew otherwise.
	goCache, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	c.Env = append(os.Environ(), "XDG_CACHE_HOME="+folder, "GOCACHE="+strings.TrimSpace(string(goCache)))
	return c
}

// exit runs the command and returns its exit status.
func (c *benchRun) exit(t *testing.T) int {
	t.Helper()
	return statusOf(t, c.Run())
}

func statusOf(t *testing.T, err error) int {
	t.Helper()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	t.Fatal(err)
	return -1
}

// run reads what the command has filed.
func (c *benchRun) run(t *testing.T) *record.Run {
	t.Helper()
	folders, err := filepath.Glob(filepath.Join(c.results, "*"))
	if err != nil || len(folders) != 1 {
		t.Fatalf("folders %v, error %v\n%s", folders, err, c.stderr.String())
	}
	run, err := folder.Open(folders[0])
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// asked are the trials that the plan asked for: a busy neighbour of the test may
// have made some of them be run again.
func asked(run *record.Run) []record.Trial {
	return slices.DeleteFunc(slices.Clone(run.Trials), func(t record.Trial) bool { return t.Repeats != 0 })
}

// answered is the number of messages of a load that came back, on a busy host perhaps after
// it; 0 without a load.
func answered(l *record.Load) int64 {
	if l == nil {
		return 0
	}
	return l.CameBack()
}

func TestSoundServerIsMeasured(t *testing.T) {
	c := benchTest(t, fmt.Sprintf(small, true, 0, 0.3), "--rounds", "2")
	if status := c.exit(t); status != 0 {
		t.Fatalf("exit status %d\n%s", status, c.stderr.String())
	}
	run := c.run(t)
	if run.Manifest.State != record.StateFinished || run.Manifest.Planned != len(run.Trials) || len(asked(run)) != 2 {
		t.Fatalf("manifest %+v with %d trials", run.Manifest, len(run.Trials))
	}
	for _, trial := range run.Trials {
		census := trial.Connections.Census
		switch {
		case !trial.Valid:
			t.Errorf("trial %d is invalid: %v", trial.Trial, trial.Invalid)
		case trial.Connections.Reached != 240 || *census.Swarm != 240 || *census.Server != 240 || *census.Kernel != 240:
			t.Errorf("connections %+v", trial.Connections)
		case trial.Stop.Reason != cause.Target.Reason:
			t.Errorf("stop %+v", trial.Stop)
		case trial.ClientProcesses != len(trial.ClientCPUs):
			t.Errorf("%d client processes on CPUs %v", trial.ClientProcesses, trial.ClientCPUs)
		case len(trial.Steps) != 7 || len(trial.SettledSteps) != 7:
			t.Errorf("%d steps, %d settled", len(trial.Steps), len(trial.SettledSteps))
		case trial.CPU["accept_us"] == nil || *trial.CPU["accept_us"] <= 0 || trial.CPU["echo_us"] == nil || *trial.CPU["echo_us"] <= 0:
			t.Errorf("CPU %+v", trial.CPU)
		case answered(loads.Echo.Of(&trial)) != 500 || loads.Echo.Of(&trial).Corrupt != 0 || loads.Echo.Of(&trial).P99US <= 0:
			t.Errorf("echo %+v", loads.Echo.Of(&trial))
		case answered(loads.Ping.Of(&trial)) != 120 || trial.CPU["ping_us"] == nil || *trial.CPU["ping_us"] <= 0:
			t.Errorf("ping %+v, CPU %v", loads.Ping.Of(&trial), trial.CPU["ping_us"])
		case answered(loads.Saturate.Of(&trial)) == 0:
			t.Errorf("saturate %+v", loads.Saturate.Of(&trial))
		case searches.Sweep.Of(&trial) == nil || len(searches.Sweep.Of(&trial).Loads) == 0 || answered(&searches.Sweep.Of(&trial).Loads[0]) != 60:
			t.Errorf("sweep %+v", searches.Sweep.Of(&trial))
		case searches.Sweep.Of(&trial).KneePerSecond != nil && *searches.Sweep.Of(&trial).KneePerSecond != 200 && *searches.Sweep.Of(&trial).KneePerSecond != 400:
			t.Errorf("the knee is at %g, which was not offered", *searches.Sweep.Of(&trial).KneePerSecond)
		// The bound is far away and the connections few: none of them is lost.
		case searches.Complexity.Of(&trial) == nil || searches.Complexity.Of(&trial).Kept["0us"] != 240 || searches.Complexity.Of(&trial).StoppedBy["100us"] != searches.KeptAll:
			t.Errorf("complexity %+v", searches.Complexity.Of(&trial))
		case connections.Ramp.Of(&trial).Handshake == nil || connections.Ramp.Of(&trial).ConnectsPerSecond == nil || connections.Ramp.Of(&trial).FirstPerSecond == nil || connections.Ramp.Of(&trial).LastPerSecond == nil:
			t.Errorf("ramp %+v", connections.Ramp.Of(&trial))
		// The test's server has no heap figures to tell: they must be null, with a
		// warning.
		case trial.PerConnection.LiveHeapBytes != nil || !strings.Contains(strings.Join(trial.Warnings, "\n"), "live_heap_bytes"):
			t.Errorf("live heap %v, warnings %q", trial.PerConnection.LiveHeapBytes, trial.Warnings)
		case trial.PerConnection.RSSBytes == nil || trial.PerConnection.RSSSettledBytes == nil:
			t.Errorf("per connection %+v", trial.PerConnection)
		}
	}
	for _, file := range []string{"tables.md", "tables.csv", "bench.txt"} {
		text, err := os.ReadFile(filepath.Join(run.Dir, file))
		if err != nil || !strings.Contains(string(text), "sound") {
			t.Errorf("%s does not hold the variant: error %v", file, err)
		}
	}
	if !strings.Contains(c.stdout.String(), "sound") {
		t.Errorf("no table was printed:\n%s", c.stdout.String())
	}
}

// A ramp with a budget ends when that is spent, and says how many connections that
// were. What neighbours of the test take of the kernel's memory counts too.
func TestBudget(t *testing.T) {
	c := benchTest(t, fmt.Sprintf(small, false, 0, 0.1), "--connections", "max", "--budget", "24MiB")
	status := c.exit(t)
	if strings.Contains(c.stderr.String(), "the ramp ended at") { // it could not be known what was spent
		t.Logf("neighbours of the test open sockets all the time:\n%s", c.stderr.String())
		c = benchTest(t, fmt.Sprintf(small, false, 0, 0.1), "--connections", "max", "--budget", "24MiB")
		status = c.exit(t)
	}
	if status != 0 {
		t.Fatalf("exit status %d\n%s", status, c.stderr.String())
	}
	for _, trial := range asked(c.run(t)) {
		b := connections.Budget.Of(&trial)
		switch {
		case trial.Client.RSSBytes == 0 || trial.Client.PSSBytes == nil || *trial.Client.PSSBytes > trial.Client.RSSBytes:
			t.Errorf("client %+v", trial.Client)
		case b == nil || b.Bytes != 24<<20 || b.SpentBytes == nil:
			t.Fatalf("budget %+v", b)
		case trial.Connections.Target != 24<<20/4096:
			t.Errorf("target %d", trial.Connections.Target)
		case trial.Stop.Reason == cause.Target.Reason: // the neighbours gave back as much
		case trial.Stop.Reason != cause.Budget.Reason || b.Connections == nil || *b.SpentBytes < b.Bytes:
			t.Errorf("budget %+v, stop %+v", b, trial.Stop)
		case *b.Connections > float64(trial.Connections.Reached):
			t.Errorf("%g connections in the budget, of %d", *b.Connections, trial.Connections.Reached)
		}
	}
}

// sizeOf is the size of a folder's files, in bytes.
func sizeOf(t *testing.T, folder string) (sum int64) {
	t.Helper()
	err := filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func TestPortTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	c := benchTest(t, fmt.Sprintf(small, false, taken.Addr().(*net.TCPAddr).Port, 0.1))
	if status := c.exit(t); status != 1 {
		t.Errorf("exit status %d\n%s", status, c.stderr.String())
	}
	if said := fmt.Sprint(c.run(t).Trials[0].Invalid); !strings.Contains(said, "address already in use") {
		t.Errorf("invalid because %q", said)
	}
}

func TestVersion(t *testing.T) {
	text, err := exec.Command(filepath.Join(bin(t), "connbench"), "--version").Output()
	if err != nil || !strings.HasPrefix(string(text), "connbench version ") || !strings.Contains(string(text), runtime.Version()) {
		t.Errorf("%s, error %v", text, err)
	}
}

func TestBadInput(t *testing.T) {
	good := fmt.Sprintf(small, false, 0, 0.1)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		plan   string
		flags  []string
		status int
		want   string
	}{
		{"unknown flag", good, []string{"--fast"}, 2, "unknown flag: --fast"},
		{"argument", good, []string{"quick"}, 2, `unknown command "quick"`},
		{"unknown plan", good, []string{"--plan", "nosuch"}, 2, `there is no plan "nosuch"`},
		{"unknown variant", good, []string{"--variants", "nosuch"}, 2, "there is no variant \"nosuch\"\nhint: take some of capped, dies-in-ramp"},
		{"unknown lab", good, []string{"--lab", "moon"}, 2, `there is no lab "moon"`},
		{"engine not in this lab", good, []string{"--engine", "packet"}, 2, "use LAB=netns, or ENGINE=socket"},
		{"unknown engine", good, []string{"--engine", "dpdk"}, 2, `client.engine is "dpdk": it is one of socket, packet`},
		{"lab almost known", good, []string{"--lab", "netns-two"}, 2, `there is no lab "netns-two"`},
		{"no client host", good, []string{"--lab", "netns-0"}, 2, "it takes 1 to 254 client hosts"},
		{"no such lab file", good, []string{"--lab", "/nonexistent/hosts.toml"}, 2, "there is no file /nonexistent/hosts.toml"},
		{"file is no lab", good, []string{"--lab", "testdata/servers/sound/variant.toml"}, 2, "variant.toml:1:1: unknown key"},
		{"malformed plan", good + "seconds = = 1\n", nil, 2, "small.toml:40:"},
		{"unknown key", "rouns = 3\n" + good, nil, 2, `unknown key "rouns"`},
		{"no connections", good, []string{"--connections", "0"}, 2, "connections is 0"},
		{"absurd connections", good, []string{"--connections", "9223372036854775807"}, 2, "connections is 9223372036854775807: it must be from 1 to 1000000000000"},
		{"absurd rounds", good, []string{"--rounds", "99999999"}, 2, "rounds is 99999999: it must be from 1 to 1000"},
		{"connections without a number", good, []string{"--connections", "nan"}, 2, `"nan": neither a number nor max`},
		{"negative budget", good, []string{"--budget", "-1GiB"}, 2, `"-1GiB" is no amount of memory`},
		{"infinite budget", good, []string{"--budget", "inf"}, 2, `"inf" is no amount of memory`},
		{"lab with a bad name", good, []string{"--lab", "/tmp/my lab.toml"}, 2, `/tmp/my lab.toml: "my lab" is not a name`},
		{"no rounds", good, []string{"--rounds", "0"}, 2, "rounds is 0"},
		{"processes without a number", good, []string{"--processes", "nan"}, 2, `invalid argument "nan" for "--processes" flag: it must be a whole number`},
		{"negative processes", good, []string{"--processes", "-1"}, 2, "server.processes is -1"},
		{"no variant", good, []string{"--variants", ","}, 2, "it names nothing"},
		{"negative connections", good, []string{"--connections", "-5"}, 2, "connections is -5"},
		{"no number", good, []string{"--connections", "many"}, 2, "neither a number nor max"},
		{"too many addresses", strings.Replace(good, "[server]\n", "[server]\naddresses = 9\n", 1), nil, 2, "server.addresses is 9, and the server host of lab local has 4"},
		{"too many connections", good, []string{"--connections", "900000000"}, 2, "900,000,000 connections do not fit"},
		{"too many for one process", good, []string{"--connections", "15000000", "--processes", "1"}, 2, "RLIMIT_NOFILE"},
		{"budget without an amount", good, []string{"--budget", "much"}, 2, `"much" is no amount of memory`},
		{"too little memory", good, []string{"--connections", "max", "--budget", "900TiB"}, 2, "take a smaller budget"},
		{"results is a file", good, []string{"--results", file}, 1, file},
		{"results not writable", good, []string{"--results", "/proc/results"}, 1, "/proc/results"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := benchTest(t, test.plan, test.flags...)
			if status := c.exit(t); status != test.status {
				t.Errorf("exit status %d, want %d", status, test.status)
			}
			// What is wrong is the last that is said, but perhaps for a hint.
			said := strings.TrimSpace(c.stderr.String())
			last := said[strings.LastIndex("\n"+said, "\nconnbench: "):]
			what, hint, _ := strings.Cut(last, "\nhint: ")
			if !strings.Contains(last, test.want) || strings.Contains(hint, "\n") || strings.Contains(what, "hint:") {
				t.Errorf("said %q, want %q in its last line", said, test.want)
			}
			if folders, err := os.ReadDir(c.results); err == nil && len(folders) > 0 {
				t.Errorf("%s is left behind", folders[0].Name())
			}
		})
	}
}

// start starts the command and waits until it says what.
func (c *benchRun) start(t *testing.T, what string) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = write
	err = c.Start()
	write.Close()
	if err != nil {
		t.Fatal(err)
	}
	c.ended = make(chan bool)
	lines := bufio.NewScanner(read)
	for lines.Scan() {
		c.stderr.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), what) {
			go func() {
				defer close(c.ended)
				defer read.Close()
				for lines.Scan() {
					c.stderr.WriteString(lines.Text() + "\n")
				}
			}()
			return
		}
	}
	t.Fatalf("it ended without saying %q:\n%s", what, c.stderr.String())
}

// said is all that a command has said that was begun by start, and has ended.
func (c *benchRun) said() string {
	<-c.ended
	return c.stderr.String()
}

// family lists the processes that the command has started, and theirs.
func (c *benchRun) family() []int { return family.Descendants(c.Process.Pid) }

func TestInterruptedRunKeepsWhatItHas(t *testing.T) {
	for name, signals := range map[string][]os.Signal{
		"SIGINT": {syscall.SIGINT}, "SIGTERM": {syscall.SIGTERM},
		"SIGHUP": {syscall.SIGHUP, syscall.SIGHUP}, // the shell's and the terminal's
	} {
		t.Run(name, func(t *testing.T) {
			// The second trial holds for an hour.
			first := benchTest(t, fmt.Sprintf(small, false, 0, 3600.0))
			first.start(t, "  hold")
			family := first.family()
			for _, signal := range signals {
				if err := first.Process.Signal(signal); err != nil {
					t.Fatal(err)
				}
			}
			if status := statusOf(t, first.Wait()); status != 1 {
				t.Errorf("exit status %d", status)
			}
			run := first.run(t)
			if run.Manifest.State != record.StateInterrupted || len(run.Trials) != 1 {
				t.Fatalf("state %q with %d trials", run.Manifest.State, len(run.Trials))
			}
			// Its ramp had ended: that is kept, though the trial is not valid.
			trial := run.Trials[0]
			if trial.Valid || trial.Connections.Peak != 240 || trial.PerConnection.RSSBytes == nil {
				t.Errorf("trial %+v", trial)
			}
			if !strings.Contains(first.stdout.String(), "sound") {
				t.Errorf("no table:\n%s", first.stdout.String())
			}
			awaitEnd(t, family)
		})
	}
}

// Without a home, or with one that cannot be written to, programs are kept in a private
// folder.
func TestRunsWithoutAHome(t *testing.T) {
	t.Parallel()
	// Go must keep its settings, or it builds a different program, for which there is no
	// verdict.
	output, err := exec.Command("go", "env", "GOENV", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	settings, modules, _ := strings.Cut(strings.TrimSpace(string(output)), "\n")
	for _, home := range []string{"", "/proc"} {
		temp := t.TempDir()
		c := benchTest(t, fmt.Sprintf(small, false, 0, 0.3))
		c.Env = append(c.Env, "HOME="+home, "XDG_CACHE_HOME=", "TMPDIR="+temp, "GOENV="+settings, "GOMODCACHE="+modules)
		if status := c.exit(t); status != 0 {
			t.Errorf("HOME=%s: exit status %d\n%s", home, status, c.stderr.String())
		}
		if kept, _ := filepath.Glob(filepath.Join(temp, "connbench-*", "programs", "*", "*")); len(kept) != 2 {
			t.Errorf("HOME=%s: programs kept are %v", home, kept)
		}
	}
}

// A results folder that vanishes or fills up ends the run when it happens.
func TestResultsThatEnd(t *testing.T) {
	needs.Root(t) // to mount
	for name, test := range map[string]struct {
		end  string // a script, in the folder of the results
		want string
	}{
		"removed": {`rm -r 2*`, "trials.jsonl was removed or replaced while it was written\n"},
		"full":    {`cat /dev/zero > rubbish`, "small\nhint: free some, "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := benchTest(t, fmt.Sprintf(small, false, 0, 3600.0))
			if err := os.Mkdir(c.results, 0o755); err != nil {
				t.Fatal(err)
			}
			const private = `mount -t tmpfs -o size=256k tmpfs "$0" && exec "$@"`
			c.Args = append([]string{"unshare", "--mount", "sh", "-c", private, c.results, c.Path}, c.Args[1:]...)
			c.Path, _ = exec.LookPath("unshare")
			needs.Tools(t, "unshare", "mount")
			c.start(t, "  hold")
			results := fmt.Sprintf("/proc/%d/root%s", c.Process.Pid, c.results)
			family := c.family()
			exec.Command("sh", "-c", "cd "+results+" && "+test.end).Run() // cat fails where the disk is full
			if status := statusOf(t, c.Wait()); status != 1 {
				t.Errorf("exit status %d", status)
			}
			awaitEnd(t, family)
			if said := c.said(); !strings.Contains(said, "\nconnbench: ") || !strings.Contains(said, test.want) {
				t.Errorf("it says %q, want %q", said, test.want)
			}
		})
	}
}

// A run whose output nobody reads any more goes on to its end.
func TestRunWithoutReaders(t *testing.T) {
	c := benchTest(t, fmt.Sprintf(small, false, 0, 0.3))
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stdout, c.Stderr = write, write
	read.Close()
	status := c.exit(t)
	write.Close()
	if run := c.run(t); run.Manifest.State != record.StateFinished || len(run.Trials) == 0 || status != 1 {
		t.Errorf("state %q with %d trials, exit status %d", run.Manifest.State, len(run.Trials), status)
	}
}

// Any process of a run may be killed at any time: its trial says so, the next one runs,
// and in the end nothing is left, in whatever session it is.
func TestKilledProcessIsNamedAndTheNextRuns(t *testing.T) {
	for name, test := range map[string]struct {
		program, reason string
	}{
		"agent":  {"connbench-agent", cause.HostLost.Reason},
		"server": {"sound-tuned", cause.ServerDied.Reason},
		"swarm":  {"swarm", cause.ClientDied.Reason},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plan := strings.Replace(fmt.Sprintf(small, false, 0, 0.1), "[ramp]\n", "[ramp]\nrate_per_second = 60\n", 1)
			variant := "sound"
			if name == "agent" {
				variant = "leaves-a-child" // which the agent can no longer end
			}
			c := hostileTest(t, plan, variant, "--rounds", "2")
			c.start(t, "  ramp")
			family := c.family()
			killed := 0
			for _, pid := range family {
				line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
				program, _, _ := strings.Cut(string(line), "\x00")
				if filepath.Base(program) == test.program {
					syscall.Kill(pid, syscall.SIGKILL)
					killed++
				}
			}
			if killed == 0 {
				t.Fatalf("no %s among %v", test.program, family)
			}
			c.Wait()
			trials := asked(c.run(t))
			if len(trials) != 2 || trials[0].Valid || trials[0].Stop.Reason != test.reason {
				t.Fatalf("%d trials, the first %+v\n%s", len(trials), trials[0].Stop, c.stderr.String())
			}
			if trials[1].Stop.Reason != cause.Target.Reason {
				t.Errorf("the second stopped with %+v", trials[1].Stop)
			}
			awaitEnd(t, family)
		})
	}
}

func TestKilledHarnessLeavesNoProcess(t *testing.T) {
	c := benchTest(t, fmt.Sprintf(small, false, 0, 3600.0))
	c.start(t, "  hold")
	family := c.family()
	if len(family) < 3 {
		t.Fatalf("processes %v: at least an agent, a server and a swarm should live", family)
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	c.Wait()
	awaitEnd(t, family)
	if run := c.run(t); run.Manifest.State != record.StateRunning {
		t.Errorf("state %q", run.Manifest.State)
	}
}

func awaitEnd(t *testing.T, pids []int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		left := []int{}
		for _, pid := range pids {
			if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && !strings.Contains(string(stat), ") Z ") {
				left = append(left, pid)
			}
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", left[0]))
			t.Fatalf("processes %v still run a minute later, the first of them %q", left, line)
		}
	}
}
