package conform

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"connbench/scripts/needs"
	"connbench/servers/conform/exam"
	"connbench/servers/contract"
)

// The test binary is the server as well, if these say so: which defects it has,
// and a file that it appends its process id to.
const (
	defectsVariable = "CONFORM_TEST_DEFECTS"
	pidsVariable    = "CONFORM_TEST_PIDS"
)

func TestMain(m *testing.M) {
	if defects, is := os.LookupEnv(defectsVariable); is {
		os.Exit(serveReference(strings.Fields(defects), os.Args[1:]))
	}
	os.Exit(m.Run())
}

// broken is the reference server with some defects, separated by spaces.
func broken(defects string) exam.Program {
	return exam.Program{
		Command:   []string{os.Args[0]},
		Env:       []string{defectsVariable + "=" + defects},
		Options:   contract.Options{MaxMessage: 64 << 10, Backlog: 1024, Loops: 2, Class: "default"},
		Broadcast: true,
	}
}

func TestReferencePasses(t *testing.T) {
	needs.Server(t)
	var reported []Result
	results, err := Run(t.Context(), broken(""), func(r Result) { reported = append(reported, r) })
	if err != nil {
		t.Fatal(err)
	}
	for i, result := range results {
		if result.Check != Checks(contract.Options{}, true)[i].Name || result.Title != Checks(contract.Options{}, true)[i].Title {
			t.Errorf("result %d is of %s, want one of %s", i, result.Check, Checks(contract.Options{}, true)[i].Name)
		}
		if !result.Passed {
			t.Errorf("%s: %s", result.Check, result.Detail)
		} else if result.Detail != "" {
			t.Logf("%s was not carried out: %s", result.Check, result.Detail)
		}
		if !slices.Contains(reported, result) {
			t.Errorf("%s was not reported", result.Check)
		}
	}
	if len(results) != len(Checks(contract.Options{}, true)) || len(reported) != len(results) {
		t.Errorf("%d results and %d reports of %d checks", len(results), len(reported), len(Checks(contract.Options{}, true)))
	}
}

// defect is one way in which the reference server can be wrong.
type defect struct {
	name string
	// fails are the checks that must fail over it, and no others must.
	fails string
	// loose says that others may: what else it breaks depends on how busy the
	// machine is or on how segments fall.
	loose bool
	// says, if given, is a part of what the first of the checks must say.
	says string
}

var defects = []defect{
	// The handshake.
	{name: "accept", fails: "handshake", says: "sent a handshake with key AQIDBAUGBwgJCgsMDQ4PEA==, expected Sec-WebSocket-Accept: "},
	{name: "connection-list", fails: "handshake-fields", says: "sent a handshake with Connection: keep-alive, Upgrade, expected status 101"},
	{name: "target-path", fails: "handshake-target"},
	{name: "header-2k", fails: "handshake-4k", says: "sent a handshake of 4 KiB, most of it one field, cut after 4096 bytes, expected status 101"},
	{name: "content", fails: "handshake-tolerance handshake-malformed handshake-oversized"},
	{name: "host", fails: "handshake-malformed", says: "sent a handshake without Host, "},
	{name: "deflate", fails: "handshake-extensions", says: "got Sec-WebSocket-Extensions: permessage-deflate"},
	{name: "subprotocol", fails: "handshake-extensions", says: "got Sec-WebSocket-Protocol: mine"},
	{name: "key", fails: "handshake-key connections", says: "expected a refusal with status 4xx or 5xx, or the end of the connection (RFC 6455 section 4.2.1), got status 101 Switching Protocols"},
	{name: "version", fails: "handshake-version"},
	{name: "version-unnamed", fails: "handshake-version", says: "got no Sec-WebSocket-Version"},
	{name: "upgrade", fails: "handshake-key handshake-version handshake-upgrade connections"},
	{name: "post", fails: "handshake-upgrade", says: "a handshake by POST"},
	{name: "http-1.0", fails: "handshake-upgrade", says: "a handshake by HTTP/1.0"},
	{name: "refuse-hang", fails: "handshake-tolerance handshake-key handshake-version handshake-upgrade handshake-malformed handshake-garbage handshake-oversized half-close connections", says: "got nothing for 15s"},
	{name: "header-unlimited", fails: "handshake-oversized"},
	{name: "accept-serial", fails: "handshake-fields handshake-target handshake-slow handshake-stuck connections stdin-end sigterm"},
	{name: "pipelined-lost", fails: "handshake-pipelined", says: "got status 101 and then nothing"},

	// Messages.
	{name: "masked", fails: "echo-text", loose: true, says: "a masked frame"}, // and all else that is ever echoed
	{name: "text-as-binary", fails: "large handshake-pipelined echo-text echo-burst fragments fragments-limit utf8 ping pong close-last continuation-alone frame-slow"},
	{name: "length-16", fails: "echo-text echo-binary fragments-limit limit large limit-option"},
	{name: "burst-lost", fails: "echo-burst", loose: true},
	{name: "crosstalk", fails: "echo-concurrent", loose: true},
	{name: "fragments-lost", fails: "fragments fragments-limit utf8 utf8-invalid limit large limit-option work continuation-alone frame-slow"},
	{name: "pong-late", fails: "fragments utf8 work", says: "expected a pong frame with the same 7 bytes (RFC 6455 section 5.5.3), got nothing for 15s"},
	{name: "limit-none", fails: "limit limit-option"},
	{name: "limit-fragments", fails: "limit limit-option"},
	{name: "limit-exclusive", fails: "echo-text echo-binary fragments-limit limit large limit-option"},
	{name: "limit-fixed", fails: "large limit-option"},
	{name: "large-drop", fails: "large"},
	{name: "limit-code", fails: "limit limit-option", says: "expected a close frame with code 1009 (RFC 6455 section 7.4.1 and the contract), got a close frame with code 1008"},
	{name: "work-none", fails: "work", says: "expected it to take at least 500ms of CPU (the contract), got "},
	{name: "work-frames", fails: "work", says: "expected it to take 500ms of CPU and little more (the contract), got "},
	{name: "utf8-none", fails: "utf8-invalid"},
	{name: "utf8-fragment", fails: "utf8", says: "got a close frame with code 1007"},
	{name: "utf8-code", fails: "utf8-invalid close-utf8"},

	// Control frames.
	{name: "pong-none", fails: "fragments utf8 limit-option work ping frame-slow flood"},
	{name: "pong-empty", fails: "fragments limit-option work ping frame-slow flood"},
	{name: "pong-answered", fails: "fragments pong"},
	{name: "close-none", fails: "large fragments close close-code close-invalid close-utf8 close-last frame-slow connections churn"},
	{name: "close-open", fails: "large fragments close close-code close-last frame-slow connections churn", loose: true},
	{name: "close-code", fails: "large fragments close-code close-last frame-slow connections churn"},
	{name: "close-invalid", fails: "close-invalid"},
	{name: "close-utf8", fails: "close-utf8"},
	{name: "close-more", fails: "large fragments close close-code close-last frame-slow connections churn"},

	// Violations.
	{name: "unmasked", fails: "unmasked"},
	{name: "reserved-bits", fails: "reserved-bits"},
	{name: "reserved-opcodes", fails: "reserved-opcodes"},
	{name: "control-oversized", fails: "control-oversized"},
	{name: "control-fragmented", fails: "control-fragmented"},
	{name: "continuation-alone", fails: "continuation-alone"},
	{name: "fragments-interrupted", fails: "fragments-interrupted"},
	{name: "drop", fails: "utf8-invalid limit limit-option close-invalid close-utf8 reserved-bits reserved-opcodes control-oversized control-fragmented continuation-alone fragments-interrupted", says: "got the end of the connection"},

	// What one connection does to others.
	{name: "frame-lock", fails: "frame-slow frame-stuck unread idle stdin-end sigterm"},
	{name: "write-lock", fails: "unread", says: "while a peer that does not read has messages waiting for it: "},
	{name: "unread-lost", fails: "unread", loose: true},
	{name: "flood-greedy", fails: "flood", loose: true, says: "while three connections send small frames without a pause: "},
	{name: "reset-exit", fails: "reset connections churn", says: "the server died: exit status 3: fatal error: "},
	{name: "half-open", fails: "reset half-close connections churn"},
	{name: "deadline", fails: "idle", loose: true},
	{name: "count-tcp", fails: "connections", says: "expected stats to count 30 connections, got 32"},
	{name: "count-up", fails: "reset half-close connections churn"},
	{name: "file-leak", fails: "churn", says: "descriptors that it had before"},
	{name: "goroutine-leak", fails: "churn", says: "goroutines that there were before"},

	// Broadcasts.
	{name: "broadcast-others", fails: "broadcast-all broadcast-order broadcast-members broadcast-invalid broadcast-unread"},
	{name: "broadcast-twice", fails: "broadcast-all broadcast-order broadcast-members broadcast-unread"},
	{name: "broadcast-pongs", fails: "broadcast-all broadcast-members broadcast-invalid"},
	{name: "broadcast-order", fails: "broadcast-order", says: "expected the messages of each in their order (the contract), got at connection 1 "},
	{name: "broadcast-past", fails: "broadcast-members", says: "expected a pong frame with the same 4 bytes"},
	{name: "broadcast-unchecked", fails: "broadcast-invalid", says: "got a text frame of 2 bytes"},
	{name: "broadcast-blocking", fails: "broadcast-unread", says: "while a peer does not read what others send to all: "},
	{name: "broadcast-hoards", fails: "broadcast-unread", says: "expected stats to count 2 connections, got 3"},

	// Sockets.
	{name: "listen-first", fails: "listen listen-ipv6"},
	{name: "ready-order", fails: "listen"},
	{name: "ipv4-only", fails: "listen-ipv6", says: "expected a ready line on its standard output, got its end: exit status 1: "},
	{name: "backlog", fails: "backlog", says: "expected an accept queue of 17 connections"},
	{name: "keepalive", fails: "keepalive"},
	{name: "nagle", fails: "nodelay"},
	{name: "mptcp", fails: "mptcp"},

	// The process.
	{name: "stats-unnamed", fails: "reset half-close connections churn listen stats settle", says: "connections is missing"},
	{name: "settle-lazy", fails: "settle"},
	{name: "usage-1", fails: "usage", says: "expected exit status 2 (the contract), got: exit status 1"},
	{name: "usage-silent", fails: "usage"},
	{name: "usage-serve", fails: "usage", says: "expected the server to end"},
	{name: "taken-0", fails: "port-taken"},
	{name: "taken-mute", fails: "port-taken", says: `got "reference: cannot listen"`},
	{name: "taken-usage", fails: "port-taken"},
	{name: "stdin-ignored", fails: "stdin-end"},
	{name: "sigterm-ignored", fails: "sigterm"},
	{name: "sigterm-default", fails: "sigterm", says: "got: signal: terminated"},
	{name: "end-waits", fails: "stdin-end sigterm"},
	{name: "child-left", fails: "leaves-nothing", says: "got these processes: sleep"},
	{name: "end-1", fails: "stdin-end sigterm", says: "got: exit status 1"},
}

// ofBroadcasts says whether the defect shows only where messages go to all.
func (d defect) ofBroadcasts() bool { return strings.HasPrefix(d.name, "broadcast-") }

// group is a set of defects that one server can have at the same time, as no
// check must fail over two of them. That saves most of the time that it would
// take to try them one by one.
type group struct {
	defects []defect
	fails   []string
}

// groups puts each defect into the first group that it fits, and a loose one
// into a group of its own.
func groups() []*group {
	var list []*group
	for _, d := range defects {
		fails := strings.Fields(d.fails)
		at := slices.IndexFunc(list, func(g *group) bool {
			return !g.defects[0].loose && !d.loose && g.defects[0].ofBroadcasts() == d.ofBroadcasts() && !slices.ContainsFunc(fails, func(check string) bool { return slices.Contains(g.fails, check) })
		})
		if at < 0 {
			at = len(list)
			list = append(list, new(group))
		}
		list[at].defects = append(list[at].defects, d)
		list[at].fails = append(list[at].fails, fails...)
	}
	return list
}

func (g *group) String() string {
	var names []string
	for _, d := range g.defects {
		names = append(names, d.name)
	}
	return strings.Join(names, " ")
}

// TestDefects breaks the reference server in every way that is known: the checks
// that must fail do, and no others. It also keeps the gate honest: a check over
// which no server is known to fail is none.
func TestDefects(t *testing.T) {
	needs.Server(t)
	t.Parallel()
	tried := map[string]bool{}
	for _, d := range defects {
		for check := range strings.FieldsSeq(d.fails) {
			tried[check] = true
		}
	}
	for _, check := range Checks(contract.Options{}, true) {
		if !tried[check.Name] {
			t.Errorf("%s: no defect is known over which it must fail", check.Name)
		}
	}

	// Not by t.Parallel, which allows for no more than there are CPUs: most of
	// the time is spent waiting for answers that never come.
	type outcome struct {
		results []Result
		err     error
	}
	all := groups()
	outcomes := make([]outcome, len(all))
	places := make(chan struct{}, 6)
	var wait sync.WaitGroup
	for i, g := range all {
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			results, err := run(t.Context(), broken(g.String()), g.checks(), nil)
			outcomes[i] = outcome{results, err}
		})
	}
	wait.Wait()
	for i, g := range all {
		t.Run(g.String(), func(t *testing.T) {
			if outcomes[i].err != nil {
				t.Fatal(outcomes[i].err)
			}
			g.verify(t, outcomes[i].results)
		})
	}
}

// checks are those that a group is examined by: those of broadcasts or all others, but the one
// that takes as long as all others together, unless a defect is about it.
func (g *group) checks() []exam.Case {
	return slices.DeleteFunc(checksOf(contract.Options{}, true), func(check exam.Case) bool {
		return check.Name == "large" && !slices.Contains(g.fails, check.Name) || (check.Section == exam.Broadcasts) != g.defects[0].ofBroadcasts()
	})
}

func (g *group) verify(t *testing.T, results []Result) {
	details := map[string]string{}
	for _, result := range results {
		details[result.Check] = result.Detail
		expected := slices.Contains(g.fails, result.Check)
		switch {
		case result.Passed && result.Detail != "":
			t.Logf("%s was not carried out: %s", result.Check, result.Detail)
			delete(details, result.Check)
		case result.Passed && expected:
			t.Errorf("%s passed and should not have", result.Check)
		case !result.Passed && !expected && !g.defects[0].loose:
			t.Errorf("%s should have passed: %s", result.Check, result.Detail)
		}
	}
	for _, d := range g.defects {
		first, _, _ := strings.Cut(d.fails, " ")
		if detail, carriedOut := details[first]; carriedOut && !strings.Contains(detail, d.says) {
			t.Errorf("%s says %q, which does not contain %q", first, detail, d.says)
		}
	}
}

// TestDescendantsAreExamined has the server's work done by a child of the process that was
// started: what the kernel says of the server must be about both.
func TestDescendantsAreExamined(t *testing.T) {
	needs.Server(t)
	t.Parallel()
	names := []string{"work", "churn", "backlog", "keepalive", "nodelay"}
	checks := slices.DeleteFunc(checksOf(contract.Options{}, false), func(check exam.Case) bool { return !slices.Contains(names, check.Name) })
	for _, defects := range []string{"", "work-none file-leak backlog keepalive nagle"} {
		program := broken(defects)
		program.Command = []string{"sh", "-c", `"$0" "$@"; exit $?`, os.Args[0]}
		results, err := run(t.Context(), program, checks, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, result := range results {
			switch {
			case result.Passed && result.Detail != "":
				t.Logf("%s was not carried out: %s", result.Check, result.Detail)
			case result.Passed != (defects == ""):
				t.Errorf("with the defects %q: %s passed: %v: %s", defects, result.Check, result.Passed, result.Detail)
			}
		}
	}
}

// TestNoServer is about programs with which no check can begin.
func TestNoServer(t *testing.T) {
	needs.Server(t)
	t.Parallel()
	missing, limited := broken(""), broken("")
	missing.Command = []string{"/nonexistent/server"}
	limited.Options.MaxMessage = 100
	for _, test := range []struct {
		program exam.Program
		want    string
	}{
		{missing, "cannot start the server: fork/exec /nonexistent/server: no such file or directory"},
		{limited, "MaxMessage is 100"},
		{broken("dead-at-start"), "got its end: exit status 2: panic: dead at start"},
		{broken("never-ready"), "expected a ready line on its standard output, got none"},
	} {
		results, err := Run(t.Context(), test.program, nil)
		if err == nil || !strings.Contains(err.Error(), test.want) || len(results) > 0 {
			t.Errorf("%v: got %d results and %v, want an error with %q", test.program.Env, len(results), err, test.want)
		}
	}
}

// TestCancel ends a run in the middle: it must say so at once and leave no
// server behind.
func TestCancel(t *testing.T) {
	needs.Server(t)
	pids := filepath.Join(t.TempDir(), "pids")
	if err := os.WriteFile(pids, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	program := broken("")
	program.Env = append(program.Env, pidsVariable+"="+pids)
	ctx, cancel := context.WithCancel(t.Context())
	results, err := Run(ctx, program, func(Result) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if len(results) == 0 || len(results) == len(Checks(contract.Options{}, true)) {
		t.Errorf("got %d results, want those known when it was cancelled", len(results))
	}
	for _, result := range results {
		if !result.Passed {
			t.Errorf("%s: %s", result.Check, result.Detail)
		}
	}
	text, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	for field := range strings.FieldsSeq(string(text)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
			t.Errorf("server %d is still there (%v)", pid, err)
		}
	}
}
