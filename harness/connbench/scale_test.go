package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"connbench/scripts/needs"
)

// A coordinator of a hundred client hosts, each a network namespace with an agent and a swarm
// of its own: a ramp of 100 × 200 connections, and a census. What connbench itself takes,
// apart from agents, swarms and servers, is logged, and must not grow without bound.
func TestHundredHosts(t *testing.T) {
	needs.Namespaces(t)
	if os.Getenv("SLOW_TESTS") == "" {
		t.Skip("takes some minutes; SLOW_TESTS=1 runs it")
	}
	const hosts, connections = 100, 20000
	// Two server processes: one may not have so many descriptors.
	plan := strings.Replace(rampAndHold(connections, 5000, 0.1), "timeout_seconds = 10", "timeout_seconds = 60", 1)
	c := benchTest(t, plan, "--lab", "netns-100", "--processes", "2")
	began := time.Now()
	c.start(t, "  census")
	seconds := time.Since(began).Seconds()
	cpu, most := usedBy(t, c.Process.Pid)
	if status := statusOf(t, c.Wait()); status != 0 {
		t.Fatalf("exit status %d\n%s", status, c.said())
	}
	run := c.run(t)
	trial := run.Trials[0]
	if census := trial.Connections.Census; !trial.Valid || len(run.Manifest.Hosts) != hosts+1 || *census.Swarm != connections || *census.Server != connections {
		t.Errorf("%d hosts, census %+v, invalid because %v", len(run.Manifest.Hosts), census, trial.Invalid)
	}
	t.Logf("until the census, in %.1f s, connbench used %.1f s of CPU and %d MiB of memory", seconds, cpu, most>>20)
	if most > 256<<20 {
		t.Errorf("connbench took %d MiB of memory", most>>20)
	}
}

// usedBy returns the CPU time of a process without its children, in seconds, and the most
// memory that it had at a time, in bytes.
func usedBy(t *testing.T, pid int) (seconds float64, most int64) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(status), "VmHWM:")
	if _, err := fmt.Sscanf(text, "%d kB", &most); err != nil {
		t.Fatal(err)
	}
	schedule, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(schedule[strings.LastIndexByte(string(schedule), ')')+1:]))
	for _, field := range fields[11:13] { // utime and stime, in hundredths of a second
		ticks, err := strconv.ParseFloat(field, 64)
		if err != nil {
			t.Fatal(err)
		}
		seconds += ticks / 100
	}
	return seconds, most << 10
}
