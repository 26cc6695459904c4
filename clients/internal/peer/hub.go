package peer

import (
	"sync"

	"github.com/gobwas/ws"
)

// Hub sends every message of one connection to all.
type Hub struct {
	// Spoil, if not nil, says what connection n is sent of message number k, counted from 0: the
	// frame itself, or something else.
	Spoil func(n, k int, frame []byte) []byte

	mutex    sync.Mutex
	members  map[int]*Conn
	messages int
}

// Handle handles a connection of [Server].
func (h *Hub) Handle(n int, c *Conn) {
	if c.Upgrade() != nil {
		return
	}
	h.mutex.Lock()
	if h.members == nil {
		h.members = map[int]*Conn{}
	}
	h.members[n] = c
	h.mutex.Unlock()
	defer func() {
		h.mutex.Lock()
		defer h.mutex.Unlock()
		delete(h.members, n)
	}()
	for _, frame := range c.Frames() {
		switch frame.Opcode {
		case ws.OpText, ws.OpBinary:
			h.publish(Encode(frame.Opcode, frame.Payload))
		case ws.OpPing:
			c.Send(Encode(ws.OpPong, frame.Payload))
		case ws.OpClose:
			c.Send(Encode(ws.OpClose, frame.Payload))
		}
	}
}

// publish sends a frame to all.
func (h *Hub) publish(frame []byte) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	k := h.messages
	h.messages++
	for n, c := range h.members {
		out := frame
		if h.Spoil != nil {
			out = h.Spoil(n, k, frame)
		}
		c.Send(out) // of an error, the reading goroutine learns
	}
}
