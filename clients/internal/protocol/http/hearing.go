package http

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strconv"

	"connbench/clients/control"
	"connbench/clients/internal/engine"
	"connbench/clients/internal/protocol"
	"connbench/clients/internal/protocol/http1"
)

// encoding is that of messages that go to all. It has one text for each message.
var encoding = base64.StdEncoding.Strict()

// mostText is the longest event or body that is kept, in bytes: more than the largest message.
const mostText = 24 << 20

// hearing is what a protocol has whose connections hear what one of them publishes.
type hearing struct {
	// polls says that they ask for each message. Otherwise they ask for a stream of events.
	polls bool
	// parts are the bodies and events that have come in part.
	parts map[int][]byte
	// numbers are those of the last messages of connections that poll.
	numbers []uint64
	message []byte // room for one
}

func (h *hearing) held() int {
	if h == nil {
		return 0
	}
	return len(h.parts)
}

func (h *hearing) stateBytes() int {
	if h == nil || !h.polls {
		return 0
	}
	return 8 // a number
}

// Role implements [protocol.Protocol]. Where connections hear, the first one of all publishes.
func (p *Protocol) Role(i int) (publishes, hears bool) {
	return !p.hears(i), p.hearing == nil || p.hears(i)
}

func (p *Protocol) hears(i int) bool { return p.hearing != nil && p.label(i) > 0 }

func (p *Protocol) streams(i int) bool { return p.hears(i) && !p.hearing.polls }

func (p *Protocol) polls(i int) bool { return p.hears(i) && p.hearing.polls }

// length returns the length of the content that carries a message.
func (p *Protocol) length(message int) int {
	if p.hearing == nil {
		return message
	}
	return encoding.EncodedLen(message)
}

// poll asks for the message behind r, if connection i polls. It returns false if the connection is
// gone.
func (p *Protocol) poll(i int, r response) (alive bool) {
	if !p.polls(i) {
		return true
	}
	if !r.numbered {
		p.fail(i, control.BadFrame)
		return false
	}
	h := p.hearing
	if missing := i + 1 - len(h.numbers); missing > 0 {
		h.numbers = append(h.numbers, make([]uint64, missing)...)
	}
	h.numbers[i] = r.number
	return p.ask(i)
}

// ask sends the poll of connection i, or goes on with it. The server may keep it as long as no run
// takes: a day.
func (p *Protocol) ask(i int) (alive bool) {
	p.request = append(p.beginGet(i), "Prefer: wait=86400\r\nIf-None-Match: \""...)
	p.request = append(strconv.AppendUint(p.request, p.hearing.numbers[i], 10), "\"\r\n\r\n"...)
	if _, err := p.sender.Send(i, p.request); err != nil {
		p.handler.Failed(i, engine.Failure{Phase: control.PhaseSend, Err: err})
		return false
	}
	return true
}

// heard takes a piece of the body of r on a connection that hears. It returns false if the
// connection is gone.
func (p *Protocol) heard(i int, piece []byte, ended bool, r response) (alive bool) {
	h := p.hearing
	if p.sender.Unfinished(i) || ended && !h.polls {
		p.fail(i, control.BadFrame) // it answers half a request, or a stream has ended
		return false
	}
	if !h.polls {
		return p.events(i, piece)
	}
	text := h.text(i, piece, !ended)
	if !ended {
		return p.bounds(i, text)
	}
	return p.hand(i, text) && p.poll(i, r)
}

// events takes a piece of a stream of events (WHATWG HTML section 9.2.6). A line ends in LF or in
// CR LF; in CR alone, as the standard allows too, no server has it end.
func (p *Protocol) events(i int, piece []byte) (alive bool) {
	h := p.hearing
	for len(piece) > 0 {
		n := endOfEvent(h.parts[i], piece)
		if n == 0 {
			return p.bounds(i, h.text(i, piece, true))
		}
		event := h.text(i, piece[:n], false)
		piece = piece[n:]
		if data, is := dataOf(event); is && !p.hand(i, data) {
			return false
		}
	}
	return true
}

// text returns what has come of a text of connection i, the next piece at its end. It is kept if
// there is more to come. Otherwise it is valid as long as the piece.
func (h *hearing) text(i int, piece []byte, more bool) []byte {
	part := h.parts[i]
	if len(part) == 0 && !more {
		return piece
	}
	part = append(part, piece...)
	if more {
		h.parts[i] = part
	} else {
		delete(h.parts, i)
	}
	return part
}

// bounds has a connection fail on which a text comes that is longer than any message.
func (p *Protocol) bounds(i int, text []byte) (alive bool) {
	if len(text) > mostText {
		p.fail(i, control.BadFrame)
		return false
	}
	return true
}

// endOfEvent returns how much of a piece belongs to the event that has begun: up to the empty line
// that ends it; 0 if it goes on.
func endOfEvent(begun, piece []byte) int {
	begun = bytes.TrimSuffix(begun, []byte{'\r'})
	fresh := len(begun) == 0 || begun[len(begun)-1] == '\n' // nothing has come of the line
	for rest := piece; ; fresh = true {
		line, after, complete := http1.CutLine(rest)
		switch {
		case !complete:
			return 0
		case fresh && len(line) == 0:
			return len(piece) - len(after)
		}
		rest = after
	}
}

// dataOf returns the data of an event. A comment has none.
func dataOf(event []byte) (data []byte, is bool) {
	for len(event) > 0 {
		var line []byte
		line, event, _ = http1.CutLine(event)
		name, value, _ := bytes.Cut(line, []byte{':'})
		if string(name) != "data" {
			continue
		}
		value = bytes.TrimPrefix(value, []byte{' '})
		if is {
			value = slices.Concat(data, []byte{'\n'}, value)
		}
		data, is = value, true
	}
	return data, is
}

// hand hands on a message. What is not base64 is handed on too, as something that nobody has sent,
// though it may begin like a message.
func (p *Protocol) hand(i int, text []byte) (alive bool) {
	h := p.hearing
	message, err := encoding.AppendDecode(h.message[:0], text)
	if err != nil || bytes.ContainsAny(text, "\r\n") { // which the decoder skips
		message = append(message, text...)
	}
	h.message = message
	return p.handler.Received(i, protocol.Piece{Kind: protocol.Data, Payload: message, Last: true})
}
