package load

import (
	"encoding/binary"

	"connbench/clients/internal/ws"
)

// fill writes the bytes of a payload from offset on into p, each 8 bytes of them
// exclusive-or mask. Every 8 bytes of a payload are computed from its key and
// their place alone, so that a payload need not be kept to be sent on, or to be
// compared with, from any point.
func fill(p []byte, key uint64, offset int, mask uint64) {
	word := func(k int) uint64 { return ws.Mix(key+uint64(k)) ^ mask }
	if ahead := offset % 8; ahead > 0 {
		var whole [8]byte
		binary.LittleEndian.PutUint64(whole[:], word(offset/8))
		n := copy(p, whole[ahead:])
		p, offset = p[n:], offset+n
	}
	k := offset / 8
	for ; len(p) >= 8; p = p[8:] {
		binary.LittleEndian.PutUint64(p, word(k))
		k++
	}
	if len(p) > 0 {
		var whole [8]byte
		binary.LittleEndian.PutUint64(whole[:], word(k))
		copy(p, whole[:])
	}
}

// messages computes the messages of one load: their payloads and masks.
type messages struct {
	salt     uint64    // different for every load
	opcode   ws.Opcode // what they are sent as: ws.Binary or ws.Ping
	size     int       // bytes of payload
	frame    []byte    // room for one frame
	expected []byte    // room for one payload
}

func newMessages(seed, load uint64, opcode ws.Opcode, size int) messages {
	return messages{
		opcode:   opcode,
		salt:     ws.Mix(seed ^ ws.Mix(load)),
		size:     size,
		frame:    make([]byte, ws.MaxHeader+size),
		expected: make([]byte, size),
	}
}

// key is what a message's bytes are computed from: different for every message
// of every connection, so that an echo of another one is noticed.
func (m *messages) key(connection uint64, sequence uint32) uint64 {
	return ws.Mix(m.salt ^ ws.Mix(connection<<32|uint64(sequence)))
}

// encode returns the frame of a message, valid until the next call.
func (m *messages) encode(key uint64) []byte {
	mask := uint32(ws.Mix(^key))
	n := ws.PutHeader(m.frame, m.opcode, m.size, mask)
	frame := m.frame[:n+m.size]
	fill(frame[n:], key, 0, uint64(mask)<<32|uint64(mask))
	return frame
}

// matches says whether p are the bytes of a payload from offset on.
func (m *messages) matches(p []byte, key uint64, offset int) bool {
	if offset+len(p) > m.size {
		return false
	}
	expected := m.expected[:len(p)]
	fill(expected, key, offset, 0)
	return string(expected) == string(p)
}
