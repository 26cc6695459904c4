package shell

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"connbench/harness/agent"
	"connbench/harness/explain"
)

// The ways to a host that is this machine: as is, by a command that runs others, and
// by one that joins words to a line for a shell, as ssh does.
func ways() map[string]Host {
	return map[string]Host{
		"nothing":              {Name: "here"},
		"a command":            {Name: "here", Via: []string{"env", "CONNBENCH_TEST=1"}},
		"a shell":              {Name: "here", Via: []string{"sh", "-c", `exec "$@"`, "sh"}},
		"a shell for the line": {Name: "here", Via: []string{"sh", "-c"}, Joined: true},
	}
}

func TestScriptsHaveTheirArguments(t *testing.T) {
	for name, h := range ways() {
		got, err := h.Run(t.Context(), strings.NewReader("input"), `printf '%s|' "$@"; cat`, "it's", `a "b" $c`, "", "two\nlines")
		if want := "it's|a \"b\" $c||two\nlines|input"; err != nil || got != want {
			t.Errorf("%s: %q, error %v", name, got, err)
		}
	}
}

func TestErrorsNameTheHost(t *testing.T) {
	for name, h := range ways() {
		if _, err := h.Run(t.Context(), nil, `echo bad luck >&2; exit 3`); err == nil || err.Error() != "host here: bad luck" {
			t.Errorf("%s: error %v", name, err)
		}
		h.Explain = func(err error) error { return errors.New("lightning: " + err.Error()) }
		if _, err := h.Run(t.Context(), nil, `exit 3`); err == nil || err.Error() != "lightning: host here: exit status 3" {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// What prints something of its own cannot be used.
func TestChattyHost(t *testing.T) {
	h := Host{Name: "here", Via: []string{"sh", "-c", `echo welcome; exec "$@"`, "sh"}}
	if _, err := h.Architecture(t.Context()); err == nil || !strings.Contains(err.Error(), `its shell prints "welcome`) {
		t.Errorf("error %v", err)
	}
}

// Each kind of command that does not reach a host has an error and a hint of its own.
func TestWaysThatLeadNowhere(t *testing.T) {
	patience := greetPatience
	defer func() { greetPatience = patience }()
	for name, test := range map[string]struct {
		via        []string
		want, hint string
	}{
		"a command that is missing": {[]string{"connbench-no-such-command", "n1"}, "connbench-no-such-command is missing here", "install it"},
		"a path that is missing":    {[]string{"/nonexistent/srun"}, "/nonexistent/srun is missing here", "install it"},
		"it ends at once":           {[]string{"false"}, "exit status 1", "this must work: false true"},
		"it says why it ends":       {[]string{"sh", "-c", "echo 'Unable to contact the controller' >&2; exit 1"}, "Unable to contact the controller", "this must work: "},
		"it ends without a word":    {[]string{"true"}, `does not reach a shell: its answer is ""`, "this must print hello: true sh -c 'echo hello'"},
		"it is no shell":            {[]string{"echo", "hello"}, `does not reach a shell: its answer is "hello /bin/sh -c`, "this must print hello"},
		"it never answers":          {[]string{"sh", "-c", "exec sleep 1000"}, "it did not end within 200ms", "this must work"},
		"it passes no input on":     {[]string{"sh", "-c", `exec "$@" </dev/null`, "sh"}, "standard input does not reach the host", "-i"},
		"seven bits":                {[]string{"sh", "-c", `"$@" | LC_ALL=C tr '\200-\377' '?'`, "sh"}, "every byte must pass unchanged", "allocate a terminal"},
		"a terminal's ends of line": {[]string{"sh", "-c", `"$@" | sed 's/$/\r/'`, "sh"}, "every byte must pass unchanged", "allocate a terminal"},
	} {
		greetPatience = patience
		if name == "it never answers" {
			greetPatience = 200 * time.Millisecond
		}
		_, err := Host{Name: "n1", Via: test.via}.Architecture(t.Context())
		if err == nil || !strings.HasPrefix(err.Error(), "host n1: ") || !strings.Contains(err.Error(), test.want) || !strings.Contains(explain.HintOf(err), test.hint) {
			t.Errorf("%s: error %v, hint %q", name, err, explain.HintOf(err))
		}
	}
}

// If the engine has a way to copy programs, it replaces the pipe, for the agent and for the
// programs that the agent starts.
func TestProgramsArePlaced(t *testing.T) {
	program := buildAgent(t)
	cache, depot := t.TempDir(), t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	var placed []string
	damaged := false
	place := func(_ context.Context, file string) (string, error) {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		if damaged {
			text = text[1:]
		}
		there := filepath.Join(depot, filepath.Base(file))
		placed = append(placed, filepath.Base(file))
		return there, os.WriteFile(there, text, 0o600)
	}
	h := Host{Name: "here", Place: place}
	dial := func() (*agent.Client, error) {
		return h.Dial(t.Context(), func(context.Context, string) (string, error) { return program, nil })
	}
	damaged = true
	if _, err := dial(); err == nil || !strings.Contains(err.Error(), "it arrived damaged") {
		t.Errorf("error %v", err)
	}
	damaged = false
	client, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Facts(t.Context()); err != nil {
		if strings.Contains(err.Error(), "another run is on this host") {
			t.Skip("somebody else measures on this host:", err)
		}
		t.Fatal(err)
	}
	server := filepath.Join(t.TempDir(), "server")
	if err := os.WriteFile(server, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time it is there
		there, err := client.Carry(t.Context(), server)
		if err != nil || !strings.HasPrefix(there, cache) {
			t.Errorf("it is at %s, error %v", there, err)
		}
	}
	if want := []string{"connbench-agent", "connbench-agent", "server"}; !slices.Equal(placed, want) {
		t.Errorf("placed %q, want %q", placed, want)
	}
	if left, err := os.ReadDir(depot); err != nil || len(left) > 0 {
		t.Errorf("%v has been left, error %v", left, err)
	}
}

// buildAgent builds the agent's program.
func buildAgent(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "connbench-agent")
	if output, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, "connbench/harness/agent/connbench-agent").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return program
}

// The agent travels over the same pipe as all else, once, and is at work.
func TestAgentIsBroughtAndStarted(t *testing.T) {
	program := buildAgent(t)
	for name, h := range ways() {
		cache := t.TempDir()
		t.Setenv("XDG_CACHE_HOME", cache)
		for range 2 {
			client, err := h.Dial(t.Context(), func(_ context.Context, architecture string) (string, error) {
				if architecture != runtime.GOARCH {
					t.Errorf("%s: it is for %s", name, architecture)
				}
				return program, nil
			})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			facts, err := client.Facts(t.Context())
			client.Close()
			if err != nil && strings.Contains(err.Error(), "another run is on this host") {
				t.Skip("somebody else measures on this host:", err)
			}
			if err != nil || facts.Host.Name != "here" || facts.Host.Architecture != runtime.GOARCH {
				t.Errorf("%s: %+v, error %v", name, facts, err)
			}
		}
		if kept, err := filepath.Glob(filepath.Join(cache, "connbench", "programs", "*", "connbench-agent")); err != nil || len(kept) != 1 {
			t.Errorf("%s: kept are %v, error %v", name, kept, err)
		} else if err := os.WriteFile(kept[0], []byte("damaged"), 0o700); err != nil {
			t.Fatal(err)
		}
		// One that was damaged where it lies is brought anew.
		if client, err := h.Dial(t.Context(), func(context.Context, string) (string, error) { return program, nil }); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if _, err := client.Spin(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		} else {
			client.Close()
		}
	}
}

// Programs are kept where nobody else can write, and where the agent will look for
// them too.
func TestProgramsArePrivate(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		prepare func(cache, temp string)
		noHome  bool
		want    string
	}{
		"as usual":        {func(string, string) {}, false, "cache/connbench/programs/x"},
		"no HOME":         {func(string, string) {}, true, "temp/connbench-UID/programs/x"},
		"cache is a file": {func(cache, _ string) { must(os.WriteFile(cache, nil, 0o600)) }, false, "temp/connbench-UID/programs/x"},
		"open to others": {func(cache, _ string) {
			must(os.MkdirAll(cache+"/connbench", 0o700))
			must(os.Chmod(cache+"/connbench", 0o777))
		}, false, "temp/connbench-UID/programs/x"},
		"open to the group": {func(cache, _ string) {
			must(os.MkdirAll(cache+"/connbench/programs", 0o700))
			must(os.Chmod(cache+"/connbench/programs", 0o770))
		}, false, "temp/connbench-UID/programs/x"},
		"a link": {func(cache, temp string) {
			must(os.Mkdir(cache, 0o700))
			must(os.Symlink(temp, cache+"/connbench"))
		}, false, "temp/connbench-UID/programs/x"},
		"replaceable": {func(cache, _ string) {
			must(os.Mkdir(cache, 0o700))
			must(os.Chmod(cache, 0o777))
		}, false, "temp/connbench-UID/programs/x"},
		"temp is open as well": {func(_, temp string) { must(os.Chmod(temp, 0o777)) }, true, ""},
	} {
		folder := t.TempDir()
		cache, temp := filepath.Join(folder, "cache"), filepath.Join(folder, "temp")
		must(os.Mkdir(temp, 0o700))
		must(os.Chmod(temp, 0o777|os.ModeSticky)) // as /tmp is
		t.Setenv("TMPDIR", temp)
		t.Setenv("XDG_CACHE_HOME", cache)
		if test.noHome {
			t.Setenv("XDG_CACHE_HOME", "")
			t.Setenv("HOME", "")
		}
		test.prepare(cache, temp)
		got, err := Host{Name: "here"}.Run(t.Context(), nil, findProgram+`echo "$folder"`, "x")
		want := filepath.Join(folder, strings.Replace(test.want, "UID", fmt.Sprint(os.Geteuid()), 1))
		switch {
		case test.want == "" && (err == nil || !strings.Contains(err.Error(), "no place for programs that is ours alone")):
			t.Errorf("%s: %s, error %v", name, got, err)
		case test.want != "" && (err != nil || strings.TrimSpace(got) != want):
			t.Errorf("%s: %s, error %v, want %s", name, got, err, want)
		}
	}
}
