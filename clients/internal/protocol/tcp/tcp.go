// Package tcp is the client of a server that sends back every byte, and nothing else: what a
// connection costs without WebSocket. Messages begin with their length, in four bytes, for the
// client's own sake; the server knows nothing of messages.
package tcp

import (
	"encoding/binary"

	"connbench/clients/control"
	"connbench/clients/internal/engine"
	"connbench/clients/internal/protocol"
)

func init() {
	protocol.Protocols.Add(control.ProtocolTCP, protocol.Definition{
		LargestPing: -1,
		New:         func(c protocol.Config) protocol.Protocol { return New(c) },
	})
}

// header is the size of a message's length, in bytes.
const header = 4

// greeting opens a connection: an empty message. That the kernel has connected says nothing of
// the server, which may never accept.
var greeting = make([]byte, header)

// Protocol implements [protocol.Protocol].
type Protocol struct {
	sender  protocol.Sender
	handler protocol.Handler
	message []byte // room for one that is sent
	largest int    // payload of all that were sent, in bytes
	// reading is where the message that comes in has got to, of connections in the middle of one.
	reading map[int]reader
}

// reader is the state of a stream of messages; its zero value is between two.
type reader struct {
	length  uint32 // payload bytes to come; in the header, the length as far as it is known
	read    uint8  // bytes of the header that have come
	payload bool   // the header is complete
}

// New returns the protocol of one worker.
func New(c protocol.Config) *Protocol {
	return &Protocol{sender: protocol.Sender{Engine: c.Engine}, handler: c.Handler, reading: map[int]reader{}}
}

// StateBytes implements [protocol.Protocol].
func (p *Protocol) StateBytes() int { return 0 }

// Role implements [protocol.Protocol].
func (p *Protocol) Role(int) (publishes, hears bool) { return true, true }

// Held returns the number of entries that are kept of connections in the middle of something.
func (p *Protocol) Held() int { return len(p.reading) + p.sender.Held() }

// Forget implements [protocol.Protocol].
func (p *Protocol) Forget(i int) {
	delete(p.reading, i)
	p.sender.Forget(i)
}

// Open implements [protocol.Protocol].
func (p *Protocol) Open(i int) {
	if _, err := p.sender.Send(i, greeting); err != nil {
		p.handler.Failed(i, engine.Failure{Err: err})
	}
}

// Answer implements [protocol.Protocol].
func (p *Protocol) Answer(i int, b []byte) {
	r := p.reading[i]
	for len(b) > 0 && !r.payload {
		r.header(b[0])
		b = b[1:]
	}
	switch {
	case r.length > 0 || p.sender.Unfinished(i):
		p.handler.Failed(i, engine.Failure{Err: control.BadAnswer})
	case !r.payload:
		p.reading[i] = r
	default:
		delete(p.reading, i)
		if p.handler.Opened(i) && len(b) > 0 {
			p.Data(i, b)
		}
	}
}

// header takes a byte of a message's length.
func (r *reader) header(c byte) {
	r.length = r.length<<8 | uint32(c)
	r.read++
	r.payload = r.read == header
}

// Data implements [protocol.Protocol].
func (p *Protocol) Data(i int, b []byte) {
	var r reader
	if len(p.reading) > 0 {
		r = p.reading[i]
	}
	for len(b) > 0 {
		if !r.payload {
			r.header(b[0])
			b = b[1:]
			if !r.payload {
				continue
			}
			if int64(r.length) > int64(p.largest) {
				p.handler.Failed(i, engine.Failure{Err: control.BadFrame}) // longer than any that was sent
				return
			}
			if r.length > 0 && len(b) == 0 {
				break
			}
		}
		piece := b[:min(len(b), int(r.length))]
		b = b[len(piece):]
		r.length -= uint32(len(piece))
		last := r.length == 0
		if last {
			r = reader{}
		}
		if !p.handler.Received(i, protocol.Piece{Kind: protocol.Data, Payload: piece, Last: last}) {
			return
		}
	}
	if r == (reader{}) {
		if len(p.reading) > 0 {
			delete(p.reading, i)
		}
		return
	}
	p.reading[i] = r
}

// Prepare implements [protocol.Protocol].
func (p *Protocol) Prepare(_ protocol.Kind, size int) {
	p.largest = max(p.largest, size)
	if room := header + size; cap(p.message) < room {
		p.message = make([]byte, room)
	}
}

// Send implements [protocol.Protocol].
func (p *Protocol) Send(i int, payload []byte, _ uint64) (whole bool) {
	message := p.message[:header+len(payload)]
	binary.BigEndian.PutUint32(message, uint32(len(payload)))
	copy(message[header:], payload)
	whole, err := p.sender.Send(i, message)
	if err != nil {
		p.handler.Failed(i, engine.Failure{Phase: control.PhaseSend, Err: err})
	}
	return whole
}

// Unfinished implements [protocol.Protocol].
func (p *Protocol) Unfinished(i int) bool { return p.sender.Unfinished(i) }

// Writable implements [protocol.Protocol].
func (p *Protocol) Writable(i int) { p.handler.Writable(i) }

// Finish implements [protocol.Protocol]: there is no leave to take.
func (p *Protocol) Finish(i int) { p.handler.Finished(i) }
