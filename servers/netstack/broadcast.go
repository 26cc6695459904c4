package main

import (
	"connbench/servers/internal/audience"
	"connbench/servers/internal/session"
)

// broadcast is what a loop has for messages that go to all connections.
type broadcast struct {
	// members are the loop's connections, nil unless messages go to all.
	members map[*conn]struct{}
	// sender is the connection whose session is being fed.
	sender *conn
	// posted are messages that other loops have published.
	posted audience.Mailbox
}

// join makes c one of those that messages go to, if they go to all.
func (l *loop) join(c *conn) {
	if l.members != nil {
		l.members[c] = struct{}{}
	}
}

func (l *loop) leave(c *conn) { delete(l.members, c) }

// publish sends a message to all connections but its sender, which has it from Feed.
func (l *loop) publish(message []byte) {
	for _, other := range l.server.loops {
		if other != l && other.posted.Post(message) {
			other.awake()
		}
	}
	l.tell(message, l.sender)
}

// tell sends a message to all connections of l but one.
func (l *loop) tell(message []byte, except *conn) {
	publication := l.rules.Publication(message)
	for c := range l.members {
		if c == except {
			continue
		}
		if data := c.session.Hear(publication); data != nil {
			l.say(c, data)
		}
	}
}

// say sends what somebody else has published, behind all that waits. A peer that has not read for
// too long is reset.
func (l *loop) say(c *conn, data []byte) {
	if b := c.backlog; b != nil {
		if len(b.unsent) > session.MostUnsent {
			c.endpoint.Abort()
			l.close(c)
			return
		}
		b.unsent = append(b.unsent, data...)
		return
	}
	sent, ok := c.send(data)
	switch {
	case !ok:
		l.close(c)
	case sent < len(data):
		c.hold(data[sent:], nil, session.Continue)
	}
}
