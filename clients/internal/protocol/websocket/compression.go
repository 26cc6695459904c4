package websocket

import (
	"encoding/binary"
	"slices"

	"connbench/clients/internal/protocol"
	"connbench/clients/internal/text"
)

// compression compresses the messages of a worker, and inflates those that come (RFC 7692).
//
// Each message is compressed by itself, whatever was agreed on: a compressor need not refer to
// the messages before. So each body is compressed once for all connections, and a message is a
// stored block with its head, then the compressed body. The server cannot know, and has to keep
// its window if context takeover was agreed on.
//
// What the server sends may refer to its own messages before. The window for that, 32 KiB, is
// not kept: the messages in it are echoes of ours, whose bodies are known. Only their heads are.
type compression struct {
	texts    *text.Texts
	deflated map[int]*deflated // by size
	largest  int               // size of a message that was prepared, in bytes
	inflater inflater
	plain    []byte // room for a message that is compressed
	masked   []byte // and for its frame

	// partial are compressed messages that have come in part.
	partial map[int][]byte

	// takeover says that the server may refer to messages before. history, by connection,
	// are then its echoes in the window, and raw is the window itself of a connection on
	// which something else came, or very many small ones.
	takeover bool
	history  [][]echoed
	raw      map[int][]byte
	window   []byte // room for one
}

// echoed is an echo in a window: its head and its size in bytes. In one that is shorter than a
// head, there is nothing else.
type echoed struct {
	head uint64
	size uint32
}

// deflated are the compressed bodies of messages of one size.
type deflated struct {
	bodies *text.Bodies
	each   [][]byte
}

// windowBytes is the size of the largest window of DEFLATE (RFC 1951 section 2).
const windowBytes = 32 << 10

// leastBound is the size of a message that a server may always send, in bytes.
const leastBound = 64 << 10

func newCompression(takeover bool, texts *text.Texts) *compression {
	return &compression{
		texts: texts, takeover: takeover,
		deflated: map[int]*deflated{}, partial: map[int][]byte{}, raw: map[int][]byte{},
		largest: leastBound,
	}
}

// entryBytes is the size of an [echoed].
const entryBytes = 16

// stateBytes is the size of what is kept for a connection, as it is for messages of 1 KiB. For
// others it may be as much as a window.
func (c *compression) stateBytes() int {
	if !c.takeover {
		return 0
	}
	const slice, entries = 24, windowBytes >> 10
	return slice + entries*entryBytes
}

// prepare makes ready for messages of a size.
func (c *compression) prepare(kind protocol.Kind, size int) {
	c.largest = max(c.largest, size)
	if kind != protocol.Data {
		return
	}
	if c.deflated[size] == nil {
		c.deflated[size] = deflate(c.texts.Prepare(size))
	}
}

// frame is the masked frame of a message of a size that was prepared, valid until the next call.
func (c *compression) frame(message []byte, mask uint32) []byte {
	c.plain = c.deflated[len(message)].append(c.plain[:0], message)
	if room := MaxHeader + len(c.plain); cap(c.masked) < room {
		c.masked = make([]byte, room, 2*room)
	}
	n := PutHeader(c.masked[:MaxHeader], Binary, len(c.plain), mask)
	c.masked[0] |= deflateBit
	frame := c.masked[:n+len(c.plain)]
	Mask(frame[n:], c.plain, mask)
	return frame
}

// append appends the compressed message.
func (d *deflated) append(b, message []byte) []byte {
	var head uint64
	if n := min(len(message), text.HeadBytes); n > 0 {
		// A stored block, which is not the last (RFC 1951 section 3.2.4).
		b = append(b, 0, byte(n), 0, ^byte(n), 0xFF)
		b = append(b, message[:n]...)
		var own [text.HeadBytes]byte
		copy(own[:], message)
		head = binary.LittleEndian.Uint64(own[:])
	}
	return append(b, d.each[d.bodies.Index(head)]...)
}

// receive takes a piece of a compressed message. At its end, it returns the message, valid until
// the next call.
func (c *compression) receive(i int, piece Piece) (message []byte, whole bool, err error) {
	in := piece.Payload
	if before, ok := c.partial[i]; ok || !piece.Last {
		in = append(before, in...)
		if len(in) > 2*c.largest {
			return nil, false, ErrBadFrame
		}
		if !piece.Last {
			c.partial[i] = in
			return nil, false, nil
		}
		delete(c.partial, i)
	}
	var window []byte
	if c.takeover {
		window = c.windowOf(i)
	}
	if message, err = c.inflater.inflate(in, window, c.largest); err != nil {
		return nil, false, ErrBadFrame
	}
	if c.takeover {
		c.remember(i, message)
	}
	return message, true, nil
}

// windowOf is the window of a connection, valid until the next call.
func (c *compression) windowOf(i int) []byte {
	if raw, ok := c.raw[i]; ok {
		return raw
	}
	c.window = c.window[:0]
	if i >= len(c.history) {
		return nil
	}
	for _, e := range c.history[i] {
		from, to := len(c.window), len(c.window)+int(e.size)
		c.window = slices.Grow(c.window, int(e.size))[:to]
		c.write(c.window[from:], e)
	}
	return lastOf(c.window)
}

// write writes an echo.
func (c *compression) write(p []byte, e echoed) {
	if len(p) < text.HeadBytes {
		var own [text.HeadBytes]byte
		binary.LittleEndian.PutUint64(own[:], e.head)
		copy(p, own[:])
		return
	}
	c.texts.Known(len(p)).Fill(p, e.head, 0)
}

// lastOf is as much of the end of p as a window holds.
func lastOf(p []byte) []byte { return p[max(0, len(p)-windowBytes):] }

// remember adds a message to the window of a connection.
func (c *compression) remember(i int, message []byte) {
	if len(message) == 0 {
		return
	}
	e, known := c.echoOf(message)
	raw, isRaw := c.raw[i]
	if isRaw || !known {
		if !isRaw {
			raw = append(raw, c.windowOf(i)...)
			if i < len(c.history) {
				c.history[i] = nil
			}
		}
		raw = append(raw, message...)
		c.raw[i] = append(raw[:0], lastOf(raw)...)
		return
	}
	if i >= len(c.history) {
		c.history = append(c.history, make([][]echoed, i+1-len(c.history))...)
	}
	kept := append(c.history[i], e)
	// What is in the window now, counted from the end.
	first, size := len(kept), 0
	for first > 0 && size < windowBytes {
		first--
		size += int(kept[first].size)
	}
	if first > 0 {
		kept = append(kept[:0], kept[first:]...)
	}
	c.history[i] = kept
	if len(kept) > windowBytes/entryBytes { // the window itself is smaller
		c.raw[i] = slices.Clone(c.windowOf(i))
		c.history[i] = nil
	}
}

// echoOf is a message as an echo, if it is one of ours.
func (c *compression) echoOf(message []byte) (e echoed, known bool) {
	var own [text.HeadBytes]byte
	copy(own[:], message)
	e = echoed{binary.LittleEndian.Uint64(own[:]), uint32(len(message))}
	if len(message) < text.HeadBytes {
		return e, true
	}
	bodies := c.texts.Known(len(message))
	return e, bodies != nil && bodies.IsMessage(message)
}

// forget drops what is kept of a connection.
func (c *compression) forget(i int) {
	delete(c.partial, i)
	delete(c.raw, i)
	if i < len(c.history) {
		c.history[i] = nil
	}
}
