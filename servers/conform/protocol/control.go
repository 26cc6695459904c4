package protocol

import (
	"fmt"
	"strings"

	"connbench/servers/conform/exam"
	"connbench/servers/conform/frame"
)

var controlChecks = []exam.Case{
	{Name: "ping", Section: exam.Control, Title: "answers a ping, also an empty one and one of 125 bytes, by a pong with the same payload", Run: checkPing},
	{Name: "pong", Section: exam.Control, Title: "ignores a pong that it did not ask for", Run: checkPong},
	{Name: "close", Section: exam.Closing, Title: "answers a close frame without a code and ends the connection", Run: checkClose},
	{Name: "close-code", Section: exam.Closing, Title: "answers a close frame with every code that a client may send, and with a reason", Run: checkCloseCode},
	{Name: "close-invalid", Section: exam.Closing, Title: "closes with 1002 over a close code that may not be sent, and takes half a code for none at best", Run: checkCloseInvalid},
	{Name: "close-utf8", Section: exam.Closing, Title: "closes with 1007 or 1002 over a close reason that is not UTF-8", Run: checkCloseUTF8},
	{Name: "close-last", Section: exam.Closing, Title: "echoes what came before a close frame and nothing that came after it", Run: checkCloseLast},
}

func checkPing(e *exam.Exam) {
	s := e.Start()
	c := s.Open()
	for _, n := range []int{0, 1, 4, 124, 125} {
		c.Send(fmt.Sprintf("a ping of %d bytes", n), frame.Frame{Op: frame.OpPing, Payload: frame.Pattern(n)})
		c.ExpectPong(frame.Pattern(n))
	}
	c.Send("a ping and a text message in one segment", frame.Frame{Op: frame.OpPing, Payload: []byte("p")}, frame.Frame{Op: frame.OpText, Payload: []byte("t")})
	c.ExpectPong([]byte("p"))
	c.ExpectMessage(frame.OpText, []byte("t"))
}

func checkPong(e *exam.Exam) {
	s := e.Start()
	c := s.Open()
	for _, n := range []int{0, 1, 125} {
		c.Send(fmt.Sprintf("a pong of %d bytes that nobody asked for, and then a text message", n),
			frame.Frame{Op: frame.OpPong, Payload: frame.Pattern(n)}, frame.Frame{Op: frame.OpText, Payload: []byte("after the pong")})
		c.ExpectMessage(frame.OpText, []byte("after the pong"))
	}
}

func checkClose(e *exam.Exam) {
	s := e.Start()
	c := s.Open()
	c.Send("a close frame without a code", frame.Frame{Op: frame.OpClose})
	c.ExpectCloseAnswer(exam.NoCode, 1000)

	c = s.Open()
	c.RoundTrip()
	c.Send("a close frame without a code, after a message", frame.Frame{Op: frame.OpClose})
	c.ExpectCloseAnswer(exam.NoCode, 1000)
}

// checkCloseCode takes the code of the peer, 1000 and none for an answer: an
// endpoint "typically echos the status code" (RFC 6455 section 5.5.1).
func checkCloseCode(e *exam.Exam) {
	s := e.Start()
	for _, code := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		c := s.Open()
		c.Send(fmt.Sprintf("a close frame with code %d", code), frame.Closing(code, ""))
		c.ExpectCloseAnswer(code, 1000, exam.NoCode)
	}
	for _, reason := range []string{"bye", "κόσμε", strings.Repeat("r", 123)} {
		c := s.Open()
		c.Send(fmt.Sprintf("a close frame with code 1000 and a reason of %d bytes", len(reason)), frame.Closing(1000, reason))
		c.ExpectCloseAnswer(1000, exam.NoCode)
	}
}

func checkCloseInvalid(e *exam.Exam) {
	s := e.Start()
	const section = "RFC 6455 sections 5.5.1 and 7.4"
	for _, code := range []uint16{0, 999, 1005, 1006, 1015} {
		c := s.Open()
		c.Send(fmt.Sprintf("a close frame with code %d", code), frame.Closing(code, ""))
		c.ExpectClose(section, 1002)
	}
	// Half a code is no code: a server may take it for that (RFC 6455 section
	// 7.1.5) and answer as to a close frame without one.
	c := s.Open()
	c.Send("a close frame with a payload of one byte", frame.Frame{Op: frame.OpClose, Payload: []byte{3}})
	c.ExpectClose(section, 1002, exam.NoCode, 1000)
}

func checkCloseUTF8(e *exam.Exam) {
	s := e.Start()
	for _, reason := range []string{"\xff", "cut off \xce", "\xed\xa0\x80"} {
		c := s.Open()
		c.Send(fmt.Sprintf("a close frame with code 1000 and reason %q", reason), frame.Closing(1000, reason))
		c.ExpectClose("RFC 6455 sections 5.5.1 and 8.1", 1007, 1002)
	}
}

func checkCloseLast(e *exam.Exam) {
	s := e.Start()
	c := s.Open()
	c.Send("a text message, a close frame with code 1000, a text message and a ping in one segment",
		frame.Frame{Op: frame.OpText, Payload: []byte("before")}, frame.Closing(1000, ""),
		frame.Frame{Op: frame.OpText, Payload: []byte("after")}, frame.Frame{Op: frame.OpPing})
	c.ExpectMessage(frame.OpText, []byte("before"))
	// What came after it is unread when the server ends the connection, so that
	// a reset is as good as an orderly end.
	const section = "RFC 6455 section 5.5.1"
	c.ExpectCloseFrame(section, 1000, exam.NoCode)
	c.ExpectEnd("after the close frames", section)
}
