package main

import "connbench/servers/internal/session"

// publish sends a message to all connections but its sender, which has it from Feed.
func (l *loop) publish(message []byte) {
	publication := l.rules.Publication(message)
	for i := range l.peers.Used() {
		if i != l.sender && l.stack.Open(i) {
			l.say(i, publication)
		}
	}
}

// say sends a connection what it is to hear, behind all that waits. A peer that has not read for
// too long is reset.
func (l *loop) say(i int, publication session.Publication) {
	w := l.pending[i]
	s := session.Unpack(l.packed[i])
	if w != nil {
		s = w.session
	}
	data := s.Hear(publication)
	if data == nil {
		return
	}
	l.packed[i], _ = s.Pack()
	if w != nil {
		w.session = s
		if len(w.unsent) > session.MostUnsent {
			l.stack.Abort(i)
			l.forget(i)
			return
		}
		if len(w.unsent) > 0 {
			w.unsent = append(w.unsent, data...)
			return
		}
	}
	sent, err := l.stack.Send(i, data)
	if err != nil || sent == len(data) {
		return
	}
	if w == nil {
		w = &pending{session: s}
		l.pending[i] = w
	}
	w.unsent = append(w.unsent, data[sent:]...)
	l.settle(i, w)
}
