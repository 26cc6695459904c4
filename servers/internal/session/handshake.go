package session

import (
	"bytes"
	"encoding/base64"
	"io"

	"github.com/gobwas/ws"
)

// MaxRequest is the largest opening request, in bytes. servers/README.md demands
// that every server has such a limit.
const MaxRequest = 8 << 10

var (
	endOfRequest = []byte("\r\n\r\n")
	// tooLarge is RFC 6585 section 5.
	tooLarge  = []byte("HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
	malformed = []byte("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
)

// upgrader's read buffer holds a request of any size that is let in, since it
// takes a line that does not fit for malformed.
var upgrader = ws.Upgrader{ReadBufferSize: MaxRequest}

// handshake collects the request and answers it once it is whole: ws.Upgrader
// would block on half of one. It returns what follows the request; ok says that
// the session is open.
func (s *Session) handshake(in, out []byte) (rest, _ []byte, ok bool) {
	request, before := in, 0
	if p := s.partial; p != nil {
		before = len(p.data)
		// One byte more than the limit is enough to see that it is exceeded.
		p.data = append(p.data, in[:min(len(in), MaxRequest+1-before)]...)
		request = p.data
	}
	seen := max(0, before-len(endOfRequest)+1) // its end does not begin before
	end := bytes.Index(request[seen:], endOfRequest)
	size := seen + end + len(endOfRequest)
	switch {
	case end >= 0 && size <= MaxRequest:
	case len(request) > MaxRequest:
		return s.reject(append(out, tooLarge...))
	default:
		if s.partial == nil {
			p := s.unfinished()
			p.data = append(p.data, in...)
		}
		return nil, out, false
	}

	if !wellFormedKey(request[:size]) {
		return s.reject(append(out, malformed...))
	}
	exchange := exchange{request: request[:size], response: out}
	if _, err := upgrader.Upgrade(&exchange); err != nil {
		if len(exchange.response) == len(out) { // not even a request line
			return s.reject(append(out, malformed...))
		}
		return s.reject(exchange.response)
	}
	s.phase, s.upgraded = open, true
	s.Release()
	return in[size-before:], exchange.response, true
}

var keyHeader = []byte("sec-websocket-key:")

// wellFormedKey checks what ws.Upgrader leaves out: that the key, if there is
// one, is 16 bytes in base64 (RFC 6455 section 4.1).
func wellFormedKey(request []byte) bool {
	for line := range bytes.Lines(request) {
		if len(line) < len(keyHeader) || !bytes.EqualFold(line[:len(keyHeader)], keyHeader) {
			continue
		}
		var key [18]byte // what the 24 characters of a key can decode to at most
		text := bytes.TrimSpace(line[len(keyHeader):])
		if len(text) > base64.StdEncoding.EncodedLen(16) {
			return false
		}
		n, err := base64.StdEncoding.Decode(key[:], text)
		return err == nil && n == 16
	}
	return true
}

func (s *Session) reject(out []byte) (rest, _ []byte, ok bool) {
	s.phase = over
	s.Release()
	return nil, out, false
}

// exchange is the connection as ws.Upgrader sees it: a request that is here, a
// response that is appended to what is sent.
type exchange struct {
	request  []byte
	response []byte
}

func (e *exchange) Read(p []byte) (int, error) {
	if len(e.request) == 0 {
		return 0, io.EOF
	}
	n := copy(p, e.request)
	e.request = e.request[n:]
	return n, nil
}

func (e *exchange) Write(p []byte) (int, error) {
	e.response = append(e.response, p...)
	return len(p), nil
}
