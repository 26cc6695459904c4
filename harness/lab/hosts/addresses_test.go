package hosts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"connbench/clients/control"
	"connbench/harness/explain"
	"connbench/harness/lab"
	"connbench/scripts/needs"
)

// A lab whose packets would go to somebody else, or seem to come from there, is not
// opened. Each host is a network namespace of its own.
func TestForeignAddressesAreRefused(t *testing.T) {
	needs.Namespaces(t)
	needs.Tools(t, "ip", "unshare")
	program := filepath.Join(t.TempDir(), "connbench-agent")
	if output, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, "connbench/harness/agent/connbench-agent").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	const (
		server = "ip route add local 198.18.0.1/32 dev lo"
		client = "ip route add local 198.19.1.0/24 dev lo"
		// A server whose packets leave by a gateway.
		routed = server + "; ip link add out type veth peer name in; ip link set out up; ip link set in up; ip addr add 203.0.113.2/24 dev out; ip route add default via 203.0.113.1"
	)
	for name, test := range map[string]struct {
		engine                  string
		server, serverAddress   string
		client, clientAddresses string
		problem, hint           string
	}{
		"its own": {control.EngineSocket, server, "198.18.0.1", client, "198.19.1.0/24", "", ""},
		"the server's": {control.EngineSocket, server, "198.18.0.9", client, "198.19.1.0/24",
			"host server: not an address of this host: 198.18.0.9", "make it local"},
		"a client's": {control.EngineSocket, server, "198.18.0.1", client, "198.19.1.0/25\", \"198.19.2.7",
			"host client1: not an address of this host: 198.19.2.7", "make it local"},
		"a prefix in part": {control.EngineSocket, server, "198.18.0.1", client, "198.19.0.0/23",
			"host client1: not an address of this host: 198.19.0.0/23", "make it local"},
		"both have it": {control.EngineSocket, server, "127.0.0.1", client, "198.19.1.0/24",
			"host client1: the server listens on 127.0.0.1, which is also an address of this host", "leads to it from there"},
		"packets of the Internet": {control.EnginePacket, routed, "198.18.0.1", client, "192.88.99.0/24",
			"host client1: the server has no route for 192.88.99.0/24 to this host", "ip route add 192.88.99.0/24 via"},
		"packets of the Internet, routed to the client": {control.EnginePacket, routed + "; ip route add 192.88.99.0/24 via 203.0.113.7",
			"198.18.0.1", client + "; ip route add local 203.0.113.7 dev lo", "192.88.99.0/24", "", ""},
		"packets that lead nowhere": {control.EnginePacket, routed, "198.18.0.1", client, "198.19.101.0/24", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "lab.toml")
			key := "addresses"
			if test.engine == control.EnginePacket {
				key = "packet"
			}
			text := hostOf("server", "addresses", test.serverAddress, test.server) + hostOf("client1", key, test.clientAddresses, test.client)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			l, err := lab.Open(t.Context(), file, lab.Options{Engine: test.engine, Agent: func(context.Context, string) (string, error) { return program, nil }})
			if err == nil {
				l.Close()
			}
			noTUN := err != nil && strings.Contains(err.Error(), "TUN") // which is looked for later
			switch {
			case test.problem == "" && err != nil && !noTUN:
				t.Errorf("error %v", err)
			case test.problem != "" && (err == nil || !strings.Contains(err.Error(), test.problem) || !strings.Contains(explain.HintOf(err), test.hint)):
				t.Errorf("error %v, hint %q, want %q", err, explain.HintOf(err), test.problem)
			}
			if test.problem == "" {
				return
			}
			found, err := lab.Check(t.Context(), file, lab.Options{Engine: test.engine, Agent: func(context.Context, string) (string, error) { return program, nil }})
			var problems []string
			for _, health := range found {
				for _, problem := range health.Problems {
					problems = append(problems, "host "+health.Name+": "+problem)
				}
				if health.Connects > 0 {
					err = errors.Join(err, fmt.Errorf("%d connections were made", health.Connects))
				}
			}
			if err != nil || !strings.Contains(strings.Join(problems, "\n"), test.problem) {
				t.Errorf("a check finds %q, error %v", problems, err)
			}
		})
	}
}

// hostOf describes a host that is a new network namespace, set up by a script.
func hostOf(name, key, addresses, setUp string) string {
	role := strings.TrimRight(name, "1")
	return fmt.Sprintf("[[host]]\nname = %q\nrole = %q\n%s = [\"%s\"]\nvia = [\"unshare\", \"-n\", \"sh\", \"-c\", 'ip link set lo up; %s; exec \"$@\"', \"sh\"]\n",
		name, role, key, addresses, setUp)
}
