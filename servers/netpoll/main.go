// Command netpoll is an echo server of WebSocket, HTTP and bytes on cloudwego/netpoll, which moves
// bytes only: the sessions of WebSocket and HTTP are the suite's own.
package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloudwego/netpoll"
	"golang.org/x/sys/unix"

	"connbench/servers/contract"
	"connbench/servers/internal/audience"
	"connbench/servers/internal/buffer"
	"connbench/servers/internal/lifecycle"
	"connbench/servers/internal/listener"
	"connbench/servers/internal/session"
)

// smallBuffer is the first buffer of a connection in class "tuned", in bytes: a frame header
// and a short message fit in.
const smallBuffer = 256

func main() {
	lifecycle.Main(start, session.Abilities...)
}

func start(o contract.Options) (lifecycle.Server, error) {
	listeners, err := listener.ListenBare(o.Listen, o.Backlog)
	if err != nil {
		return lifecycle.Server{}, err
	}
	config := netpoll.Config{PollerNum: o.Loops, LoggerOutput: os.Stderr}
	if o.Class == "tuned" {
		config.BufferSize = smallBuffer
	}
	if err := netpoll.Configure(config); err != nil {
		return lifecycle.Server{}, fmt.Errorf("configure netpoll: %w", err)
	}
	s := &server{rules: session.RulesOf(o)}
	if o.Broadcast {
		s.hub = &hub{connections: map[*connection]struct{}{}}
		s.rules.Board = new(audience.Board)
	}
	loop, err := netpoll.NewEventLoop(s.onRequest, netpoll.WithOnPrepare(s.onPrepare))
	if err != nil {
		return lifecycle.Server{}, fmt.Errorf("start netpoll: %w", err)
	}
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- loop.Serve(l) }()
	}
	return lifecycle.Server{
		Addresses:   listener.Addresses(listeners),
		Connections: s.open.Load,
		Failed:      failed,
	}, nil
}

type server struct {
	rules session.Rules
	open  atomic.Int64
	// hub is nil unless messages go to all connections.
	hub *hub
}

// connection is what is kept of one: netpoll hands its context to every handler.
type connection struct {
	context.Context
	session session.Session

	// For messages that go to all:
	member  *audience.Member[[]byte]
	writing sync.Mutex // the library refuses to write for two goroutines at a time
}

func (s *server) onPrepare(c netpoll.Connection) context.Context {
	state := &connection{Context: context.Background()}
	if s.hub != nil {
		s.hub.join(c, state)
	}
	c.AddCloseCallback(func(netpoll.Connection) error {
		if s.hub != nil {
			s.hub.leave(state)
		}
		if state.session.Upgraded() {
			s.open.Add(-1)
		}
		state.session.Release()
		return nil
	})
	return state
}

// onRequest answers what has arrived, in a goroutine of netpoll's pool. Writing waits for a
// peer that does not read, and nobody else.
func (s *server) onRequest(ctx context.Context, c netpoll.Connection) error {
	state := ctx.(*connection)
	r := c.Reader()
	in, err := r.Next(r.Len())
	if err != nil {
		return err
	}
	answer := buffer.Get()
	next := session.Continue
	for len(in) > 0 && err == nil && next == session.Continue {
		if s.hub != nil {
			state.writing.Lock() // what others publish from now on comes behind the answer
		}
		wasUpgraded := state.session.Upgraded()
		in, *answer, next = s.feed(state, in, (*answer)[:0])
		if state.session.Upgraded() != wasUpgraded {
			s.open.Add(1)
		}
		if len(*answer) > 0 {
			_, err = c.Write(*answer)
		}
		if s.hub != nil {
			state.writing.Unlock()
		}
	}
	buffer.Put(answer)
	r.Release()
	switch {
	case err != nil || next == session.Close:
		return c.Close()
	case next == session.Fail: // as listener.Linger has it
		unix.Shutdown(c.(netpoll.Conn).Fd(), unix.SHUT_WR)
		time.AfterFunc(listener.LingerTime, func() { c.Close() })
	}
	return nil
}
