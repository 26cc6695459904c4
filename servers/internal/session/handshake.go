package session

import (
	"net/http"

	"connbench/servers/internal/opening"
)

// handshake collects the request and answers it once it is whole. It returns what
// follows the request; ok says that the session is open.
func (s *Session) handshake(in, out []byte, rules Rules) (rest, _ []byte, ok bool) {
	request, before := in, 0
	if p := s.partial; p != nil {
		before = len(p.data)
		// One byte more than the limit is enough to see that it is exceeded.
		p.data = append(p.data, in[:min(len(in), opening.MaxBytes+1-before)]...)
		request = p.data
	}
	size := opening.End(request, before)
	switch {
	case size > 0 && size <= opening.MaxBytes:
	case len(request) > opening.MaxBytes:
		return s.reject(out, http.StatusRequestHeaderFieldsTooLarge)
	default:
		if s.partial == nil {
			p := s.unfinished()
			p.data = append(p.data, in...)
		}
		return nil, out, false
	}

	r, refusal := opening.Read(request[:size])
	if refusal != 0 {
		return s.reject(out, refusal)
	}
	s.deflate = rules.Deflate && r.Deflate
	out = r.AppendSwitch(out, s.deflate)
	s.phase, s.upgraded = open, true
	s.Release()
	return in[size-before:], out, true
}

func (s *Session) reject(out []byte, refusal opening.Refusal) (rest, _ []byte, ok bool) {
	s.phase = over
	s.Release()
	return nil, refusal.AppendTo(out), false
}
