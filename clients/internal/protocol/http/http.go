// Package http is the client's side of HTTP/1.1 connections that are kept (RFC 9112 section 9.3).
// A connection is open when its first request, a GET, is answered. A message is the body of a
// POST, and its answer the body of the response. A ping is another GET: what answers it is any
// response with status 200.
//
// If connections are to hear what goes to all, one of them publishes that, by POST, and the others
// get it as events of one response, or as the bodies of the responses to one GET after the other.
// Messages are then base64: an event is text.
package http

import (
	"errors"
	"net/netip"
	"strconv"

	"connbench/clients/control"
	"connbench/clients/internal/engine"
	"connbench/clients/internal/protocol"
	"connbench/clients/internal/protocol/http1"
)

func init() {
	protocol.Protocols.Add(control.ProtocolHTTP, protocol.Definition{
		LargestPing: largestPing,
		New:         func(c protocol.Config) protocol.Protocol { return New(c) },
	})
}

// largestPing is the largest payload of a ping, in bytes. It stays here: a GET has no room for it.
const largestPing = 125

// Protocol implements [protocol.Protocol].
type Protocol struct {
	sender  protocol.Sender
	handler protocol.Handler
	opening control.Opening
	targets []netip.AddrPort
	target  func(i int) int
	label   func(i int) uint64

	// gets and posts are the requests to each target, posts without their bodies; nil if each
	// connection has requests of its own.
	gets, posts [][]byte
	size        int    // of the bodies, in bytes
	pinging     bool   // the messages are pings
	request     []byte // room for one that is sent
	// reading are the responses that have come in part, and asked the requests that are not
	// answered, the oldest first: of a ping its payload, of a message nil.
	reading map[int]response
	asked   map[int][][]byte

	hearing *hearing // nil: no connection hears what goes to all
}

// New returns the protocol of one worker.
func New(c protocol.Config) *Protocol {
	p := &Protocol{
		sender: protocol.Sender{Engine: c.Engine}, handler: c.Handler, opening: c.Opening, targets: c.Targets,
		target: c.Target, label: c.Label, reading: map[int]response{}, asked: map[int][][]byte{},
	}
	if c.Hear != "" {
		p.hearing = &hearing{polls: c.Hear == control.HearPolls, parts: map[int][]byte{}}
	}
	if !c.Opening.Differs() {
		for _, target := range c.Targets {
			p.gets = append(p.gets, p.appendGet(nil, target, 0))
		}
	}
	return p
}

func (p *Protocol) appendGet(b []byte, target netip.AddrPort, n uint64) []byte {
	return append(http1.AppendRequest(b, "GET", p.opening, target, n), "\r\n"...)
}

func (p *Protocol) appendPost(b []byte, target netip.AddrPort, n uint64, size int) []byte {
	b = http1.AppendRequest(b, "POST", p.opening, target, n)
	if !p.opening.Has("Content-Type") {
		b = append(b, "Content-Type: application/octet-stream\r\n"...)
	}
	b = append(b, "Content-Length: "...)
	return append(strconv.AppendInt(b, int64(size), 10), "\r\n\r\n"...)
}

// StateBytes implements [protocol.Protocol].
func (p *Protocol) StateBytes() int { return p.hearing.stateBytes() }

// Held returns the number of entries that are kept of connections in the middle of something.
func (p *Protocol) Held() int {
	return len(p.reading) + len(p.asked) + p.sender.Held() + p.hearing.held()
}

// Forget implements [protocol.Protocol].
func (p *Protocol) Forget(i int) {
	delete(p.reading, i)
	delete(p.asked, i)
	p.sender.Forget(i)
	if p.hearing != nil {
		delete(p.hearing.parts, i)
	}
}

// get is the GET of connection i, valid until the next request.
func (p *Protocol) get(i int) []byte {
	if p.streams(i) {
		p.request = append(p.beginGet(i), "Accept: text/event-stream\r\n\r\n"...)
		return p.request
	}
	if p.gets != nil {
		return p.gets[p.target(i)]
	}
	p.request = p.appendGet(p.request[:0], p.targets[p.target(i)], p.label(i))
	return p.request
}

// beginGet is the GET of connection i without the empty line that ends it, valid until the next
// request.
func (p *Protocol) beginGet(i int) []byte {
	if p.gets != nil {
		whole := p.gets[p.target(i)]
		return append(p.request[:0], whole[:len(whole)-len("\r\n")]...)
	}
	return http1.AppendRequest(p.request[:0], "GET", p.opening, p.targets[p.target(i)], p.label(i))
}

// post is the POST of connection i, valid until the next request.
func (p *Protocol) post(i int, body []byte) []byte {
	if p.posts != nil && len(body) == p.size {
		p.request = append(p.request[:0], p.posts[p.target(i)]...)
	} else {
		p.request = p.appendPost(p.request[:0], p.targets[p.target(i)], p.label(i), p.length(len(body)))
	}
	if p.hearing != nil {
		p.request = encoding.AppendEncode(p.request, body)
	} else {
		p.request = append(p.request, body...)
	}
	return p.request
}

// Open implements [protocol.Protocol].
func (p *Protocol) Open(i int) {
	if _, err := p.sender.Send(i, p.get(i)); err != nil {
		p.handler.Failed(i, engine.Failure{Err: err})
	}
}

// Answer implements [protocol.Protocol]. What its body says does not matter.
func (p *Protocol) Answer(i int, b []byte) {
	if p.sender.Unfinished(i) {
		p.fail(i, http1.ErrBadAnswer) // the server has not yet had the whole request
		return
	}
	r, streams := p.reading[i], p.streams(i)
	for len(b) > 0 {
		_, n, ended, err := r.next(b)
		if err == nil && (ended && streams || ended && p.polls(i) && !r.numbered) {
			err = http1.ErrBadAnswer // it lets nobody hear
		}
		if err != nil {
			p.fail(i, err)
			return
		}
		b = b[n:]
		if ended || streams && r.betweenChunks() {
			delete(p.reading, i)
			if p.handler.Opened(i) && p.poll(i, r) && len(b) > 0 {
				p.Data(i, b)
			}
			return
		}
	}
	p.reading[i] = r
}

// Data implements [protocol.Protocol].
func (p *Protocol) Data(i int, b []byte) {
	r := p.begun(i)
	for len(b) > 0 {
		piece, n, ended, err := r.next(b)
		if err != nil {
			p.fail(i, broken(err))
			return
		}
		b = b[n:]
		if !p.received(i, piece, ended, r) {
			return
		}
		if ended {
			r = response{}
		}
	}
	switch {
	case !r.fresh() && !(r.betweenChunks() && p.streams(i)):
		p.reading[i] = r
	case len(p.reading) > 0:
		delete(p.reading, i)
	}
}

// received takes a piece of the body of r. It returns false if the connection is gone. What the
// body of the answer to a ping says does not matter, nor what the answer to a message says that
// others hear.
func (p *Protocol) received(i int, piece []byte, ended bool, r response) (alive bool) {
	if len(piece) == 0 && !ended {
		return true
	}
	if p.hears(i) {
		return p.heard(i, piece, ended, r)
	}
	asked := p.asked[i]
	if len(asked) == 0 && (ended || !p.sender.Unfinished(i)) {
		p.fail(i, control.BadFrame) // nobody asked, or the request is not whole yet
		return false
	}
	answers := protocol.Piece{Kind: protocol.Data, Payload: piece, Last: ended}
	if len(asked) > 0 && asked[0] != nil {
		if !ended {
			return true
		}
		answers = protocol.Piece{Kind: protocol.Ping, Payload: asked[0], Last: true}
	}
	switch {
	case !ended:
	case len(asked) == 1:
		delete(p.asked, i)
	default:
		p.asked[i] = asked[1:]
	}
	if p.hearing != nil && answers.Kind == protocol.Data {
		return true
	}
	return p.handler.Received(i, answers)
}

// broken is the error of a response to a message.
func broken(err error) error {
	if errors.Is(err, http1.ErrBadAnswer) {
		return control.BadFrame
	}
	return err
}

// begun is the response that has come in part, or a new one.
func (p *Protocol) begun(i int) response {
	if len(p.reading) > 0 { // or it is quicker not to look for it
		if r, is := p.reading[i]; is {
			return r
		}
	}
	if p.streams(i) {
		return endless
	}
	return response{}
}

// fail says that connection i is of no use any more.
func (p *Protocol) fail(i int, err error) {
	if status := http1.RejectedError(""); errors.As(err, &status) {
		p.handler.Count(control.CountStatus + string(status))
	}
	p.handler.Failed(i, engine.Failure{Err: err})
}

// Prepare implements [protocol.Protocol].
func (p *Protocol) Prepare(kind protocol.Kind, size int) {
	p.size, p.posts, p.pinging = size, nil, kind == protocol.Ping
	if p.opening.Differs() {
		return
	}
	for _, target := range p.targets {
		p.posts = append(p.posts, p.appendPost(nil, target, 0, p.length(size)))
	}
}

// Send implements [protocol.Protocol].
func (p *Protocol) Send(i int, payload []byte, _ uint64) (whole bool) {
	var err error
	if p.pinging {
		whole, err = p.sender.Send(i, p.get(i))
	} else {
		whole, err = p.sender.Send(i, p.post(i, payload))
	}
	if err != nil {
		p.handler.Failed(i, engine.Failure{Phase: control.PhaseSend, Err: err})
		return false
	}
	if whole {
		var ping []byte
		if p.pinging {
			ping = append([]byte{}, payload...)
		}
		p.asked[i] = append(p.asked[i], ping)
	}
	return whole
}

// Unfinished implements [protocol.Protocol]. A poll is no message.
func (p *Protocol) Unfinished(i int) bool { return !p.hears(i) && p.sender.Unfinished(i) }

// Writable implements [protocol.Protocol].
func (p *Protocol) Writable(i int) {
	if p.polls(i) {
		p.ask(i)
		return
	}
	p.handler.Writable(i)
}

// Finish implements [protocol.Protocol]: a client just closes (RFC 9112 section 9.6).
func (p *Protocol) Finish(i int) { p.handler.Finished(i) }
