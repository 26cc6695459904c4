package main

import (
	"net"
	"sync/atomic"

	"github.com/lxzan/gws"

	"connbench/servers/internal/audience"
	"connbench/servers/internal/listener"
)

// message is one that goes to all connections.
type message struct {
	*gws.Broadcaster
	bytes int64
}

// join makes c one of those that messages go to, if they go to all. gws has a queue for each
// connection, which it does not bound: so what is in the queue is counted.
func (s *server) join(c *gws.Conn) {
	if s.audience == nil {
		return
	}
	waiting := new(atomic.Int64)
	s.members.Store(c, s.audience.JoinInline(func(m message) error {
		if waiting.Load() > audience.MostWaiting {
			listener.Reset(c.NetConn())
			return net.ErrClosed
		}
		waiting.Add(m.bytes)
		defer c.Async(func() { waiting.Add(-m.bytes) })
		return m.Broadcast(c)
	}))
}

// leave ends that.
func (s *server) leave(c *gws.Conn) {
	if m, ok := s.members.LoadAndDelete(c); ok {
		m.(*audience.Member[message]).Leave()
	}
}

// publish sends a message to all connections, framed once. It returns when from has sent its own
// copy, so a peer that does not read is not read from.
func (s *server) publish(from *gws.Conn, m *gws.Message) {
	b := gws.NewBroadcaster(m.Opcode, m.Bytes())
	s.audience.Publish(message{b, int64(m.Data.Len())}, m.Data.Len())
	b.Close()
	sent := make(chan struct{})
	from.Async(func() { close(sent) })
	<-sent
}
