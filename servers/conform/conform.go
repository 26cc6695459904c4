// Package conform is the gate that a server passes before it may be measured:
// the executable half of the contract in servers/contract.
//
// [Run] starts the server's program as the contract says, once for each check,
// and talks to it over real sockets. A process of its own for each check means
// that a check which fails, fails for a reason of its own, and that the checks
// can run side by side. Nothing is judged by how long it takes: "served
// meanwhile" means that an answer came before the next byte was sent, and a
// wait ends in failure only when nothing has come for [exam.Patience].
package conform

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"connbench/servers/conform/compression"
	"connbench/servers/conform/exam"
	"connbench/servers/conform/plain"
	"connbench/servers/conform/protocol"
	"connbench/servers/conform/service"
	"connbench/servers/contract"
	"connbench/servers/family"
)

// Program is a server to be examined.
type Program = exam.Program

// Check names one thing that a server must do.
type Check struct {
	// Name is short and stable, in lower case: "close-code".
	Name string
	// Title says in one line what the server must do.
	Title string
	// Section is one of [Sections].
	Section string
}

// Sections are the parts of RFC 6455 and of the contract that checks are about: "7 closing".
func Sections() (names []string) {
	for _, section := range exam.Sections {
		names = append(names, string(section))
	}
	return names
}

// Result is what became of one check.
type Result struct {
	Check   string
	Title   string
	Section string
	// Passed is true as well for a check that could not be carried out on this
	// host; Detail then says why. It is empty for one that was and passed.
	Passed bool
	// Detail says for a failed check what was sent, what was expected, by which
	// section of which standard, and what came.
	Detail string
	// Waived says why a check that failed does not count: the variant's own reason.
	Waived string `json:",omitempty"`
	// Seconds is how long the check took. It says nothing about the server.
	Seconds float64
}

// sideBySide is how many checks run at a time. Much of a check is waiting for two processes to
// take turns; but the more there are, the longer each takes, and servers have timeouts of their
// own: Bun's for a request is 10 s, and cannot be set.
const sideBySide = 4

// smallestLimit is the smallest message limit with which the checks make sense.
const smallestLimit = 4 << 10

// checksOf are those of servers with options, in the order in which they are listed. broadcast
// says that they can send each message to all connections.
func checksOf(o contract.Options, broadcast bool) []exam.Case {
	spoken := o.Protocol
	if spoken == "" || spoken == contract.ProtocolWebSocket {
		checks := slices.Concat(protocol.Checks, service.Checks)
		if o.Compression != "" {
			// It is to accept an extension.
			checks = slices.DeleteFunc(checks, func(check exam.Case) bool { return check.Name == "handshake-extensions" })
			checks = append(checks, compression.Checks(o.Compression)...)
		}
		if broadcast && o.Compression == "" { // no server is asked for both
			checks = append(checks, service.BroadcastChecks...)
		}
		return checks
	}
	checks := slices.DeleteFunc(slices.Clone(service.Checks), func(check exam.Case) bool { return !check.Any })
	checks = slices.Concat(plain.Checks, checks)
	if spoken == contract.ProtocolHTTP {
		checks = slices.Concat(plain.HTTPChecks, checks)
		if broadcast {
			checks = append(checks, plain.BroadcastChecks...)
		}
	}
	return checks
}

// Checks lists the checks of servers with options in the order of the results of [Run], of
// those that can broadcast or of others. Of the options, only the protocol and the compression
// matter.
func Checks(o contract.Options, broadcast bool) []Check {
	var list []Check
	for _, check := range checksOf(o, broadcast) {
		list = append(list, Check{check.Name, check.Title, string(check.Section)})
	}
	return list
}

// Run puts program through every check and returns their results in the order
// of [Checks], waivers applied: see [Result.Waived]. It calls report, which may be nil, with each result as soon as it
// is known, never twice at a time.
//
// What a server has started and left behind becomes a child of this process, and is
// killed.
//
// The error is about the program as a whole, and no check has then been tried:
// it cannot be started or does not get ready, or its options do not do. When ctx ends, Run ends the
// servers and returns the results known by then with the cause.
func Run(ctx context.Context, program Program, report func(Result)) ([]Result, error) {
	checks := checksOf(program.Options, program.Broadcast)
	if program.Only != "" {
		checks = slices.DeleteFunc(checks, func(check exam.Case) bool { return check.Section != program.Only })
	}
	return run(ctx, program, checks, report)
}

// run is [Run] with some of the checks.
func run(ctx context.Context, program Program, checks []exam.Case, report func(Result)) ([]Result, error) {
	if err := family.Adopt(); err != nil {
		return nil, fmt.Errorf("conform: %w", err)
	}
	if report == nil {
		report = func(Result) {}
	}
	if program.Options.MaxMessage < smallestLimit {
		return nil, fmt.Errorf("conform: Options.MaxMessage is %d, but the checks need messages of %d bytes", program.Options.MaxMessage, smallestLimit)
	}
	if program.Secure {
		folder, err := os.MkdirTemp("", "connbench-gate-")
		if err != nil {
			return nil, fmt.Errorf("conform: %w", err)
		}
		defer os.RemoveAll(folder)
		if err := program.Certify(folder); err != nil {
			return nil, fmt.Errorf("conform: %w", err)
		}
	}
	// Whether it also serves is for the checks to say, not for this first start.
	trial := examine(ctx, program, exam.Case{Run: func(e *exam.Exam) { e.Start().Dismiss() }})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if !trial.Passed {
		return nil, fmt.Errorf("conform: %s", trial.Detail)
	}

	var (
		results = make([]*Result, len(checks))
		places  = make(chan struct{}, sideBySide)
		mu      sync.Mutex
		wait    sync.WaitGroup
	)
	for i, check := range checks {
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			_, waived := program.Waives[check.Name]
			waived = waived && strict(program)
			result := try(waived, func() Result { return examine(ctx, program, check) })
			if ctx.Err() != nil {
				return // what failed then says nothing about the server
			}
			mu.Lock()
			defer mu.Unlock()
			results[i] = &result
			report(result)
		})
	}
	wait.Wait()

	var known []Result
	for _, result := range results {
		if result != nil {
			known = append(known, *result)
		}
	}
	if ctx.Err() != nil {
		return known, context.Cause(ctx)
	}
	return waive(known, program.Waives, strict(program)), nil
}

// try carries out a check, again if it is waived and passes: until it fails, or has passed often
// enough.
func try(waived bool, examine func() Result) Result {
	result := examine()
	for range waivedTries - 1 {
		if !waived || !result.Passed || result.Detail != "" { // with a detail it was not carried out
			return result
		}
		result = examine()
	}
	return result
}

// waivedTries is how often a check that is waived must pass before the waiver is refused. On a
// busy host a server may keep by chance what it does not promise.
const waivedTries = 3

// examine carries out one check.
func examine(ctx context.Context, program exam.Program, check exam.Case) Result {
	begin := time.Now()
	e := &exam.Exam{Ctx: ctx, Program: program}
	passed, detail := e.Run(check)
	return Result{
		Check:   check.Name,
		Title:   check.Title,
		Section: string(check.Section),
		Passed:  passed,
		Detail:  detail,
		Seconds: time.Since(begin).Seconds(),
	}
}
