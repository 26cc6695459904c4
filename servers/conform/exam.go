package conform

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// patience is how long an answer may take before it counts as missing: far more
// than a busy machine needs, for a server that is built with the race detector
// as well.
const patience = 15 * time.Second

// exam is one check under way. Whatever goes wrong in it ends it at once: fail
// and skip do not return, so that a check reads as the conversation that it is.
type exam struct {
	ctx     context.Context
	program Program
	servers []*server
	conns   []*conn
	// situation, if not empty, completes "while ...": it puts into a failure
	// what else is going on.
	situation string
}

// failed and skipped are what fail and skip panic with, and run recovers.
type (
	failed  string
	skipped string
)

// fail ends the check as failed. The sentence has the form
// "sent ..., expected ... (...), got ...".
func (e *exam) fail(format string, args ...any) {
	sentence := fmt.Sprintf(format, args...)
	if e.situation != "" {
		sentence = "while " + e.situation + ": " + sentence
	}
	panic(failed(sentence))
}

// skip ends the check as one that cannot be carried out on this host.
func (e *exam) skip(format string, args ...any) {
	panic(skipped(fmt.Sprintf(format, args...)))
}

// run carries out the check and then asks of every server that it left running
// whether it still serves: whatever a client does, others must not suffer.
func (e *exam) run(check check) (passed bool, detail string) {
	defer func() {
		for _, c := range e.conns {
			c.tcp.Close()
		}
		for _, s := range e.servers {
			s.kill()
		}
	}()
	passed, detail = e.try(func() { check.run(e) })
	if !passed {
		e.mourn()
		return false, detail + e.obituaries()
	}
	stillServing, complaint := e.try(func() {
		for _, s := range e.servers {
			if s.alive() && !s.dismissed {
				e.situation = "the server should serve a newcomer after the check"
				s.open().roundTrip()
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

func (e *exam) try(step func()) (passed bool, detail string) {
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
func (e *exam) mourn() {
	moment := time.After(200 * time.Millisecond)
	for _, s := range e.servers {
		select {
		case <-s.exited:
		case <-moment:
			return
		}
	}
}

// obituaries tells of servers that have ended without being asked to.
func (e *exam) obituaries() string {
	var all strings.Builder
	for _, s := range e.servers {
		if !s.alive() && !s.dismissed {
			fmt.Fprintf(&all, "; the server died: %s", s.epitaph())
		}
	}
	return all.String()
}

// await polls until condition holds. What it waits for completes
// "expected ...". Polling is for what a server does in its own time and tells
// nobody of; wherever there is an event, checks wait for that.
func (e *exam) await(condition func() bool, expected string, got func() string) {
	deadline := time.Now().Add(patience)
	for !condition() {
		if time.Now().After(deadline) {
			e.fail("expected %s, got %s for %v", expected, got(), patience)
		}
		e.pause(10 * time.Millisecond)
	}
}

func (e *exam) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-e.ctx.Done():
		e.fail("%v", context.Cause(e.ctx))
	}
}
