// Package exam is the conversation with a server under examination: its process, raw
// connections to it with every byte under control, and what the kernel says of both.
package exam

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Patience is how long an answer may take before it counts as missing: far more
// than a busy machine needs, for a server that is built with the race detector
// as well.
const Patience = 15 * time.Second

// Exam is one check under way. Whatever goes wrong in it ends it at once: fail
// and skip do not return, so that a check reads as the conversation that it is.
type Exam struct {
	Ctx     context.Context
	Program Program
	servers []*Server
	conns   []*Conn
	// Situation, if not empty, completes "while ...": it puts into a failure
	// what else is going on.
	Situation string
}

// failed and skipped are what fail and skip panic with, and run recovers.
type (
	failed  string
	skipped string
)

// Fail ends the check as failed. The sentence has the form
// "sent ..., expected ... (...), got ...".
func (e *Exam) Fail(format string, args ...any) {
	sentence := fmt.Sprintf(format, args...)
	if e.Situation != "" {
		sentence = "while " + e.Situation + ": " + sentence
	}
	panic(failed(sentence))
}

// Skip ends the check as one that cannot be carried out on this host.
func (e *Exam) Skip(format string, args ...any) {
	panic(skipped(fmt.Sprintf(format, args...)))
}

// Run carries out the check and then asks of every server that it left running
// whether it still serves: whatever a client does, others must not suffer.
func (e *Exam) Run(check Case) (passed bool, detail string) {
	defer func() {
		for _, c := range e.conns {
			c.TCP.Close()
		}
		for _, s := range e.servers {
			s.kill()
		}
	}()
	passed, detail = e.try(func() { check.Run(e) })
	if !passed {
		e.mourn()
		return false, detail + e.obituaries()
	}
	stillServing, complaint := e.try(func() {
		for _, s := range e.servers {
			if s.alive() && !s.Dismissed {
				e.Situation = "the server should serve a newcomer after the check"
				s.Open().RoundTrip()
			}
		}
	})
	if !stillServing {
		e.mourn()
		return false, complaint + e.obituaries()
	}
	if died := e.obituaries(); died != "" {
		return false, strings.TrimPrefix(died, "; ")
	}
	return true, detail
}

func (e *Exam) try(step func()) (passed bool, detail string) {
	defer func() {
		switch reason := recover().(type) {
		case nil:
		case failed:
			passed, detail = false, string(reason)
		case skipped:
			passed, detail = true, string(reason)
		default:
			panic(reason)
		}
	}()
	step()
	return true, ""
}

// mourn waits a moment for servers that may be dying: their connections end
// before their processes do. It is for the sake of the sentence; the check has
// failed already.
func (e *Exam) mourn() {
	moment := time.After(200 * time.Millisecond)
	for _, s := range e.servers {
		select {
		case <-s.Exited:
		case <-moment:
			return
		}
	}
}

// obituaries tells of servers that have ended without being asked to.
func (e *Exam) obituaries() string {
	var all strings.Builder
	for _, s := range e.servers {
		if !s.alive() && !s.Dismissed {
			fmt.Fprintf(&all, "; the server died: %s", s.Epitaph())
		}
	}
	return all.String()
}

// Await polls until condition holds. What it waits for completes
// "expected ...". Polling is for what a server does in its own time and tells
// nobody of; wherever there is an event, checks wait for that.
func (e *Exam) Await(condition func() bool, expected string, got func() string) {
	e.awaitFor(Patience, condition, expected, got)
}

func (e *Exam) awaitFor(patience time.Duration, condition func() bool, expected string, got func() string) {
	deadline := time.Now().Add(patience)
	for !condition() {
		if time.Now().After(deadline) {
			e.Fail("expected %s, got %s for %v", expected, got(), patience)
		}
		e.Pause(10 * time.Millisecond)
	}
}

// Pause waits for d, or until the exam ends.
func (e *Exam) Pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-e.Ctx.Done():
		e.Fail("%v", context.Cause(e.Ctx))
	}
}

// StuckConns is more than there are workers in any pool that a server with one
// or two event loops could reasonably have.
const StuckConns = 256
