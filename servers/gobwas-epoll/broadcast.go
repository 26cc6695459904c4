package main

import (
	"connbench/servers/contract"
	"connbench/servers/internal/session"
)

// count notes that there is a connection with a descriptor.
func (s *server) count(fd int) {
	for s.broadcast {
		if high := s.highest.Load(); int64(fd) <= high || s.highest.CompareAndSwap(high, int64(fd)) {
			return
		}
	}
}

// handleSocket does what an event on c asks for. c and s.hearing are locked before and after, but
// not while it sends what c has published: two connections that publish must not wait for each other.
func (s *server) handleSocket(fd int, c *conn, in []byte, out *[]byte) session.State {
	if !s.broadcast {
		return c.socket.Handle(fd, in, out, s.rules)
	}
	var frames [][]byte
	rules := s.rules
	rules.Publish = func(frame []byte) { frames = append(frames, frame) }
	state := c.socket.Handle(fd, in, out, rules)
	if len(frames) == 0 {
		return state
	}
	c.publishing = true
	c.mu.Unlock()
	s.hearing.RUnlock()
	for _, frame := range frames {
		s.push(frame, c)
	}
	s.hearing.RLock()
	c.mu.Lock()
	c.publishing = false
	return state
}

// push sends a message to all connections but its sender.
func (s *server) push(message []byte, sender *conn) {
	if s.rules.Protocol == contract.ProtocolHTTP {
		s.hearing.Lock()
		defer s.hearing.Unlock()
		sender = nil // it may wait for this message by now
	}
	publication := s.rules.Publication(message)
	for fd := range int(s.highest.Load()) + 1 {
		c := s.conns.At(fd).Load()
		if c == nil || c == sender {
			continue
		}
		c.mu.Lock()
		if !c.closed {
			wasBlocked := c.socket.Blocked()
			c.socket.Push(fd, publication)
			if c.socket.Blocked() != wasBlocked && !c.publishing {
				// It cannot fail: the descriptor is open, and registered.
				s.armAgain(fd, c)
			}
		}
		c.mu.Unlock()
	}
}
