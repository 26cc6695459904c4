package main

import (
	"context"
	"sync"

	"github.com/panjf2000/gnet/v2"

	"connbench/servers/contract"
	"connbench/servers/internal/audience"
	"connbench/servers/internal/session"
)

// broadcast is what there is for messages that go to all connections.
type broadcast struct {
	rules session.Rules

	mu sync.RWMutex
	// loops has what belongs to each event loop. Only the loop itself touches that.
	loops map[gnet.EventLoop]*part
}

// part is what an event loop has for messages that go to all.
type part struct {
	connections map[gnet.Conn]struct{}
	// rules are those of all loops, with a board of its own.
	rules session.Rules
}

// of returns the part of a loop.
func (b *broadcast) of(loop gnet.EventLoop) *part {
	b.mu.RLock()
	known := b.loops[loop]
	b.mu.RUnlock()
	if known != nil {
		return known
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.loops[loop] == nil {
		p := &part{connections: map[gnet.Conn]struct{}{}, rules: b.rules}
		p.rules.Board = new(audience.Board)
		b.loops[loop] = p
	}
	return b.loops[loop]
}

// join makes c one of those that messages go to. It runs on the loop of c, as leave does.
func (s *server) join(c gnet.Conn) { s.broadcast.of(c.EventLoop()).connections[c] = struct{}{} }

func (s *server) leave(c gnet.Conn) { delete(s.broadcast.of(c.EventLoop()).connections, c) }

// publish sends a message to all connections but its sender, on whose loop it runs.
func (s *server) publish(sender gnet.Conn, message []byte) {
	if s.rules.Protocol == contract.ProtocolHTTP {
		sender = nil // it may wait for this message by the time that the loops send it
	}
	s.broadcast.mu.RLock()
	defer s.broadcast.mu.RUnlock()
	for loop, part := range s.broadcast.loops {
		// By Execute for its own loop too: a write may fail, which closes a connection, and a
		// loop must not do that in the middle of an event of another.
		loop.Execute(context.Background(), task(func() {
			publication := part.rules.Publication(message)
			for c := range part.connections {
				if c != sender {
					s.push(c, publication)
				}
			}
		}))
	}
}

// push sends a message to a connection of the loop that it runs on.
func (s *server) push(c gnet.Conn, publication session.Publication) {
	state, ok := c.Context().(*session.Session)
	if !ok {
		return
	}
	data := state.Hear(publication)
	if data == nil {
		return
	}
	waiting := c.OutboundBuffered()
	if waiting > session.MostUnsent {
		c.SetLinger(0)
		c.EventLoop().Close(c)
		return
	}
	if _, err := c.Write(data); err != nil {
		return // it has closed the connection
	}
	if waiting == 0 && c.OutboundBuffered() > 0 {
		stopReading(c)
		if s.wait(c, session.Continue) == gnet.Close {
			c.EventLoop().Close(c)
		}
	}
}
