package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connbench/harness/build"
	"connbench/harness/cause"
	"connbench/harness/phase/loads"
	"connbench/harness/record"
	"connbench/harness/variant"
	"connbench/scripts/needs"
)

// Nothing that the suite runs is trusted. hostile are servers that each fail in one
// way (testdata/servers/faulty), and what must come of that.
var hostile = []struct {
	fault string
	stop  *cause.Cause // what ended the ramp
	// invalid is a part of what makes the trial invalid, "": it is valid.
	invalid string
	// most is the time that the trial may take, in seconds; 0: usual.
	most float64
	// figure says what else is wrong with the trial, "" if nothing is.
	figure func(t *record.Trial) string
}{
	{fault: "sound", stop: cause.Target},

	{fault: "starts-once", stop: cause.Target},
	{fault: "never-ready", stop: cause.ContractBroken, invalid: "was not ready within 10 s"},
	{fault: "elsewhere", stop: cause.ContractBroken, invalid: "is not where it should be"},
	{fault: "dies-in-ramp", stop: cause.ServerDied, invalid: "out of luck at connection 40"},
	{fault: "dies-in-load", stop: cause.Target, invalid: "out of luck at the second message"},
	{fault: "panics", stop: cause.ServerDied, invalid: "panic: out of luck at connection 40", figure: func(t *record.Trial) string {
		if !strings.Contains(t.Stop.Evidence[0], "panic: out of luck at connection 40") {
			return "the panic is not its first evidence"
		}
		return ""
	}},

	{fault: "leaves-a-child", stop: cause.Target, invalid: "the server left processes behind when it ended: sleep"},
	{fault: "endless-line", stop: cause.ContractBroken, invalid: `it wrote a line of more than 65536 bytes to its standard output: "xxx`},
	{fault: "unasked-lines", stop: cause.ContractBroken, invalid: "that nobody had asked for"},

	{fault: "silent", stop: cause.ContractBroken, invalid: "did not answer stats within 5 s"},
	{fault: "speaks-in-words", stop: cause.ContractBroken, invalid: `answered "0 connections" to stats`},
	{fault: "counts-nan", stop: cause.ContractBroken, invalid: "not the JSON of the contract"},
	{fault: "counts-one-more", stop: cause.Target, invalid: "census: 60 connections answered the swarm, the server counts 61"},
	{fault: "negative-heap", stop: cause.ContractBroken, invalid: "heap_in_use_bytes is -5: no figure is negative"},
	{fault: "enormous-heap", stop: cause.ContractBroken, invalid: "heap_in_use_bytes is 2e+18: no server has so much"},
	{fault: "clock-runs-back", stop: cause.ContractBroken, invalid: "user_seconds fell from 1000 to 980"},

	{fault: "speaks-mail", stop: cause.ProtocolBroken, invalid: "broke the protocol"},
	{fault: "frame-of-8-eib", stop: cause.ProtocolBroken, invalid: "broke the protocol"},
	{fault: "floods-with-pings", stop: cause.Target},
	{fault: "sends-unasked", stop: cause.ProtocolBroken, invalid: "broke the protocol"},

	{fault: "corrupts", stop: cause.Target, invalid: "were not what had been sent"},
	{fault: "corrupts-warmup", stop: cause.Target, invalid: "were not what had been sent"},
	{fault: "mute-fifth", stop: cause.Target, figure: func(t *record.Trial) string {
		echo := loads.Echo.Of(t)
		if echo.Unanswered == nil || *echo.Unanswered != 20 || !strings.Contains(strings.Join(t.Warnings, "\n"), "echo: 20 of 100 messages had no answer") {
			return fmt.Sprintf("echo %+v, warnings %q", echo, t.Warnings)
		}
		return ""
	}},
	{fault: "closes-fifth", stop: cause.Target, figure: func(t *record.Trial) string {
		if echo := loads.Echo.Of(t); echo.Lost != 12 && !strings.Contains(strings.Join(t.Warnings, "\n"), "12 connections were lost") {
			return fmt.Sprintf("echo %+v, warnings %q", echo, t.Warnings)
		}
		return ""
	}},
}

// mostSeconds is the time that the trial of a hostile server may take: it gives up by
// the bounds of the plan, and ends processes.
const mostSeconds = 30

// hostilePlan takes a second with a sound server.
const hostilePlan = `
title = "Hostile servers"
variants = ["sound"]
connections = 60
keep_noisy = true
[ramp]
steps = 3
pause_seconds = 0.01
timeout_seconds = 2
settled = false
[server]
ready_seconds = 10
answer_seconds = 5
[echo]
seconds = 0.5
rate_per_second = 200
payload_bytes = 32
warmup_seconds = 0.3
`

func TestHostileServers(t *testing.T) {
	t.Parallel()
	c := hostileTest(t, hostilePlan, strings.Join(faults(), ","))
	stuck := time.AfterFunc(time.Duration(len(hostile)*mostSeconds)*time.Second, func() { c.Process.Kill() })
	defer stuck.Stop()
	if status := c.exit(t); status != 1 {
		t.Errorf("exit status %d\n%s", status, c.stderr.String())
	}
	run := c.run(t) // which can be read, whatever servers said
	if len(run.Trials) != len(hostile) {
		t.Fatalf("%d trials of %d\n%s", len(run.Trials), len(hostile), c.stderr.String())
	}
	if bytes := sizeOf(t, run.Dir); bytes > 4<<20 {
		t.Errorf("the files of the run have %d bytes", bytes)
	}
	for _, test := range hostile {
		t.Run(test.fault, func(t *testing.T) {
			i := slices.IndexFunc(run.Trials, func(trial record.Trial) bool { return trial.Variant == test.fault })
			trial := &run.Trials[i]
			t.Logf("%.1f s: %s by %q, invalid %q, warnings %q", trial.Seconds, trial.Stop.Reason, trial.Stop.Evidence, trial.Invalid, trial.Warnings)
			if trial.Stop.Reason != test.stop.Reason {
				t.Errorf("stopped by %q, want %q", trial.Stop.Reason, test.stop.Reason)
			}
			if invalid := strings.Join(trial.Invalid, "\n"); trial.Valid != (test.invalid == "") || !strings.Contains(invalid, test.invalid) {
				t.Errorf("invalid because %q, want %q", invalid, test.invalid)
			}
			if most := max(test.most, mostSeconds); trial.Seconds > most {
				t.Errorf("it took %g s, and may take %g", trial.Seconds, most)
			}
			if test.figure == nil {
				return
			}
			if wrong := test.figure(trial); wrong != "" {
				t.Error(wrong)
			}
		})
	}
	head, err := os.ReadFile(filepath.Join(run.Dir, record.StderrFile(trialOf(run, "panics"))))
	if err != nil || !strings.Contains(string(head), "panic: out of luck at connection 40\n\ngoroutine ") {
		t.Errorf("of the server that panics, %.300q is kept, %v", head, err)
	}
}

// trialOf is the number of a variant's trial.
func trialOf(run *record.Run, name string) int {
	return run.Trials[slices.IndexFunc(run.Trials, func(trial record.Trial) bool { return trial.Variant == name })].Trial
}

func faults() (names []string) {
	for _, test := range hostile {
		names = append(names, test.fault)
	}
	return names
}

// hostileTest is a benchTest of the servers with these faults, which commas separate.
func hostileTest(t *testing.T, plan, faults string, flags ...string) *benchRun {
	t.Helper()
	servers, programs := filepath.Join(bin(t), "hostile"), filepath.Join(bin(t), "hostile-programs")
	hostileBuilt.Do(func() { hostileBuilt.err = buildHostile(bin(t), servers, programs) })
	if hostileBuilt.err != nil {
		t.Fatal(hostileBuilt.err)
	}
	return benchOf(t, servers, plan, append([]string{"--bin", programs, "--variants", faults}, flags...)...)
}

var hostileBuilt struct {
	sync.Once
	err error
}

// buildHostile writes a variant for each fault; all of them run the same program. They are
// built into a separate folder, because the other tests have a variant of the same name. A
// run that builds them again changes nothing (cp -u), so runs at the same time do not write
// to a program that another one executes.
func buildHostile(bin, servers, programs string) error {
	if err := os.MkdirAll(programs, 0o755); err != nil {
		return err
	}
	for _, name := range []string{build.Agent, build.Swarm} {
		if err := os.Link(filepath.Join(bin, name), filepath.Join(programs, name)); err != nil {
			return err
		}
	}
	program := filepath.Join(servers, "program")
	if output, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, "./testdata/servers/faulty").CombinedOutput(); err != nil {
		return fmt.Errorf("building faulty: %w\n%s", err, output)
	}
	for _, name := range slices.Concat(faults(), ofBroadcasts, ofSlowPeers) {
		text := fmt.Sprintf("name = %[1]q\ntitle = %[1]q\nmodel = \"hostile\"\nlanguage = \"Go\"\nprotocols = [\"websocket\", \"http\"]\nbroadcast = [\"websocket\", \"http\"]\ncompression = [\"deflate\", \"deflate-takeover\"]\n[class.tuned]\nsettings = \"For the tests of the harness.\"\nbuild = [\"cp\", \"-u\", %[2]q, \"{program}\"]\nrun = [\"{program}\", \"--fault=%[1]s\"]\n",
			name, program)
		folder := filepath.Join(servers, name)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, "variant.toml"), []byte(text), 0o644); err != nil {
			return err
		}
	}
	all, err := variant.Discover(servers)
	if err != nil {
		return err
	}
	for _, v := range all {
		if _, err := buildPassing(programs, v); err != nil {
			return err
		}
	}
	return nil
}

// The program has no fault that is not tried, here or where limits are injected.
func TestEveryFaultIsTried(t *testing.T) {
	needs.Server(t)
	output, err := exec.Command("go", "run", "./testdata/servers/faulty", "--faults").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq(string(output)) {
		elsewhere := slices.Contains(slices.Concat([]string{"hoards", "stops-accepting", "goes-deaf"}, ofBroadcasts, ofSlowPeers), name)
		if slices.Contains(faults(), name) == elsewhere {
			t.Errorf("fault %s is tried nowhere, or in two places", name)
		}
	}
}
