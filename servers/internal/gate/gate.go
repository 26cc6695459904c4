// Package gate is the test that every Go variant has: each of its classes is
// built by its own build command and put through the conformance suite.
package gate

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"connbench/scripts/needs"
	"connbench/servers/conform"
	"connbench/servers/conform/exam"
	"connbench/servers/contract"
)

// variant is what is needed of a variant.toml.
type variant struct {
	Name        string
	Waives      map[string]string
	Protocols   []string
	Security    []string
	Compression []string
	Broadcast   []string
	Device      string
	Class       map[string]struct {
		Build []string
		Run   []string
	}
}

// Test tests the variant in the present folder. Under the race detector the server of
// class tuned, which shares more than the other, is built with it too, and a race fails the
// check in which it shows; withoutRace, unless it is empty, says why that cannot be. The
// rest goes without: the detector takes ten times the time.
func Test(t *testing.T, withoutRace string) {
	needs.Server(t)
	text, err := os.ReadFile("variant.toml")
	if err != nil {
		t.Fatal(err)
	}
	var v variant
	if err := toml.Unmarshal(text, &v); err != nil {
		t.Fatalf("variant.toml: %v", err)
	}
	if folder, err := os.Getwd(); err != nil || filepath.Base(folder) != v.Name {
		t.Errorf("variant.toml: name is %q, but the folder is %s (%v)", v.Name, folder, err)
	}
	if len(v.Protocols) == 0 {
		v.Protocols = []string{contract.ProtocolWebSocket}
	}
	if len(v.Class) == 0 {
		t.Fatal("variant.toml has no class")
	}
	if raceEnabled && withoutRace != "" {
		t.Logf("the server is built without the race detector: %s", withoutRace)
	}
	for class, commands := range v.Class {
		test := func(name string, options contract.Options, race, secure bool, only exam.Section) {
			t.Run(class+"/"+name, func(t *testing.T) {
				program := filepath.Join(t.TempDir(), v.Name)
				command := fill(commands.Build, program)
				if race {
					command = slices.Insert(command, 2, raceFlags...)
				}
				build(t, command)
				options.MaxMessage, options.Backlog, options.Loops, options.Class = 64<<10, 1024, 2, class
				pass(t, conform.Program{
					Command: fill(commands.Run, program),
					// By itself a program with the race detector sleeps a second at its end.
					Env:     []string{"GORACE=halt_on_error=1 atexit_sleep_ms=0"},
					Options: options,
					Secure:  secure,
					Only:    only,

					Broadcast: slices.Contains(v.Broadcast, cmp.Or(options.Protocol, contract.ProtocolWebSocket)),
					Device:    v.Device != "",
					Waives:    v.Waives,
				})
			})
		}
		main := class == "tuned" || len(v.Class) == 1
		for i, protocol := range v.Protocols {
			if i > 0 && !main {
				break
			}
			test(protocol, contract.Options{Protocol: protocol}, raceEnabled && withoutRace == "" && main, false, "")
		}
		if main && len(v.Security) > 0 {
			test("tls", contract.Options{Protocol: v.Protocols[0]}, false, true, "") // TLS is below what classes differ in
		}
		for _, way := range v.Compression {
			// What is not compressed goes the way that it goes without.
			test(way, contract.Options{Compression: way}, raceEnabled && withoutRace == "" && main, false, exam.Compression)
		}
	}
}

// raceFlags come after "go build". The race detector brings checkptr with it,
// which takes gnet's poll_opt for a fault: that keeps pointers in epoll's events,
// which are packed and so not aligned.
var raceFlags = []string{"-race", "-gcflags=github.com/panjf2000/gnet/v2/...=-d=checkptr=0"}

// fill puts the program's path into a command.
func fill(command []string, program string) []string {
	filled := slices.Clone(command)
	for i, word := range filled {
		filled[i] = strings.ReplaceAll(word, "{program}", program)
	}
	return filled
}

func build(t *testing.T, command []string) {
	output, err := exec.CommandContext(t.Context(), command[0], command[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, output)
	}
}

func pass(t *testing.T, program conform.Program) {
	results, err := conform.Run(t.Context(), program, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, result := range results {
		switch {
		case !result.Passed:
			t.Errorf("%s: %s: %s", result.Check, result.Title, result.Detail)
		case result.Waived != "":
			t.Logf("%s: waived: %s", result.Check, result.Detail)
		case result.Detail != "":
			t.Logf("%s: not carried out: %s", result.Check, result.Detail)
		}
	}
}
