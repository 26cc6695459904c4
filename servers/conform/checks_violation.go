package conform

import (
	"bytes"
	"fmt"
)

var violationChecks = []check{
	{"unmasked", "closes with 1002, or without a word, over a frame that is not masked", checkUnmasked},
	{"reserved-bits", "closes with 1002 over each of the reserved bits", checkReservedBits},
	{"reserved-opcodes", "closes with 1002 over each of the reserved opcodes", checkReservedOpcodes},
	{"control-oversized", "closes with 1002 over a control frame of more than 125 bytes", checkControlOversized},
	{"control-fragmented", "closes with 1002 over a control frame that is a fragment", checkControlFragmented},
	{"continuation-alone", "closes with 1002 over a continuation of nothing", checkContinuationAlone},
	{"fragments-interrupted", "closes with 1002 over a new message within a fragmented one", checkFragmentsInterrupted},
}

// refuse sends frames on a connection of their own and expects code 1002.
func refuse(s *server, section, what string, frames ...frame) {
	c := s.open()
	c.roundTrip()
	c.send(what, frames...)
	c.expectClose(section, 1002)
}

// checkUnmasked allows for servers that only end the connection: here, and only
// here, the close frame is optional (RFC 6455 section 5.1: "MAY").
func checkUnmasked(e *exam) {
	s := e.start()
	for _, f := range []frame{
		{op: opText, bare: true, payload: []byte("bare")},
		{op: opText, bare: true},
		{op: opPing, bare: true, payload: []byte("bare")},
		{op: opClose, bare: true, payload: []byte{3, 232}},
	} {
		c := s.open()
		c.send(fmt.Sprintf("an unmasked %s frame with %d bytes", f.op, len(f.payload)), f)
		const expected, section = "a close frame with code 1002 or the end of the connection", "RFC 6455 section 5.1"
		switch answer, err := c.tryFrame(); {
		case err != nil && ended(err):
		case err != nil:
			c.got(describe(err), expected, section)
		case answer.op != opClose || answer.code() != 1002:
			c.got(answer.String(), expected, section)
		default:
			c.expectEnd("after the close frame", section)
		}
	}
}

func checkReservedBits(e *exam) {
	s := e.start()
	const section = "RFC 6455 section 5.2"
	for i, bit := range []byte{4, 2, 1} {
		name := fmt.Sprintf("RSV%d", i+1)
		refuse(s, section, "a text frame with "+name, frame{op: opText, reserved: bit, payload: []byte("x")})
		refuse(s, section, "a ping with "+name, frame{op: opPing, reserved: bit})
		refuse(s, section, "a continuation with "+name,
			frame{op: opText, more: true, payload: []byte("x")}, frame{op: opContinuation, reserved: bit, payload: []byte("y")})
	}
}

func checkReservedOpcodes(e *exam) {
	s := e.start()
	for _, op := range []opcode{3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF} {
		refuse(s, "RFC 6455 section 5.2", fmt.Sprintf("a frame with opcode %#x", byte(op)), frame{op: op, payload: []byte("x")})
		refuse(s, "RFC 6455 section 5.2", fmt.Sprintf("an empty frame with opcode %#x", byte(op)), frame{op: op})
	}
}

func checkControlOversized(e *exam) {
	s := e.start()
	for _, n := range []int{126, 1000} {
		for _, op := range []opcode{opPing, opPong} {
			refuse(s, "RFC 6455 section 5.5", fmt.Sprintf("a %s of %d bytes", op, n), frame{op: op, payload: pattern(n)})
		}
		refuse(s, "RFC 6455 section 5.5", fmt.Sprintf("a close frame of %d bytes", n), closing(1000, string(bytes.Repeat([]byte("r"), n-2))))
	}
}

func checkControlFragmented(e *exam) {
	s := e.start()
	const section = "RFC 6455 section 5.5"
	refuse(s, section, "a ping without FIN", frame{op: opPing, more: true, payload: []byte("p")})
	refuse(s, section, "a pong without FIN", frame{op: opPong, more: true})
	refuse(s, section, "a close frame without FIN", frame{op: opClose, more: true, payload: []byte{3, 232}})
	refuse(s, section, "a ping without FIN within a fragmented message",
		frame{op: opText, more: true, payload: []byte("x")}, frame{op: opPing, more: true})
}

func checkContinuationAlone(e *exam) {
	s := e.start()
	const section = "RFC 6455 section 5.4"
	refuse(s, section, "a continuation frame with nothing to continue", frame{op: opContinuation, payload: []byte("x")})
	refuse(s, section, "a continuation frame, not the last, with nothing to continue", frame{op: opContinuation, more: true})

	// A message that is complete leaves nothing to continue either.
	c := s.open()
	c.send("a fragmented message and one continuation too many",
		frame{op: opText, more: true, payload: []byte("a")}, frame{op: opContinuation, payload: []byte("b")},
		frame{op: opContinuation, payload: []byte("c")})
	c.expectMessage(opText, []byte("ab"))
	c.expectClose(section, 1002)
}

func checkFragmentsInterrupted(e *exam) {
	s := e.start()
	const section = "RFC 6455 section 5.4"
	first := frame{op: opText, more: true, payload: []byte("begun ")}
	refuse(s, section, "a text frame within a fragmented message", first, frame{op: opText, payload: []byte("x")})
	refuse(s, section, "a binary frame within a fragmented message", first, frame{op: opBinary, payload: []byte("x")})
	refuse(s, section, "a first fragment within a fragmented message", first, frame{op: opText, more: true, payload: []byte("x")})
}
