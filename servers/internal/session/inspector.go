package session

import "github.com/gobwas/ws"

// Inspector follows the frame headers of a stream that somebody else parses: for
// libraries that let violations pass. The zero value is at the beginning of a
// frame.
type Inspector struct {
	header headerReader
	left   int64     // of the current frame's payload
	op     ws.OpCode // of the message under way, 0 if none is
	have   int       // its length so far
	// Deflate says that messages may be compressed (RFC 7692). compressed is of the message
	// under way.
	Deflate, compressed bool
}

// Finding is what an Inspector stops at; the zero value is nothing.
type Finding struct {
	// Violation is the close code that the next frame deserves, or 0.
	Violation ws.StatusCode
	// Empty is the opcode of a message without payload that has just ended, or 0.
	Empty ws.OpCode
}

// AtRest reports whether no frame and no message is unfinished; the Inspector is
// then as good as a zero one.
func (i *Inspector) AtRest() bool { return i.header.n == 0 && i.left == 0 && i.op == 0 }

// Inspect takes the next bytes up to the first finding, or to the end of the last of
// as many frames as it may take. It returns how many bytes they are, and how many
// frames it may still take. After a violation the stream must not be inspected any
// further.
func (i *Inspector) Inspect(in []byte, maxMessage, frames int) (taken, left int, _ Finding) {
	for taken < len(in) && (frames > 0 || i.left > 0) {
		if skipped := min(i.left, int64(len(in)-taken)); skipped > 0 {
			taken += int(skipped)
			i.left -= skipped
			continue
		}
		h, rest, done, err := i.header.read(in[taken:])
		if !done {
			return len(in), frames, Finding{}
		}
		if err != nil {
			return taken, frames, Finding{Violation: ws.StatusProtocolError}
		}
		if code := checkHeader(h, i.op, i.have, maxMessage, i.Deflate); code != 0 {
			return taken, frames, Finding{Violation: code}
		}
		// Not even an empty message has no bytes when it is compressed (RFC 7692 section 7.2.3.6).
		if compressed := h.Rsv1() || i.op != 0 && i.compressed; compressed && h.OpCode.IsData() && h.Fin && int64(i.have)+h.Length == 0 {
			return taken, frames, Finding{Violation: ws.StatusInvalidFramePayloadData}
		}
		taken, i.left = len(in)-len(rest), h.Length
		frames--
		if h.OpCode.IsControl() {
			continue
		}
		if i.op == 0 {
			i.op, i.compressed = h.OpCode, h.Rsv1()
		}
		i.have += int(h.Length)
		if h.Fin {
			op, length := i.op, i.have
			i.op, i.have = 0, 0
			if length == 0 {
				return taken, frames, Finding{Empty: op}
			}
		}
	}
	return taken, frames, Finding{}
}
