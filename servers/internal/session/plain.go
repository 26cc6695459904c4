package session

import (
	"net/http"

	"connbench/servers/internal/opening"
	"connbench/servers/internal/work"
)

// feedBytes is Feed where no protocol is spoken: every byte comes back. What is read at a time
// counts as a message.
func (s *Session) feedBytes(in, out []byte, rules Rules) (rest, _ []byte, _ Next) {
	s.phase, s.upgraded = open, true
	work.Do(rules.Work)
	return nil, append(out, in...), Continue
}

// feedRequests is Feed for HTTP: the content of every request comes back. While a peer hears what
// others publish, nothing that it sends is answered.
func (s *Session) feedRequests(in, out []byte, rules Rules) (rest, _ []byte, next Next) {
	for n := 0; len(in) > 0 && (s.phase == handshaking || s.phase == open); n++ {
		if n == FramesPerTurn {
			return in, out, Continue
		}
		if in, out, next = s.request(in, out, rules); next != Continue {
			s.phase = over
			s.Release()
			return nil, out, next
		}
	}
	return nil, out, Continue
}

// request takes a request, or a part of one, from the beginning of in.
func (s *Session) request(in, out []byte, rules Rules) (rest, _ []byte, _ Next) {
	// text is the request as far as it has come, before bytes of it earlier; taken are those of in.
	text, before, taken := in, 0, len(in)
	var head int
	var message opening.Message
	p := s.partial
	if p != nil {
		// One byte more than the limit of a head is enough to see that it is exceeded.
		before, taken = len(p.data), min(len(in), max(0, opening.MaxBytes+1-len(p.data)))
		p.data = append(p.data, in[:taken]...)
		text, head, message = p.data, p.head, p.message
	}
	if head == 0 {
		switch head = opening.End(text, before); {
		case head > opening.MaxBytes, head == 0 && len(text) > opening.MaxBytes:
			return nil, opening.Refusal(http.StatusRequestHeaderFieldsTooLarge).AppendTo(out), Fail
		case head == 0:
			s.await(in, p)
			return nil, out, Continue
		}
		var refusal opening.Refusal
		if message, refusal = opening.ReadMessage(text[:head], rules.MaxMessage); refusal != 0 {
			return nil, refusal.AppendTo(out), Fail
		}
	}
	size := head + message.Length
	if p != nil && len(text) < size {
		p.data = append(p.data, in[taken:max(taken, min(len(in), size-before))]...)
		text = p.data
	}
	if len(text) < size {
		p = s.await(in, p)
		p.head, p.message = head, message
		return nil, out, Continue
	}
	s.phase, s.upgraded = open, true
	if message.Length > 0 {
		work.Do(rules.Work)
	}
	out = s.answer(message, text[head:size], out, rules)
	s.Release()
	if message.Last && s.phase != streaming { // a stream is an answer that has not ended
		return nil, out, Close
	}
	return in[size-before:], out, Continue
}

// await keeps the beginning of a request, unless p has it already.
func (s *Session) await(in []byte, p *partial) *partial {
	if p == nil {
		p = s.unfinished()
		p.data = append(p.data, in...)
	}
	return p
}
