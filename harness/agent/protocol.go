// Package agent runs programs on a host and reads that host's figures, for a
// harness that may be elsewhere. The harness starts connbench-agent on the host
// (directly, in a namespace, through ssh) and holds its standard input and output:
// lines of JSON in both directions, no port, no file. When its input ends, the agent
// kills everything that it started and exits.
//
// What the harness can ask is a [method]: a request type, a reply type and what the
// agent does, declared in one place. Nothing else lists them.
package agent

import (
	"encoding/json"
	"fmt"

	"golang.org/x/sys/unix"

	"connbench/harness/agent/children"
)

// request is what the harness asks: every request has one reply of the same ID.
type request struct {
	ID int64 `json:"id"`
	// Do is the name of a method, With its request.
	Do   string          `json:"do"`
	With json.RawMessage `json:"with"`
}

// message is what the agent says: a reply, or (ID 0) news of a process.
type message struct {
	ID int64 `json:"id,omitempty"`
	// With is the method's reply, unless there is an Error.
	With  json.RawMessage `json:"with,omitempty"`
	Error string          `json:"error,omitempty"`
	// Errno is the kernel's error below, 0 if there is none.
	Errno unix.Errno `json:"errno,omitempty"`

	children.News
}

// method is something that the harness can ask of an agent.
type method[Req, Rep any] struct{ name string }

// handler is the agent's end of a method.
type handler struct {
	do func(*server, json.RawMessage) (any, error)
	// aside has it run in parallel with the requests that come after it.
	aside bool
}

// methods are the handlers by name.
var methods = map[string]handler{}

// define makes a method that does do on the agent's side. Requests are carried out
// one after the other, so do must not wait for others.
func define[Req, Rep any](name string, do func(*server, Req) (Rep, error)) method[Req, Rep] {
	return register(name, do, false)
}

// defineSlow makes a method that may take its time, and is carried out in parallel with those
// that come after it.
func defineSlow[Req, Rep any](name string, do func(*server, Req) (Rep, error)) method[Req, Rep] {
	return register(name, do, true)
}

func register[Req, Rep any](name string, do func(*server, Req) (Rep, error), aside bool) method[Req, Rep] {
	if _, taken := methods[name]; taken {
		panic("agent: two methods are called " + name)
	}
	methods[name] = handler{aside: aside, do: func(s *server, text json.RawMessage) (any, error) {
		var r Req
		if err := json.Unmarshal(text, &r); err != nil {
			return nil, fmt.Errorf("agent: request %s: %w", name, err)
		}
		return do(s, r)
	}}
	return method[Req, Rep]{name}
}

// remoteError is an error of the agent, as the harness has it.
type remoteError struct {
	text  string
	errno unix.Errno
}

func (e *remoteError) Error() string { return e.text }

// Unwrap returns the kernel's error, so that [errors.Is] finds it.
func (e *remoteError) Unwrap() error {
	if e.errno == 0 {
		return nil
	}
	return e.errno
}

// none is the request, or the reply, of a method that needs no more than its name.
type none struct{}

// longestMessage bounds a line of the protocol, in bytes: a piece of a program, or a
// process's line, as JSON writes them.
const longestMessage = 8 << 20
