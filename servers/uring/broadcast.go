package main

import (
	"errors"

	"connbench/servers/internal/audience"
	"connbench/servers/internal/session"
)

// broadcast is what a loop has for messages that go to all connections.
type broadcast struct {
	// sender is the descriptor whose session is being fed, and highest the highest so far.
	sender, highest int
	// failed is why something published could not be sent.
	failed error

	// posted are messages that other loops have published.
	posted audience.Mailbox
}

// publish sends a message to all connections but its sender, which has it from Feed.
func (l *loop) publish(message []byte) {
	for _, other := range l.loops {
		if other != l && other.posted.Post(message) {
			l.failed = errors.Join(l.failed, l.ring.submit(submission{
				opcode: opMessageRing, fd: int32(other.ring.fd), offset: userData(ofPosted, 0), userData: userData(ofNothing, 0),
			}))
		}
	}
	l.failed = errors.Join(l.failed, l.push(message, l.sender))
}

// deliver sends what other loops have posted.
func (l *loop) deliver() error {
	for _, message := range l.posted.Take() {
		if err := l.push(message, -1); err != nil {
			return err
		}
	}
	return nil
}

// push sends a message to all connections of l but one.
func (l *loop) push(message []byte, except int) error {
	publication := l.rules.Publication(message)
	for fd := l.number; fd <= l.highest; fd += len(l.loops) {
		c := l.connections.At(fd)
		if fd == except || c.dying || !c.session.Upgraded() {
			continue
		}
		if data := c.session.Hear(publication); data != nil {
			if err := l.say(fd, c, data); err != nil {
				return err
			}
		}
	}
	return nil
}

// say sends what somebody else has published, behind all that is being sent. A peer that has not
// read for too long is hung up on.
func (l *loop) say(fd int, c *connection, data []byte) error {
	t := c.turn
	switch {
	case t == nil:
		c.turn = l.newTurn()
		c.turn.out = append(c.turn.out[:0], data...)
		return l.send(fd, c.turn, session.Continue)
	case len(t.unsent)+len(t.heard) > session.MostUnsent:
		session.HangUp(fd)
		l.die(fd, c)
		l.bury(fd, c)
	default:
		t.heard = append(t.heard, data...)
	}
	return nil
}
