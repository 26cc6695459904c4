package session

import "github.com/gobwas/ws"

// Inspector checks the frame headers of a stream that somebody else parses: for
// libraries that let violations pass. The zero value is at the beginning of a
// frame.
type Inspector struct {
	header headerReader
	left   int64     // of the current frame's payload
	op     ws.OpCode // of the message under way, 0 if none is
	have   int       // its length so far
}

// AtRest reports whether no frame and no message is unfinished; the Inspector is
// then as good as a zero one.
func (i *Inspector) AtRest() bool { return i.header.n == 0 && i.left == 0 && i.op == 0 }

// Inspect takes the next bytes. It returns how many of them precede the first
// violation, to the end of the last frame before it or, if there is none, all;
// and the close code that the violation deserves, or 0.
func (i *Inspector) Inspect(in []byte, maxMessage int) (sound int, code ws.StatusCode) {
	rest := in
	for len(rest) > 0 {
		if skipped := min(i.left, int64(len(rest))); skipped > 0 {
			rest = rest[skipped:]
			i.left -= skipped
			continue
		}
		begin := len(in) - len(rest)
		h, after, done, err := i.header.read(rest)
		if err != nil {
			return begin, ws.StatusProtocolError
		}
		if !done {
			break
		}
		if code := checkHeader(h, i.op, i.have, maxMessage); code != 0 {
			return begin, code
		}
		rest, i.left = after, h.Length
		if h.OpCode.IsControl() {
			continue
		}
		if i.op == 0 {
			i.op = h.OpCode
		}
		i.have += int(h.Length)
		if h.Fin {
			i.op, i.have = 0, 0
		}
	}
	return len(in), 0
}
