package protocol

import (
	"bytes"
	"fmt"

	"connbench/servers/conform/exam"
	"connbench/servers/conform/frame"
)

var violationChecks = []exam.Case{
	{Name: "unmasked", Section: exam.Framing, Title: "closes with 1002, or without a word, over a frame that is not masked", Run: checkUnmasked},
	{Name: "reserved-bits", Section: exam.Framing, Title: "closes with 1002 over each of the reserved bits", Run: checkReservedBits},
	{Name: "reserved-opcodes", Section: exam.Framing, Title: "closes with 1002 over each of the reserved opcodes", Run: checkReservedOpcodes},
	{Name: "control-oversized", Section: exam.Control, Title: "closes with 1002 over a control frame of more than 125 bytes", Run: checkControlOversized},
	{Name: "control-fragmented", Section: exam.Control, Title: "closes with 1002 over a control frame that is a fragment", Run: checkControlFragmented},
	{Name: "continuation-alone", Section: exam.Fragmentation, Title: "closes with 1002 over a continuation of nothing", Run: checkContinuationAlone},
	{Name: "fragments-interrupted", Section: exam.Fragmentation, Title: "closes with 1002 over a new message within a fragmented one", Run: checkFragmentsInterrupted},
}

// refuse sends frames on a connection of their own and expects code 1002.
func refuse(s *exam.Server, section, what string, frames ...frame.Frame) {
	c := s.Open()
	c.RoundTrip()
	c.Send(what, frames...)
	c.ExpectClose(section, 1002)
}

// checkUnmasked allows for servers that only end the connection: here, and only
// here, the close frame is optional (RFC 6455 section 5.1: "MAY").
func checkUnmasked(e *exam.Exam) {
	s := e.Start()
	for _, f := range []frame.Frame{
		{Op: frame.OpText, Bare: true, Payload: []byte("bare")},
		{Op: frame.OpText, Bare: true},
		{Op: frame.OpPing, Bare: true, Payload: []byte("bare")},
		{Op: frame.OpClose, Bare: true, Payload: []byte{3, 232}},
	} {
		c := s.Open()
		c.Send(fmt.Sprintf("an unmasked %s frame with %d bytes", f.Op, len(f.Payload)), f)
		const expected, section = "a close frame with code 1002 or the end of the connection", "RFC 6455 section 5.1"
		switch answer, err := c.TryFrame(); {
		case err != nil && exam.Ended(err):
		case err != nil:
			c.Got(exam.Describe(err), expected, section)
		case answer.Op != frame.OpClose || answer.Code() != 1002:
			c.Got(answer.String(), expected, section)
		default:
			c.ExpectEnd("after the close frame", section)
		}
	}
}

func checkReservedBits(e *exam.Exam) {
	s := e.Start()
	const section = "RFC 6455 section 5.2"
	for i, bit := range []byte{4, 2, 1} {
		name := fmt.Sprintf("RSV%d", i+1)
		refuse(s, section, "a text frame with "+name, frame.Frame{Op: frame.OpText, Reserved: bit, Payload: []byte("x")})
		refuse(s, section, "a ping with "+name, frame.Frame{Op: frame.OpPing, Reserved: bit})
		refuse(s, section, "a continuation with "+name,
			frame.Frame{Op: frame.OpText, More: true, Payload: []byte("x")}, frame.Frame{Op: frame.OpContinuation, Reserved: bit, Payload: []byte("y")})
	}
}

func checkReservedOpcodes(e *exam.Exam) {
	s := e.Start()
	for _, op := range []frame.Opcode{3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF} {
		refuse(s, "RFC 6455 section 5.2", fmt.Sprintf("a frame with opcode %#x", byte(op)), frame.Frame{Op: op, Payload: []byte("x")})
		refuse(s, "RFC 6455 section 5.2", fmt.Sprintf("an empty frame with opcode %#x", byte(op)), frame.Frame{Op: op})
	}
}

func checkControlOversized(e *exam.Exam) {
	s := e.Start()
	for _, n := range []int{126, 1000} {
		for _, op := range []frame.Opcode{frame.OpPing, frame.OpPong} {
			refuse(s, "RFC 6455 section 5.5", fmt.Sprintf("a %s of %d bytes", op, n), frame.Frame{Op: op, Payload: frame.Pattern(n)})
		}
		refuse(s, "RFC 6455 section 5.5", fmt.Sprintf("a close frame of %d bytes", n), frame.Closing(1000, string(bytes.Repeat([]byte("r"), n-2))))
	}
}

func checkControlFragmented(e *exam.Exam) {
	s := e.Start()
	const section = "RFC 6455 section 5.5"
	refuse(s, section, "a ping without FIN", frame.Frame{Op: frame.OpPing, More: true, Payload: []byte("p")})
	refuse(s, section, "a pong without FIN", frame.Frame{Op: frame.OpPong, More: true})
	refuse(s, section, "a close frame without FIN", frame.Frame{Op: frame.OpClose, More: true, Payload: []byte{3, 232}})
	refuse(s, section, "a ping without FIN within a fragmented message",
		frame.Frame{Op: frame.OpText, More: true, Payload: []byte("x")}, frame.Frame{Op: frame.OpPing, More: true})
}

func checkContinuationAlone(e *exam.Exam) {
	s := e.Start()
	const section = "RFC 6455 section 5.4"
	refuse(s, section, "a continuation frame with nothing to continue", frame.Frame{Op: frame.OpContinuation, Payload: []byte("x")})
	refuse(s, section, "a continuation frame, not the last, with nothing to continue", frame.Frame{Op: frame.OpContinuation, More: true})

	// A message that is complete leaves nothing to continue either.
	c := s.Open()
	c.Send("a fragmented message and one continuation too many",
		frame.Frame{Op: frame.OpText, More: true, Payload: []byte("a")}, frame.Frame{Op: frame.OpContinuation, Payload: []byte("b")},
		frame.Frame{Op: frame.OpContinuation, Payload: []byte("c")})
	c.ExpectMessage(frame.OpText, []byte("ab"))
	c.ExpectClose(section, 1002)
}

func checkFragmentsInterrupted(e *exam.Exam) {
	s := e.Start()
	const section = "RFC 6455 section 5.4"
	first := frame.Frame{Op: frame.OpText, More: true, Payload: []byte("begun ")}
	refuse(s, section, "a text frame within a fragmented message", first, frame.Frame{Op: frame.OpText, Payload: []byte("x")})
	refuse(s, section, "a binary frame within a fragmented message", first, frame.Frame{Op: frame.OpBinary, Payload: []byte("x")})
	refuse(s, section, "a first fragment within a fragmented message", first, frame.Frame{Op: frame.OpText, More: true, Payload: []byte("x")})
}
