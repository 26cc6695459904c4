package main

import (
	"sync"

	"github.com/cloudwego/netpoll"

	"connbench/servers/contract"
	"connbench/servers/internal/audience"
	"connbench/servers/internal/session"
)

// hub has what is needed for messages that go to all connections.
type hub struct {
	// While something is published, no session is fed, so that each hears it once.
	mu          sync.RWMutex
	connections map[*connection]struct{}
	audience    audience.Audience[[]byte]
}

// join makes c one of those that messages go to.
func (h *hub) join(c netpoll.Connection, state *connection) {
	state.member = h.audience.Join(func(data []byte) error {
		state.writing.Lock()
		defer state.writing.Unlock()
		_, err := c.Write(data)
		return err
	}, func() { session.HangUp(c.(netpoll.Conn).Fd()) })
	h.mu.Lock()
	defer h.mu.Unlock()
	h.connections[state] = struct{}{}
}

func (h *hub) leave(state *connection) {
	h.mu.Lock()
	delete(h.connections, state)
	h.mu.Unlock()
	state.member.Leave()
}

// feed feeds a session, and sends what it publishes to all others.
func (s *server) feed(state *connection, in, out []byte) (rest, _ []byte, next session.Next) {
	if s.hub == nil {
		return state.session.Feed(in, out, s.rules)
	}
	var messages [][]byte
	rules := s.rules
	rules.Publish = func(message []byte) { messages = append(messages, message) }
	s.hub.mu.RLock()
	rest, out, next = state.session.Feed(in, out, rules)
	s.hub.mu.RUnlock()
	for _, message := range messages {
		s.publish(state, message)
	}
	return rest, out, next
}

// publish sends a message to all connections but its sender, which has it from feed.
func (s *server) publish(sender *connection, message []byte) {
	if s.rules.Protocol == contract.ProtocolHTTP {
		sender = nil // it may wait for this message by now
	}
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	publication := s.rules.Publication(message)
	for c := range s.hub.connections {
		if c == sender {
			continue
		}
		if data := c.session.Hear(publication); data != nil {
			c.member.Send(data, len(data))
		}
	}
}
