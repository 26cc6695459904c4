package main

import (
	"net"

	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"

	"connbench/servers/internal/audience"
	"connbench/servers/internal/session"
)

// message is one that goes to all connections.
type message struct {
	kind websocket.MessageType
	text []byte
}

// join makes c one of those that messages go to, if they go to all. nbio does not block when it
// writes, and keeps what the kernel does not take.
func (s *server) join(c *websocket.Conn) {
	if !s.broadcasts {
		return
	}
	raw := c.Conn.(*nbhttp.Conn).Conn.(*nbio.Conn)
	s.members.Store(c, s.audience.JoinInline(func(m message) error {
		if unsent(raw) > session.MostUnsent {
			raw.SetLinger(1, 0)
			raw.Close()
			return net.ErrClosed
		}
		return c.WriteMessage(m.kind, m.text)
	}))
}

// leave ends that, before a close frame.
func (s *server) leave(c *websocket.Conn) {
	if m, ok := s.members.LoadAndDelete(c); ok {
		m.(*audience.Member[message]).Leave()
	}
}

// publish sends a message to all connections.
func (s *server) publish(kind websocket.MessageType, text []byte) {
	s.audience.Publish(message{kind, text}, len(text))
}
