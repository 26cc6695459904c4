package conform

import (
	"fmt"
	"strings"
)

var controlChecks = []check{
	{"ping", "answers a ping, also an empty one and one of 125 bytes, by a pong with the same payload", checkPing},
	{"pong", "ignores a pong that it did not ask for", checkPong},
	{"close", "answers a close frame without a code and ends the connection", checkClose},
	{"close-code", "answers a close frame with every code that a client may send, and with a reason", checkCloseCode},
	{"close-invalid", "closes with 1002 over a close code that may not be sent, and takes half a code for none at best", checkCloseInvalid},
	{"close-utf8", "closes with 1007 or 1002 over a close reason that is not UTF-8", checkCloseUTF8},
	{"close-last", "echoes what came before a close frame and nothing that came after it", checkCloseLast},
}

func checkPing(e *exam) {
	s := e.start()
	c := s.open()
	for _, n := range []int{0, 1, 4, 124, 125} {
		c.send(fmt.Sprintf("a ping of %d bytes", n), frame{op: opPing, payload: pattern(n)})
		c.expectPong(pattern(n))
	}
	c.send("a ping and a text message in one segment", frame{op: opPing, payload: []byte("p")}, frame{op: opText, payload: []byte("t")})
	c.expectPong([]byte("p"))
	c.expectMessage(opText, []byte("t"))
}

func checkPong(e *exam) {
	s := e.start()
	c := s.open()
	for _, n := range []int{0, 1, 125} {
		c.send(fmt.Sprintf("a pong of %d bytes that nobody asked for, and then a text message", n),
			frame{op: opPong, payload: pattern(n)}, frame{op: opText, payload: []byte("after the pong")})
		c.expectMessage(opText, []byte("after the pong"))
	}
}

func checkClose(e *exam) {
	s := e.start()
	c := s.open()
	c.send("a close frame without a code", frame{op: opClose})
	c.expectCloseAnswer(noCode, 1000)

	c = s.open()
	c.roundTrip()
	c.send("a close frame without a code, after a message", frame{op: opClose})
	c.expectCloseAnswer(noCode, 1000)
}

// checkCloseCode takes the code of the peer, 1000 and none for an answer: an
// endpoint "typically echos the status code" (RFC 6455 section 5.5.1).
func checkCloseCode(e *exam) {
	s := e.start()
	for _, code := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		c := s.open()
		c.send(fmt.Sprintf("a close frame with code %d", code), closing(code, ""))
		c.expectCloseAnswer(code, 1000, noCode)
	}
	for _, reason := range []string{"bye", "κόσμε", strings.Repeat("r", 123)} {
		c := s.open()
		c.send(fmt.Sprintf("a close frame with code 1000 and a reason of %d bytes", len(reason)), closing(1000, reason))
		c.expectCloseAnswer(1000, noCode)
	}
}

func checkCloseInvalid(e *exam) {
	s := e.start()
	const section = "RFC 6455 sections 5.5.1 and 7.4"
	for _, code := range []uint16{0, 999, 1005, 1006, 1015} {
		c := s.open()
		c.send(fmt.Sprintf("a close frame with code %d", code), closing(code, ""))
		c.expectClose(section, 1002)
	}
	// Half a code is no code: a server may take it for that (RFC 6455 section
	// 7.1.5) and answer as to a close frame without one.
	c := s.open()
	c.send("a close frame with a payload of one byte", frame{op: opClose, payload: []byte{3}})
	c.expectClose(section, 1002, noCode, 1000)
}

func checkCloseUTF8(e *exam) {
	s := e.start()
	for _, reason := range []string{"\xff", "cut off \xce", "\xed\xa0\x80"} {
		c := s.open()
		c.send(fmt.Sprintf("a close frame with code 1000 and reason %q", reason), closing(1000, reason))
		c.expectClose("RFC 6455 sections 5.5.1 and 8.1", 1007, 1002)
	}
}

func checkCloseLast(e *exam) {
	s := e.start()
	c := s.open()
	c.send("a text message, a close frame with code 1000, a text message and a ping in one segment",
		frame{op: opText, payload: []byte("before")}, closing(1000, ""),
		frame{op: opText, payload: []byte("after")}, frame{op: opPing})
	c.expectMessage(opText, []byte("before"))
	// What came after it is unread when the server ends the connection, so that
	// a reset is as good as an orderly end.
	const section = "RFC 6455 section 5.5.1"
	c.expectCloseFrame(section, 1000, noCode)
	c.expectEnd("after the close frames", section)
}
