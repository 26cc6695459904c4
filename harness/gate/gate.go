// Package gate decides which servers may be measured: those that pass the
// conformance checks.
package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"sync"

	"connbench/harness/atomicfile"
	"connbench/harness/variant"
	"connbench/servers/conform"
	"connbench/servers/contract"
)

// options are the settings under which servers are examined: two loops, so that
// what only one of them does right shows.
var options = contract.Options{MaxMessage: 64 << 10, Backlog: 4096, Loops: 2}

// Subject is what a verdict holds for, and for nothing else.
type Subject struct {
	// SHA256 is the program's, Gate is [conform.Version].
	SHA256 string `json:"sha256"`
	Gate   string `json:"gate"`
	// Command starts the server, with Options.
	Command []string         `json:"command"`
	Options contract.Options `json:"options"`
	// Secure says that it was examined over TLS.
	Secure bool `json:"secure,omitempty"`
	// Broadcast says that it was examined in sending each message to all connections too.
	Broadcast bool `json:"broadcast,omitempty"`
	// Device says that the server speaks TCP itself, over a device that it makes.
	Device bool `json:"device,omitempty"`
	// Waives are the variant's waivers.
	Waives map[string]string `json:"waives,omitempty"`
}

// SubjectOf is what the gate examines of p.
func SubjectOf(p variant.Program) Subject {
	options := options
	options.Class, options.Protocol, options.Compression = p.Class, p.Protocol, p.Compressed
	return Subject{SHA256: p.SHA256, Gate: conform.Version(), Command: p.CommandAt(p.Path), Options: options, Secure: p.Secured != "", Broadcast: p.Broadcasts(), Device: p.Device != "", Waives: p.Waives}
}

// Waivers are those of p that are about checks of its protocol.
func Waivers(p variant.Program) map[string]string {
	waivers := maps.Clone(p.Waives)
	maps.DeleteFunc(waivers, func(name, _ string) bool { return !isOf(p, name) })
	return waivers
}

// checksFor are those that p is examined by.
func checksFor(p variant.Program) []conform.Check {
	return conform.Checks(SubjectOf(p).Options, p.Broadcasts())
}

// isOf says whether p is examined by a check.
func isOf(p variant.Program, check string) bool {
	return slices.ContainsFunc(checksFor(p), func(c conform.Check) bool { return c.Name == check })
}

// Verdict is what the gate said of a program.
type Verdict struct {
	Subject
	Passed  bool             `json:"passed"`
	Results []conform.Result `json:"results"`
}

// Say tells people one line of what the gate does or finds.
type Say func(format string, args ...any)

// Pass separates the programs that may be measured from those that fail the gate, and
// says of the latter all that they fail. One that cannot even be examined fails. It is an
// error if none may be measured.
func Pass(ctx context.Context, programs []variant.Program, say Say) (passing, failing []variant.Program, err error) {
	verdicts, errs := Each(ctx, programs, say, Judge)
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	for i, program := range programs {
		switch {
		case errs[i] != nil:
			failing = append(failing, program)
			say("%s fails the gate: %v", program.Choice, errs[i])
		case verdicts[i].Passed:
			passing = append(passing, program)
		default:
			failing = append(failing, program)
			for _, result := range verdicts[i].Results {
				if !result.Passed {
					say("%s fails the gate: %s: %s", program.Choice, result.Check, result.Detail)
				}
			}
		}
	}
	if len(passing) == 0 {
		return nil, failing, errors.New("no variant passes the conformance gate: there is nothing to measure")
	}
	return passing, failing, nil
}

// atOnce is how many programs are examined at a time: an examination waits for half of its
// time, or longer.
const atOnce = 2

// Each has judge decide on each of programs, some at a time, and returns the verdicts and
// errors in their order. If ctx ends, the rest are left out.
func Each(ctx context.Context, programs []variant.Program, say Say, judge func(context.Context, variant.Program, Say) (Verdict, error)) ([]Verdict, []error) {
	verdicts, errs := make([]Verdict, len(programs)), make([]error, len(programs))
	var speaking sync.Mutex
	oneAtATime := func(format string, args ...any) {
		speaking.Lock()
		defer speaking.Unlock()
		say(format, args...)
	}
	var running sync.WaitGroup
	places := make(chan struct{}, atOnce)
	for i, program := range programs {
		places <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		running.Go(func() {
			defer func() { <-places }()
			verdicts[i], errs[i] = judge(ctx, program, oneAtATime)
		})
	}
	running.Wait()
	return verdicts, errs
}

// Judge returns the verdict on a built program: that of an earlier examination if
// it passed the same checks with the same options, or else that of a new one.
func Judge(ctx context.Context, p variant.Program, say Say) (Verdict, error) {
	if v, passed := earlier(p); passed {
		return v, nil
	}
	say("examining %s", p.Choice)
	return Examine(ctx, p)
}

// Examine puts a built program through the gate and files the verdict. A failure
// to start is an error, not a verdict.
func Examine(ctx context.Context, p variant.Program) (Verdict, error) {
	subject := SubjectOf(p)
	program := conform.Program{Command: subject.Command, Options: subject.Options, Secure: subject.Secure, Broadcast: subject.Broadcast, Device: subject.Device, Waives: subject.Waives}
	run := conform.Run
	if program.Device {
		run = runInside
	}
	results, err := run(ctx, program, nil)
	if err != nil {
		return Verdict{}, fmt.Errorf("%s: %w", p.Choice, err)
	}
	v := Verdict{Subject: subject, Passed: true, Results: results}
	for _, result := range v.Results {
		v.Passed = v.Passed && result.Passed
	}
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return v, err
	}
	return v, atomicfile.Write(verdictFile(p), text)
}

// verdictFile lies next to the program, so that one that has not changed need not
// be examined again.
func verdictFile(p variant.Program) string {
	name := p.Path
	if p.Protocol != "" {
		name += "." + p.Protocol
	}
	if p.Secured != "" {
		name += ".tls"
	}
	if p.Compressed != "" {
		name += "." + p.Compressed
	}
	return name + ".verdict.json"
}

// earlier is the verdict that lies next to p, and whether p passed by it in an examination
// that would be the same today.
func earlier(p variant.Program) (Verdict, bool) {
	var v Verdict
	text, err := os.ReadFile(verdictFile(p))
	if err != nil || json.Unmarshal(text, &v) != nil {
		return v, false
	}
	return v, v.Passed && reflect.DeepEqual(v.Subject, SubjectOf(p))
}
