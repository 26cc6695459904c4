// Package websocket is the client's side of WebSocket (RFC 6455) for very many
// connections: requests are encoded once, answers and frames are checked as they
// come in, in pieces of any size, and a connection between two messages costs
// nothing.
package websocket

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strconv"

	"connbench/clients/control"
	"connbench/clients/internal/clock"
	"connbench/clients/internal/engine"
	"connbench/clients/internal/protocol"
	"connbench/clients/internal/protocol/http1"
	"connbench/clients/internal/splitmix"
)

func init() {
	protocol.Protocols.Add(control.ProtocolWebSocket, protocol.Definition{
		LargestPing: MaxControl,
		New:         func(c protocol.Config) protocol.Protocol { return New(c) },
	})
}

// mostUnsent is the number of bytes of control frames that may wait for room at a
// connection. Beyond it pings are not answered: RFC 6455 section 5.5.3 allows to
// leave some out, and a server that pings and does not read would fill the memory.
const mostUnsent = 1024

// Protocol implements [protocol.Protocol].
type Protocol struct {
	sender    protocol.Sender
	handler   protocol.Handler
	number    func(i int) uint64
	target    func(i int) int
	label     func(i int) uint64
	seed      uint64
	handshake *Handshake

	opcode Opcode // of the messages sent
	frame  []byte // room for one of them

	// Only of connections in the middle of something. reading is where the frames
	// that come in have got to. partial is the start of a handshake's answer or
	// of a control frame, and unsent are control frames that wait for room. closing
	// are the connections on which a close frame was sent.
	reading map[int]Reader
	partial map[int][]byte
	unsent  map[int][]byte
	closing map[int]bool

	compression *compression // nil: none was agreed on
}

// New returns the protocol of one worker.
func New(c protocol.Config) *Protocol {
	p := &Protocol{
		sender:    protocol.Sender{Engine: c.Engine},
		handler:   c.Handler,
		number:    c.Number,
		target:    c.Target,
		label:     c.Label,
		seed:      c.Seed,
		handshake: NewHandshake(c.Seed, c.Targets, c.Opening, c.Compression),
		reading:   map[int]Reader{},
		partial:   map[int][]byte{},
		unsent:    map[int][]byte{},
		closing:   map[int]bool{},
	}
	if c.Compression != "" {
		p.compression = newCompression(c.Compression == control.CompressionTakeover, c.Texts)
	}
	return p
}

// StateBytes implements [protocol.Protocol].
func (p *Protocol) StateBytes() int {
	if p.compression != nil {
		return p.compression.stateBytes()
	}
	return 0
}

// Role implements [protocol.Protocol].
func (p *Protocol) Role(int) (publishes, hears bool) { return true, true }

// Held returns the number of entries that are kept of connections in the middle of
// something.
func (p *Protocol) Held() int {
	held := len(p.reading) + p.sender.Held() + len(p.partial) + len(p.unsent) + len(p.closing)
	if p.compression != nil {
		held += len(p.compression.partial)
	}
	return held
}

// Unsent returns the number of bytes of control frames that wait for room at
// connection i.
func (p *Protocol) Unsent(i int) int {
	if len(p.unsent) == 0 {
		return 0 // quicker than to look for it
	}
	return len(p.unsent[i])
}

// Forget implements [protocol.Protocol].
func (p *Protocol) Forget(i int) {
	delete(p.reading, i)
	p.sender.Forget(i)
	delete(p.partial, i)
	delete(p.unsent, i)
	delete(p.closing, i)
	if p.compression != nil {
		p.compression.forget(i)
	}
}

// key returns the number of the handshake key that connection i uses.
func (p *Protocol) key(i int) int { return int(splitmix.Mix(p.number(i)) % Keys) }

// Open implements [protocol.Protocol]. In practice all of the request goes at once
// into an empty send buffer.
func (p *Protocol) Open(i int) {
	_, err := p.sender.Send(i, p.handshake.Request(p.target(i), p.key(i), p.label(i)))
	if err != nil {
		p.handler.Failed(i, engine.Failure{Err: err})
	}
}

// Answer implements [protocol.Protocol].
func (p *Protocol) Answer(i int, b []byte) {
	b = p.join(i, b)
	n, err := p.handshake.Check(p.key(i), b)
	if n > 0 && p.Unfinished(i) {
		err = http1.ErrBadAnswer // the peer has not yet had the whole request
	}
	if status := http1.RejectedError(""); errors.As(err, &status) {
		p.handler.Count(control.CountStatus + string(status))
	}
	switch {
	case err != nil:
		p.handler.Failed(i, engine.Failure{Err: err})
	case n == 0:
		p.keep(i, b)
	default:
		delete(p.partial, i)
		if p.handler.Opened(i) && n < len(b) {
			p.Data(i, b[n:])
		}
	}
}

// join returns what came before and was kept, followed by b.
func (p *Protocol) join(i int, b []byte) []byte {
	if len(p.partial) == 0 {
		return b
	}
	if before, ok := p.partial[i]; ok {
		return append(before, b...)
	}
	return b
}

// keep keeps b until the rest of it has come.
func (p *Protocol) keep(i int, b []byte) {
	if len(p.partial[i]) == 0 {
		b = bytes.Clone(b) // it belongs to the engine
	}
	p.partial[i] = b
}

// Data implements [protocol.Protocol].
func (p *Protocol) Data(i int, b []byte) {
	var reader Reader
	if len(p.reading) > 0 {
		reader = p.reading[i]
	}
	reader.Deflate = p.compression != nil
	for len(b) > 0 {
		piece, n, found, err := reader.Next(b)
		if err != nil {
			p.handler.Failed(i, engine.Failure{Err: err})
			return
		}
		b = b[n:]
		if found && !p.received(i, piece) {
			return
		}
	}
	switch {
	case !reader.BetweenMessages():
		p.reading[i] = reader
	case len(p.reading) > 0:
		delete(p.reading, i)
	}
	// All pings that came together are answered together.
	if p.Unsent(i) > 0 && !p.Unfinished(i) {
		p.flush(i)
	}
}

// received takes a piece of a message or control frame. It returns false if the
// connection is gone.
func (p *Protocol) received(i int, piece Piece) (alive bool) {
	if piece.Compressed {
		message, whole, err := p.compression.receive(i, piece)
		switch {
		case err != nil:
			p.handler.Failed(i, engine.Failure{Err: err})
			return false
		case !whole:
			return true
		}
		piece.Payload = message
	}
	switch piece.Opcode {
	case Binary:
		return p.handler.Received(i, protocol.Piece{Kind: protocol.Data, Payload: piece.Payload, Last: piece.Last})
	case Text:
		return p.handler.Received(i, protocol.Piece{Kind: protocol.Text, Payload: piece.Payload, Last: piece.Last})
	}
	text := p.join(i, piece.Payload)
	if !piece.Last {
		p.keep(i, text)
		return true
	}
	if len(p.partial) > 0 {
		delete(p.partial, i)
	}
	switch piece.Opcode {
	case Ping:
		if !p.closing[i] && p.Unsent(i) < mostUnsent {
			p.hold(i, Pong, text)
		}
	case Pong:
		return p.handler.Received(i, protocol.Piece{Kind: protocol.Ping, Payload: text, Last: true})
	case Close:
		p.closed(i, text)
		return false
	}
	return true
}

// closed takes a close frame. If it is not the answer to ours, it is answered (RFC
// 6455 section 5.5.1), as far as there is room: nothing is waited for.
func (p *Protocol) closed(i int, payload []byte) {
	if p.closing[i] {
		p.handler.Finished(i)
		return
	}
	if !p.Unfinished(i) {
		p.hold(i, Close, payload[:min(len(payload), 2)]) // the status code
		if alive, _ := p.flush(i); !alive {
			return
		}
	}
	p.handler.Count(control.CountClose + closeCode(payload))
	p.handler.Failed(i, engine.Failure{Err: control.Closed})
}

// closeCode is the status code of a close frame (RFC 6455 section 7.4), "none" if it has none.
func closeCode(payload []byte) string {
	if len(payload) < 2 {
		return "none"
	}
	return strconv.Itoa(int(binary.BigEndian.Uint16(payload)))
}

// Prepare implements [protocol.Protocol].
func (p *Protocol) Prepare(kind protocol.Kind, size int) {
	p.opcode = map[protocol.Kind]Opcode{protocol.Data: Binary, protocol.Ping: Ping, protocol.Text: Text}[kind]
	if p.compression != nil {
		p.compression.prepare(kind, size)
	}
	if room := MaxHeader + size; cap(p.frame) < room {
		p.frame = make([]byte, room)
	}
}

// Send implements [protocol.Protocol].
func (p *Protocol) Send(i int, payload []byte, nonce uint64) (whole bool) {
	if p.Unsent(i) > 0 && !p.Unfinished(i) {
		return false
	}
	mask := uint32(splitmix.Mix(^nonce))
	var frame []byte
	if p.compression != nil && p.opcode == Binary {
		frame = p.compression.frame(payload, mask)
	} else {
		n := PutHeader(p.frame[:MaxHeader], p.opcode, len(payload), mask)
		frame = p.frame[:n+len(payload)]
		Mask(frame[n:], payload, mask)
	}
	whole, err := p.sender.Send(i, frame)
	if err != nil {
		p.fail(i, err)
		return false
	}
	if whole && p.Unsent(i) > 0 {
		alive, _ := p.flush(i) // control frames waited for the end of the message
		return alive
	}
	return whole
}

// Unfinished implements [protocol.Protocol].
func (p *Protocol) Unfinished(i int) bool { return p.sender.Unfinished(i) }

// Writable implements [protocol.Protocol]. Nothing may come into the middle of a
// message.
func (p *Protocol) Writable(i int) {
	if p.Unfinished(i) {
		p.handler.Writable(i)
	} else if alive, flushed := p.flush(i); alive && flushed {
		p.handler.Writable(i)
	}
}

// Finish implements [protocol.Protocol].
func (p *Protocol) Finish(i int) {
	p.closing[i] = true
	p.hold(i, Close, closePayload)
	if !p.Unfinished(i) {
		p.flush(i)
	}
}

// closePayload is the payload of the close frames sent.
var closePayload = binary.BigEndian.AppendUint16(nil, CloseNormal)

// hold has a control frame wait, until flush.
func (p *Protocol) hold(i int, opcode Opcode, payload []byte) {
	mask := uint32(splitmix.Mix(p.seed ^ uint64(clock.Now())))
	p.unsent[i] = AppendControl(p.unsent[i], opcode, payload, mask)
}

// flush sends control frames that wait. alive: the connection still is.
func (p *Protocol) flush(i int) (alive, flushed bool) {
	if p.Unsent(i) == 0 {
		return true, true
	}
	waiting := p.unsent[i]
	n, err := p.sender.Engine.Send(i, waiting)
	switch {
	case err != nil:
		p.fail(i, err)
		return false, false
	case n < len(waiting):
		p.unsent[i] = waiting[n:]
		return true, false
	}
	delete(p.unsent, i)
	return true, true
}

// fail says that nothing can be sent on connection i.
func (p *Protocol) fail(i int, err error) {
	p.handler.Failed(i, engine.Failure{Phase: control.PhaseSend, Err: err})
}
