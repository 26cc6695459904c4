package session

import (
	"bytes"

	"connbench/servers/contract"
	"connbench/servers/internal/opening"
)

// Publication is a message that goes to all connections, in the forms in which they get it.
type Publication struct {
	// pushed is a frame of WebSocket, or a chunk of a stream of events.
	pushed []byte
	// answer is the response to a peer that waits for the next message, nil over WebSocket.
	answer []byte
}

// Publication returns a message that [Rules.Publish] was given in the forms in which connections
// get it. Over HTTP it goes onto the board: call it once for each board, before [Session.Hear].
func (r Rules) Publication(message []byte) Publication {
	if r.Protocol != contract.ProtocolHTTP {
		return Publication{pushed: message}
	}
	number := r.Board.Add(message)
	return Publication{
		pushed: opening.AppendEvent(nil, message),
		answer: opening.Message{}.AppendNumbered(nil, message, number),
	}
}

// Hear returns what is to be sent to s of a message that another connection has published, nil if
// that is nothing. A peer that waited for the next message waits no more.
func (s *Session) Hear(p Publication) []byte {
	switch {
	case s.phase == polling:
		s.phase = open
		return p.answer
	case s.phase == streaming, s.phase == open && p.answer == nil:
		return p.pushed
	}
	return nil
}

// answer appends the answer to a request of HTTP with its content. Where messages go to all, the
// answer may be a stream of them, or come later.
func (s *Session) answer(m opening.Message, content, out []byte, rules Rules) []byte {
	switch {
	case rules.Board == nil:
	case len(content) > 0:
		rules.Publish(bytes.Clone(content))
	case m.Stream:
		s.phase = streaming
		return opening.AppendStream(out)
	case m.Poll:
		next, number := rules.Board.After(m.After)
		switch {
		case number > 0:
			return m.AppendNumbered(out, next, number)
		case m.Last: // the connection ends with the answer to it, so it comes at once
			return m.AppendUnchanged(out, rules.Board.Newest())
		}
		s.phase = polling
		return out
	default:
		return m.AppendNumbered(out, nil, rules.Board.Newest())
	}
	return m.AppendAnswer(out, content)
}
