package main

import (
	"time"

	"github.com/gobwas/ws"
	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/nbhttp/websocket"
	"golang.org/x/sys/unix"

	"connbench/servers/internal/listener"
	"connbench/servers/internal/session"
)

// inspect sits between a poller and nbio's parsers. Those accept unmasked frames,
// drop a connection without a close frame where there should be one, and swallow empty
// messages.
func (s *server) inspect(c *nbio.Conn, data []byte) {
	conn, ok := c.Session().(*websocket.Conn)
	if !ok {
		s.takeRequest(c, data)
		return
	}
	// The session of an idle connection is nil: it costs nothing.
	var inspector session.Inspector
	switch state := conn.Session().(type) {
	case *flow:
		s.takeIn(c, state, data)
		return
	case failed:
		return
	case *session.Inspector:
		inspector = *state
	default:
		inspector.Deflate = deflates(conn)
	}
	wasAtRest := inspector.AtRest()
	rest, ok := s.parse(c, conn, &inspector, data)
	switch {
	case !ok:
		conn.SetSession(failed{})
	case len(rest) > 0 || unsent(c) > 0 || c.ExecuteLen() > session.FramesPerTurn:
		f := &flow{conn: conn, inspector: inspector}
		conn.SetSession(f)
		s.hold(c, f, rest)
	case !inspector.AtRest():
		unfinished := inspector
		conn.SetSession(&unfinished)
	case !wasAtRest:
		conn.SetSession(nil)
	}
}

// failed takes the place of an inspector after a violation: what still comes is
// discarded.
type failed struct{}

// parse hands one turn's share of data to nbio, and returns the rest. It is false after
// a violation.
func (s *server) parse(c *nbio.Conn, conn *websocket.Conn, inspector *session.Inspector, data []byte) (rest []byte, ok bool) {
	for frames := session.FramesPerTurn; len(data) > 0 && frames > 0; {
		// No more at once than a poller reads, for that much is counted for in ReadLimit.
		piece := data[:min(len(data), nbio.DefaultReadBufferSize)]
		n, left, found := inspector.Inspect(piece, s.maxMessage, frames)
		frames = left
		if n > 0 {
			c.DataHandler()(c, data[:n])
			data = data[n:]
		}
		// By Execute, to come after the answers to what was before.
		switch {
		case found.Violation != 0:
			conn.Execute(func() { s.fail(c, conn, found.Violation) })
			return nil, false
		case found.Empty != 0:
			conn.Execute(func() { s.echo(conn, websocket.MessageType(found.Empty), nil) })
		}
	}
	return data, true
}

// fail tells the peer of a violation, and lingers.
func (s *server) fail(c *nbio.Conn, conn *websocket.Conn, code ws.StatusCode) {
	s.leave(conn)
	conn.WriteClose(int(code), "")
	if unsent(c) == 0 {
		endStream(c)
		return
	}
	s.whenSent(c, func() { endStream(c) })
}

// endStream lingers as listener.Linger does.
func endStream(c *nbio.Conn) {
	c.SetReadDeadline(time.Now().Add(listener.LingerTime))
	unix.Shutdown(c.Hash(), unix.SHUT_WR) // on Unix, Hash is the descriptor
}
