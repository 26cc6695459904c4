// Package session is the server's side of one WebSocket connection (RFC 6455)
// for reactors: bytes go in as they arrive, bytes to send come out, and nothing
// ever waits for the rest of a frame. It echoes every message, and does the same for HTTP
// and for bytes without a protocol.
//
// It is built on the primitives of gobwas/ws. A [Session] is one pointer and two
// bytes; what an unfinished handshake or message needs beyond that is pooled and
// held only until it is finished. A whole message in one frame, the usual case,
// is unmasked where it lies and copied once.
package session

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"connbench/servers/contract"
	"connbench/servers/internal/audience"
	"connbench/servers/internal/opening"
	"connbench/servers/internal/work"
)

// Session is the state of one connection. The zero value awaits a handshake. It
// must be used by one goroutine at a time.
type Session struct {
	// partial is nil whenever no handshake, frame or fragmented message is
	// unfinished: in an idle connection.
	partial *partial
	phase   phase
	// upgraded stays true when the phase moves on.
	upgraded bool
	// deflate says that compression was agreed on.
	deflate bool
}

// Rules are the same for all sessions of a server.
type Rules struct {
	// MaxMessage is the largest message, in bytes of payload.
	MaxMessage int
	// Work is the CPU time that every message takes before its echo.
	Work time.Duration
	// Protocol is one of [contract.Protocols].
	Protocol string
	// Publish, if not nil, takes each message that goes to all other connections: see
	// [Rules.Publication]. It is the callee's to keep. Publish is called from within Feed, before
	// Feed returns the sender's own copy.
	Publish func(message []byte)
	// Board has the newest messages of HTTP; nil: those do not go to all. All sessions that share it
	// are used by one goroutine.
	Board *audience.Board
	// Deflate has a session agree to permessage-deflate, without context takeover.
	Deflate bool
}

// Abilities are those of a server whose connections are sessions, for [lifecycle.Main].
var Abilities = append(slices.Clone(contract.Protocols), contract.CompressionDeflate)

// RulesOf are the rules that options state.
func RulesOf(o contract.Options) Rules {
	return Rules{MaxMessage: o.MaxMessage, Work: o.Work(), Protocol: o.Protocol, Deflate: o.Compression == contract.CompressionDeflate}
}

type phase uint8

const (
	handshaking phase = iota
	open
	over      // nothing is answered any more
	streaming // HTTP: a stream of events goes to the peer
	polling   // HTTP: the peer waits for the next message
)

// Next says what to do with the connection once the output is sent.
type Next uint8

const (
	// Continue: feed what comes.
	Continue Next = iota
	// Close: the close handshake is done.
	Close
	// Fail: the peer broke the rules and has been told; it may still be sending.
	// Send end of stream, and close when the peer has, or after a while: see
	// listener.Linger. Feeding what still comes discards it.
	Fail
)

// partial is what is unfinished: a handshake, or a frame, or a message of which
// the last fragment is missing.
type partial struct {
	// data is the request so far, or the unmasked payload of the message so far.
	data []byte
	// header collects the header of the frame that comes next.
	header headerReader
	// frame is the frame whose payload is awaited, if inFrame; left is how much.
	frame   ws.Header
	left    int64
	inFrame bool
	// op is the opcode of the message that is being assembled; 0 if none is.
	op ws.OpCode
	// compressed says that it is.
	compressed bool
	// control is the payload of an unfinished control frame.
	control []byte
	// head is the length of an unfinished HTTP request without its content, 0 while that has
	// not all come, and message what it says.
	head    int
	message opening.Message
}

// pooledBytes is the largest buffer that goes back into the pool. A larger one
// is left to the collector, or a few large messages would pin memory for good.
const pooledBytes = 128 << 10

var partials = sync.Pool{New: func() any { return new(partial) }}

func (s *Session) unfinished() *partial {
	if s.partial == nil {
		s.partial = partials.Get().(*partial)
	}
	return s.partial
}

// Release gives up what is unfinished. It must be called when a connection ends
// before Feed has said Close or Fail.
func (s *Session) Release() {
	p := s.partial
	if p == nil {
		return
	}
	s.partial = nil
	data, control := p.data[:0], p.control[:0]
	if cap(data) > pooledBytes {
		data = nil
	}
	*p = partial{data: data, control: control}
	partials.Put(p)
}

// Upgraded reports whether the connection is open: the handshake was answered with 101, the
// first request with 200, or a first byte has come.
func (s *Session) Upgraded() bool { return s.upgraded }

// Ended reports whether the session is over: closed, failed or rejected.
func (s *Session) Ended() bool { return s.phase == over }

// upgradedBit is that of a packed session; its phase is below.
const upgradedBit = 1 << 7

// Pack returns a session as a byte, for servers that keep nothing else of an idle
// connection. It returns false while something is unfinished that does not fit.
func (s *Session) Pack() (b uint8, ok bool) {
	b = uint8(s.phase)
	if s.upgraded {
		b |= upgradedBit
	}
	return b, s.partial == nil
}

// Unpack is the inverse of [Session.Pack].
func Unpack(b uint8) Session {
	return Session{phase: phase(b &^ upgradedBit), upgraded: b&upgradedBit != 0}
}

// FramesPerTurn is the most that Feed handles at once, so that a peer that sends
// many small frames in one segment does not keep its loop from others. Each frame may
// be a message, and each message may take Rules.Work.
const FramesPerTurn = 64

// Feed takes bytes as they arrived, of any number, and appends what is to be
// sent to out. It keeps no reference to in, but overwrites it. The output is at
// most as long as the input plus one message and a few bytes.
//
// What it leaves over, in rest, has to be fed again before what arrives later, and
// after the other connections have had their turn.
func (s *Session) Feed(in, out []byte, rules Rules) (rest, _ []byte, _ Next) {
	switch rules.Protocol {
	case contract.ProtocolTCP:
		return s.feedBytes(in, out, rules)
	case contract.ProtocolHTTP:
		return s.feedRequests(in, out, rules)
	}
	if s.phase == handshaking {
		var ok bool
		if in, out, ok = s.handshake(in, out, rules); !ok {
			if s.phase == over {
				return nil, out, Fail
			}
			return nil, out, Continue
		}
	}
	for frames := 0; len(in) > 0 && s.phase == open; frames++ {
		if frames == FramesPerTurn {
			return in, out, Continue
		}
		var next Next
		if s.partial == nil {
			in, out, next = s.whole(in, out, rules)
		} else {
			in, out, next = s.part(in, out, rules)
		}
		if next != Continue {
			s.phase = over
			s.Release()
			return nil, out, next
		}
	}
	return nil, out, Continue
}

// whole handles a frame that is here to its end, without keeping any state. What
// is not falls to part, by making it unfinished.
func (s *Session) whole(in, out []byte, rules Rules) ([]byte, []byte, Next) {
	if len(in) < 2 || len(in) < headerSize(in[1]) {
		s.unfinished()
		return in, out, Continue
	}
	size := headerSize(in[1])
	h, err := decodeHeader(in[:size])
	if err != nil {
		return in, appendClose(out, ws.StatusProtocolError), Fail
	}
	if code := checkHeader(h, 0, 0, rules.MaxMessage, s.deflate); code != 0 {
		return in, appendClose(out, code), Fail
	}
	if h.Length > int64(len(in)-size) || !h.Fin {
		s.unfinished()
		return in, out, Continue
	}
	payload, rest := in[size:size+int(h.Length)], in[size+int(h.Length):]
	ws.Cipher(payload, h.Mask, 0)
	if h.OpCode.IsControl() {
		out, next := control(h.OpCode, payload, out)
		return rest, out, next
	}
	out, next := s.echo(h.OpCode, payload, h.Rsv1(), out, rules)
	return rest, out, next
}

// part advances what is unfinished by one header or one payload.
func (s *Session) part(in, out []byte, rules Rules) ([]byte, []byte, Next) {
	p := s.partial
	if !p.inFrame {
		h, rest, done, err := p.header.read(in)
		if !done {
			return rest, out, Continue
		}
		if err != nil {
			return rest, appendClose(out, ws.StatusProtocolError), Fail
		}
		if code := checkHeader(h, p.op, len(p.data), rules.MaxMessage, s.deflate); code != 0 {
			return rest, appendClose(out, code), Fail
		}
		if h.OpCode == ws.OpText || h.OpCode == ws.OpBinary {
			p.op, p.compressed = h.OpCode, h.Rsv1()
		}
		p.frame, p.left, p.inFrame = h, h.Length, true
		in = rest
	}

	payload, rest := in, in[len(in):]
	if int64(len(in)) > p.left {
		payload, rest = in[:p.left], in[p.left:]
	}
	ws.Cipher(payload, p.frame.Mask, int(p.frame.Length-p.left))
	p.left -= int64(len(payload))
	isControl := p.frame.OpCode.IsControl()
	if isControl {
		p.control = append(p.control, payload...)
	} else {
		p.data = append(p.data, payload...)
	}
	if p.left > 0 {
		return rest, out, Continue
	}
	p.inFrame = false

	next := Continue
	switch {
	case isControl:
		out, next = control(p.frame.OpCode, p.control, out)
		p.control = p.control[:0]
	case p.frame.Fin:
		out, next = s.echo(p.op, p.data, p.compressed, out, rules)
		p.op, p.data = 0, p.data[:0]
	}
	if p.op == 0 {
		s.Release()
	}
	return rest, out, next
}

// checkHeader returns the close code that a header deserves, or 0. op is the
// opcode of the message that is being assembled, 0 if none is, and have its
// length so far. A message is too big as soon as a header says so. With deflate, the first frame
// of a message may say that it is compressed.
func checkHeader(h ws.Header, op ws.OpCode, have, maxMessage int, deflate bool) ws.StatusCode {
	if deflate && h.Rsv1() && (h.OpCode == ws.OpText || h.OpCode == ws.OpBinary) {
		h.Rsv = ws.Rsv(false, h.Rsv2(), h.Rsv3())
	}
	state := ws.StateServerSide
	if op != 0 {
		state = state.Set(ws.StateFragmented)
	}
	if ws.CheckHeader(h, state) != nil {
		return ws.StatusProtocolError
	}
	if h.OpCode.IsData() && h.Length > int64(maxMessage-have) {
		return ws.StatusMessageTooBig
	}
	return 0
}

func (s *Session) echo(op ws.OpCode, message []byte, compressed bool, out []byte, rules Rules) ([]byte, Next) {
	if s.deflate {
		return echoDeflated(op, message, compressed, out, rules)
	}
	if op == ws.OpText && !utf8.Valid(message) {
		return appendClose(out, ws.StatusInvalidFramePayloadData), Fail
	}
	work.Do(rules.Work)
	before := len(out)
	out = append(appendHeader(out, op, len(message)), message...)
	if rules.Publish != nil {
		rules.Publish(bytes.Clone(out[before:]))
	}
	return out, Continue
}

func control(op ws.OpCode, payload, out []byte) ([]byte, Next) {
	switch op {
	case ws.OpPing:
		return append(appendHeader(out, ws.OpPong, len(payload)), payload...), Continue
	case ws.OpClose:
		return closing(payload, out)
	default: // a pong that nobody asked for (RFC 6455 section 5.5.3)
		return out, Continue
	}
}

// closing answers a close frame with its own code (RFC 6455 section 5.5.1).
func closing(payload, out []byte) ([]byte, Next) {
	switch {
	case len(payload) == 0:
		return append(out, ws.CompiledClose...), Close
	case len(payload) == 1:
		return appendClose(out, ws.StatusProtocolError), Fail
	}
	code := ws.StatusCode(binary.BigEndian.Uint16(payload))
	reason := payload[2:]
	switch {
	case !utf8.Valid(reason):
		return appendClose(out, ws.StatusInvalidFramePayloadData), Fail
	// CheckCloseFrameData lets pass what RFC 6455 section 7.4.2 does not define.
	case code >= 5000 || ws.CheckCloseFrameData(code, "") != nil:
		return appendClose(out, ws.StatusProtocolError), Fail
	}
	return appendClose(out, code), Close
}

func appendClose(out []byte, code ws.StatusCode) []byte {
	return binary.BigEndian.AppendUint16(appendHeader(out, ws.OpClose, 2), uint16(code))
}
