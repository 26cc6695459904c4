package audience

import "sync"

// Mailbox holds the messages that other event loops have left for one. It is safe for concurrent
// use.
type Mailbox struct {
	mu       sync.Mutex
	messages [][]byte
}

// Post leaves a message. It reports whether the box was empty: then its loop must be woken.
func (m *Mailbox) Post(message []byte) (first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.messages = append(m.messages, message)
	return len(m.messages) == 1
}

// Take empties the box, and returns what was in it, in order.
func (m *Mailbox) Take() [][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	messages := m.messages
	m.messages = nil
	return messages
}
