package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"connbench/harness/cause"
	"connbench/harness/lab"
	"connbench/harness/record"
	"connbench/harness/record/folder"
)

// The VMs of LAB=vagrant, which are up and have one client: vagrant/test.sh brings
// them up for this.
func TestVirtualMachines(t *testing.T) {
	if os.Getenv("CONNBENCH_TEST_VMS") == "" {
		t.Skip("needs VMs: make test-vagrant brings them up")
	}
	run := benchOnVMs(t, "vagrant-quick", "floor,goroutine")
	if len(run.Trials) < 2 {
		t.Fatalf("%d trials", len(run.Trials))
	}
	if run.Manifest.SharedKernel || len(run.Manifest.Hosts) != 2 {
		t.Errorf("%d hosts, shared kernel %v", len(run.Manifest.Hosts), run.Manifest.SharedKernel)
	}
	for _, trial := range run.Trials {
		census := trial.Connections.Census
		kernel := trial.PerConnection.KernelBytes
		switch {
		case !trial.Valid:
			t.Errorf("%s is invalid: %v", trial.Variant, trial.Invalid)
		case *census.Swarm != 2000 || *census.Server != 2000 || *census.Kernel != 2000:
			t.Errorf("%s: connections %+v", trial.Variant, trial.Connections)
		case trial.Stop.Reason != cause.Target.Reason:
			t.Errorf("%s stopped for %s: %v", trial.Variant, trial.Stop.Reason, trial.Stop.Evidence)
		case trial.ServerProcesses != 1:
			t.Errorf("%s has %d server processes", trial.Variant, trial.ServerProcesses)
		// One socket is about 3.7 KiB; both ends, were they there, would be twice that.
		case kernel == nil || *kernel < 2500 || *kernel > 5500:
			t.Errorf("%s: kernel memory of a connection %+v: want that of one end", trial.Variant, trial.PerConnection)
		}
	}

	// A VM that is full: the ramp ends there, and its record names the limit. The plan
	// asks for max, since a number that does not fit is refused before the ramp begins.
	plan := filepath.Join(t.TempDir(), "full.toml")
	text := fmt.Sprintf(`
title = "A VM that is full"
variants = ["floor"]
connections = "max"
memory_reserve_bytes = %d
[server]
processes = 1
ready_seconds = 60
[ramp]
steps = 20
timeout_seconds = 60
settled = false
`, availableOnServer(t)-roomForConnections)
	if err := os.WriteFile(plan, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	trial := benchOnVMs(t, plan, "floor").Trials[0]
	if trial.Stop.Reason != cause.MemoryReserve.Reason || !trial.Valid {
		t.Errorf("stopped for %q: %v; valid %v: %v", trial.Stop.Reason, trial.Stop.Evidence, trial.Valid, trial.Invalid)
	}
	if census := trial.Connections.Census; *census.Swarm < 1 || *census.Swarm != *census.Server || *census.Swarm != *census.Kernel {
		t.Errorf("connections %+v", trial.Connections)
	}
}

// roomForConnections is the memory of the server VM that the connections of a ramp may
// take, in bytes: that of some ten thousand.
const roomForConnections = 48 << 20

// availableOnServer is the server VM's MemAvailable now, in bytes.
func availableOnServer(t *testing.T) int64 {
	t.Helper()
	text, err := exec.Command("../../bin/connbench", "lab", "check", "vagrant", "--json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var hosts []lab.Health
	if err := json.Unmarshal(text, &hosts); err != nil {
		t.Fatal(err)
	}
	for _, host := range hosts {
		if slices.Contains(host.Roles, record.RoleServer) && host.AvailableBytes != nil {
			return *host.AvailableBytes
		}
	}
	t.Fatalf("no available memory of the server in %s", text)
	return 0
}

// benchOnVMs runs a plan with the programs that make built.
func benchOnVMs(t *testing.T, plan, variants string) *record.Run {
	t.Helper()
	results := t.TempDir()
	c := exec.Command("../../bin/connbench", "bench", "--lab", "vagrant", "--plan", plan, "--variants", variants, "--results", results)
	output, err := c.CombinedOutput()
	t.Logf("%s\n%s", strings.Join(c.Args, " "), output)
	if err != nil {
		t.Fatal(err)
	}
	folders, err := filepath.Glob(filepath.Join(results, "*"))
	if err != nil || len(folders) != 1 {
		t.Fatalf("folders %v, error %v", folders, err)
	}
	run, err := folder.Open(folders[0])
	if err != nil {
		t.Fatal(err)
	}
	return run
}
