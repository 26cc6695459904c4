package main

import (
	"context"
	"sync"

	"github.com/panjf2000/gnet/v2"

	"connbench/servers/internal/session"
)

// broadcast is what there is for messages that go to all connections.
type broadcast struct {
	mu sync.RWMutex
	// loops has the connections of each event loop. Only the loop itself touches them.
	loops map[gnet.EventLoop]connections
}

type connections map[gnet.Conn]struct{}

// of returns the connections of a loop.
func (b *broadcast) of(loop gnet.EventLoop) connections {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.loops[loop] == nil {
		b.loops[loop] = connections{}
	}
	return b.loops[loop]
}

// join makes c one of those that messages go to. It runs on the loop of c, as leave does.
func (s *server) join(c gnet.Conn) { s.broadcast.of(c.EventLoop())[c] = struct{}{} }

func (s *server) leave(c gnet.Conn) { delete(s.broadcast.of(c.EventLoop()), c) }

// publish sends a frame to all connections but its sender, on whose loop it runs.
func (s *server) publish(sender gnet.Conn, frame []byte) {
	s.broadcast.mu.RLock()
	defer s.broadcast.mu.RUnlock()
	for loop, list := range s.broadcast.loops {
		// By Execute for its own loop too: a write may fail, which closes a connection, and a
		// loop must not do that in the middle of an event of another.
		loop.Execute(context.Background(), task(func() {
			for c := range list {
				if c != sender {
					s.push(c, frame)
				}
			}
		}))
	}
}

// push sends a frame to a connection of the loop that it runs on.
func (s *server) push(c gnet.Conn, frame []byte) {
	state, ok := c.Context().(*session.Session)
	if !ok || state.Ended() {
		return
	}
	waiting := c.OutboundBuffered()
	if waiting > session.MostUnsent {
		c.SetLinger(0)
		c.EventLoop().Close(c)
		return
	}
	if _, err := c.Write(frame); err != nil {
		return // it has closed the connection
	}
	if waiting == 0 && c.OutboundBuffered() > 0 {
		stopReading(c)
		if s.wait(c, session.Continue) == gnet.Close {
			c.EventLoop().Close(c)
		}
	}
}
