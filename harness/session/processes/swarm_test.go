package processes

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connbench/clients/control"
	"connbench/harness/agent"
	"connbench/harness/lab"
	"connbench/harness/session"
	"connbench/scripts/needs"
)

// An error of the swarm is told by its kind, not by its words.
func TestTroubleOfTheSwarm(t *testing.T) {
	s := &swarm{}
	host := &swarmHost{name: "client1"}
	for trouble, want := range map[control.Trouble]struct{ ended, refused bool }{
		control.TroubleEnded: {ended: true}, control.TroubleRefused: {refused: true}, "": {},
	} {
		err := s.failed(host, control.Event{Kind: control.KindError, Error: "worker 2: no luck", Trouble: trouble})
		start := (*session.StartError)(nil)
		refused := errors.As(err, &start) && start.Refused()
		if errors.Is(err, session.ErrSwarmEnded) != want.ended || refused != want.refused || !strings.Contains(err.Error(), "client1") || !strings.Contains(err.Error(), "worker 2: no luck") {
			t.Errorf("%q: %v", trouble, err)
		}
	}
}

// A swarm that makes no progress is killed and named, whatever it says meanwhile; one
// that does is waited for.
func TestStalledSwarm(t *testing.T) {
	needs.Server(t)
	before := stallPatience
	stallPatience = time.Second
	defer func() { stallPatience = before }()
	folder := t.TempDir()
	program := filepath.Join(folder, "connbench-agent")
	if output, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, "connbench/harness/agent/connbench-agent").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	client, err := agent.Dial("here", []string{program})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for name, test := range map[string]struct{ script, want string }{
		"mute":     {`read command; sleep 1000`, "it was killed, since its ramp made no progress for 1s"},
		"idle":     {`read command; while echo '{"kind":"progress","op":"ramp","open":3}'; do sleep 0.05; done`, "ended with 3 of the 3 connections: it was killed, since its ramp made no progress for 1s"},
		"slow":     {`read command; for i in 1 2 3 4 5; do echo '{"kind":"progress","op":"ramp","open":'$i'}'; sleep 0.4; done; echo '{"kind":"done","op":"ramp","result":{"open":5}}'; read end`, ""},
		"nonsense": {`read command; head -c 2000 /dev/zero | tr '\0' x; echo; read end`, `said "xxxxx`},
		"ends":     {`read command; echo no luck >&2; exit 3`, "ended with 0 of the 0 connections: exit status 3: no luck"},
	} {
		script := filepath.Join(folder, name)
		text := "#!/bin/sh\nread configure; echo '{\"kind\":\"done\",\"op\":\"configure\"}'\n" + test.script + "\n"
		if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		s, err := startSwarm(t.Context(), []lab.Client{{Host: &lab.Host{Agent: client}}}, []string{script}, 0, control.Config{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Do(t.Context(), control.Command{Op: "ramp", Connections: 5})
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || len(err.Error()) > 500) {
			t.Errorf("%s: error %v, want %q", name, err, test.want)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // nobody waits for one that does not end
		if err := s.Stop(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
