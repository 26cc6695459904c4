package conform

import (
	"bytes"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"connbench/servers/contract"
)

var messageChecks = []check{
	{"echo-text", "echoes text of every length at which the encoding changes, up to the limit", func(e *exam) { checkEcho(e, opText) }},
	{"echo-binary", "echoes binary of every length at which the encoding changes, up to the limit", func(e *exam) { checkEcho(e, opBinary) }},
	{"echo-burst", "echoes several messages that come in one segment, in order", checkEchoBurst},
	{"echo-concurrent", "keeps the messages of 200 connections apart", checkEchoConcurrent},
	{"fragments", "puts fragments together, empty ones too, and answers control frames between them", checkFragments},
	{"fragments-limit", "puts a message of the limit together from fragments", checkFragmentsLimit},
	{"utf8", "accepts valid UTF-8, also where a fragment ends within a character", checkUTF8},
	{"utf8-invalid", "closes with 1007 over text that is not UTF-8, in one frame or split", checkUTF8Invalid},
	{"limit", "closes with 1009 over a message longer than the limit, in one frame or in fragments", checkLimit},
	{"large", "echoes messages of 16 and 40 MiB under such a limit, also several at once and before a close frame", checkLarge},
	{"limit-option", "takes its limit from --max-message", checkLimitOption},
	{"work", "takes the CPU time that --work says for every message, and for nothing else", checkWork},
}

// pattern returns n bytes that differ from one offset and from one n to
// another, and are valid UTF-8.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = ' ' + byte((i*7+i/256*13+n)%95)
	}
	return b
}

// lengths are those at which the encoding of a length changes (RFC 6455 section
// 5.2), those of common buffers, and the limit.
func lengths(limit int) []int {
	list := []int{0, 1, 2, 125, 126, 127, 128, 255, 256, 511, 512, 513, 1023, 1024, 1025, 4095, 4096, 4097, 32767, 32768, 65535, 65536, 65537, limit - 1, limit}
	list = slices.DeleteFunc(list, func(n int) bool { return n < 0 || n > limit })
	slices.Sort(list)
	return slices.Compact(list)
}

func checkEcho(e *exam, op opcode) {
	s := e.start()
	c := s.open()
	for _, n := range lengths(s.options.MaxMessage) {
		payload := pattern(n)
		if op == opBinary {
			for i := range payload {
				payload[i] ^= 0xA5 // not UTF-8, which is nobody's business here
			}
		}
		c.send(fmt.Sprintf("a %s message of %d bytes", op, n), frame{op: op, payload: payload})
		c.expectMessage(op, payload)
	}
}

func checkEchoBurst(e *exam) {
	s := e.start()
	c := s.open()
	var frames []frame
	for i := range 100 {
		op := opText
		if i%3 == 0 {
			op = opBinary
		}
		frames = append(frames, frame{op: op, payload: pattern(i)})
	}
	c.send("100 messages in one segment", frames...)
	for _, f := range frames {
		c.expectMessage(f.op, f.payload)
	}
}

func checkEchoConcurrent(e *exam) {
	s := e.start()
	conns := s.openSome(200)
	payload := func(i, round int) []byte {
		return append(fmt.Appendf(nil, "connection %d, round %d: ", i, round), pattern(10*i)...)
	}
	for round := range 3 {
		for i, c := range conns {
			c.send(fmt.Sprintf("a message on each of %d connections", len(conns)), frame{op: opBinary, payload: payload(i, round)})
		}
		for i, c := range conns {
			c.expectMessage(opBinary, payload(i, round))
		}
	}
}

// fragmented cuts payload into fragments of at most size bytes.
func fragmented(op opcode, payload []byte, size int) []frame {
	var frames []frame
	for part := range slices.Chunk(payload, size) {
		frames = append(frames, frame{op: op, more: true, payload: part})
		op = opContinuation
	}
	frames[len(frames)-1].more = false
	return frames
}

func checkFragments(e *exam) {
	s := e.start()
	for _, op := range []opcode{opText, opBinary} {
		c := s.open()
		c.send(fmt.Sprintf("a %s message in three fragments in one segment", op),
			frame{op: op, more: true, payload: []byte("one ")},
			frame{op: opContinuation, more: true, payload: []byte("two ")},
			frame{op: opContinuation, payload: []byte("three")})
		c.expectMessage(op, []byte("one two three"))

		c.send(fmt.Sprintf("a %s message in four fragments, the first, third and last of them empty", op),
			frame{op: op, more: true},
			frame{op: opContinuation, more: true, payload: []byte("middle")},
			frame{op: opContinuation, more: true},
			frame{op: opContinuation})
		c.expectMessage(op, []byte("middle"))

		c.send(fmt.Sprintf("a %s message in two empty fragments", op), frame{op: op, more: true}, frame{op: opContinuation})
		c.expectMessage(op, nil)

		// A control frame is answered before the message is complete.
		c.send(fmt.Sprintf("the first fragment of a %s message, then a ping", op),
			frame{op: op, more: true, payload: []byte("begin ")},
			frame{op: opPing, payload: []byte("between")})
		c.expectPong([]byte("between"))
		c.send("the second fragment, then a pong and an empty ping",
			frame{op: opContinuation, more: true, payload: []byte("and ")},
			frame{op: opPong, payload: []byte("unasked")},
			frame{op: opPing})
		c.expectPong(nil)
		c.send(fmt.Sprintf("the last fragment of a %s message", op), frame{op: opContinuation, payload: []byte("end")})
		c.expectMessage(op, []byte("begin and end"))

		c.send(fmt.Sprintf("a fragment of a %s message, a ping and the last fragment in one segment", op),
			frame{op: op, more: true, payload: []byte("left ")},
			frame{op: opPing, payload: []byte("p")},
			frame{op: opContinuation, payload: []byte("right")})
		c.expectPong([]byte("p"))
		c.expectMessage(op, []byte("left right"))
	}
	c := s.open()
	c.send("the first fragment of a text message, then a close frame with code 1000",
		frame{op: opText, more: true, payload: []byte("never to end")}, closing(1000, ""))
	c.expectCloseAnswer(1000, noCode)
}

func checkFragmentsLimit(e *exam) {
	s := e.start()
	c := s.open()
	limit := s.options.MaxMessage
	payload := pattern(limit)
	for _, size := range []int{limit - 1, limit/2 + 1, limit/500 + 1} {
		c.send(fmt.Sprintf("a text message of the limit, %d bytes, in fragments of at most %d", limit, size), fragmented(opText, payload, size)...)
		c.expectMessage(opText, payload)
	}
	c.send("100 fragments of one byte each", fragmented(opBinary, pattern(100), 1)...)
	c.expectMessage(opBinary, pattern(100))
}

// everyWidth has characters of one to four bytes, the first and the last of
// each width (RFC 3629 section 3), and those on both sides of the surrogates.
const everyWidth = "\x00\x7f\u0080\u07ff\u0800\ud7ff\ue000\ufffd\uffff\U00010000\U0010ffff κόσμε"

func checkUTF8(e *exam) {
	s := e.start()
	c := s.open()
	text := []byte(everyWidth)
	c.send("valid UTF-8", frame{op: opText, payload: text})
	c.expectMessage(opText, text)
	for i := 1; i < len(text); i++ {
		c.send(fmt.Sprintf("valid UTF-8 in two fragments, split after byte %d of %q", i, text),
			frame{op: opText, more: true, payload: text[:i]},
			frame{op: opContinuation, payload: text[i:]})
		c.expectMessage(opText, text)
	}
	c.send(fmt.Sprintf("valid UTF-8, %q, in fragments of one byte", text), fragmented(opText, text, 1)...)
	c.expectMessage(opText, text)
	c.send(fmt.Sprintf("valid UTF-8, %q, a ping within a character", text),
		frame{op: opText, more: true, payload: text[:len(text)-1]},
		frame{op: opPing},
		frame{op: opContinuation, payload: text[len(text)-1:]})
	c.expectPong(nil)
	c.expectMessage(opText, text)
}

func checkUTF8Invalid(e *exam) {
	s := e.start()
	const section = "RFC 6455 section 8.1"
	for _, invalid := range []string{
		"\xff",
		"\x80",                 // a continuation byte alone
		"\xc0\x80",             // an overlong NUL
		"\xe0\x80\xaf",         // an overlong slash
		"\xed\xa0\x80",         // a surrogate
		"\xf4\x90\x80\x80",     // beyond U+10FFFF
		"\xce\xba\xe1\xbd",     // cut off in a character
		"\xce\xba\xf0\x9f\x98", // cut off in a character of four bytes
	} {
		text := []byte("text " + invalid)
		c := s.open()
		c.send(fmt.Sprintf("a text message %q", text), frame{op: opText, payload: text})
		c.expectClose(section, 1007)

		c = s.open()
		c.send(fmt.Sprintf("a text message %q in two fragments, split after the first byte that is not ASCII", text),
			frame{op: opText, more: true, payload: text[:6]},
			frame{op: opContinuation, payload: text[6:]})
		c.expectClose(section, 1007)
	}
	c := s.open()
	long := bytes.Repeat([]byte("κ"), s.options.MaxMessage/4)
	long[len(long)-1] = 'x'
	if utf8.Valid(long) {
		panic("conform: the text that should not be UTF-8 is")
	}
	c.send(fmt.Sprintf("a text message of %d bytes of which the last but one is not UTF-8", len(long)), frame{op: opText, payload: long})
	c.expectClose(section, 1007)
}

const sectionLimit = "RFC 6455 section 7.4.1 and the contract"

// tooLong sends n bytes in one frame and in fragments and expects 1009 each
// time.
func tooLong(s *server, n int) {
	limit := s.options.MaxMessage
	payload := pattern(n)
	c := s.open()
	c.send(fmt.Sprintf("a binary message of %d bytes, over the limit of %d", n, limit), frame{op: opBinary, payload: payload})
	c.expectClose(sectionLimit, 1009)

	c = s.open()
	c.send(fmt.Sprintf("a text message of %d bytes in fragments of %d, over the limit of %d", n, n/3+1, limit), fragmented(opText, payload, n/3+1)...)
	c.expectClose(sectionLimit, 1009)
}

func checkLimit(e *exam) {
	s := e.start()
	limit := s.options.MaxMessage
	tooLong(s, limit+1)
	tooLong(s, 2*limit)

	c := s.open()
	c.send("a fragment of one byte and a last one of the limit",
		frame{op: opBinary, more: true, payload: []byte{1}},
		frame{op: opContinuation, payload: pattern(limit)})
	c.expectClose(sectionLimit, 1009)

	// The header alone is enough to know, and all there will ever be.
	c = s.open()
	c.write("the header of a binary message of 2^62 bytes", frame{op: opBinary}.appendHeader(nil, 1<<62, [4]byte{1, 2, 3, 4}))
	c.expectClose(sectionLimit, 1009)

	// The limit is on a message, not on a connection.
	c = s.open()
	for range 3 {
		c.send(fmt.Sprintf("one of three messages of the limit, %d bytes", limit), frame{op: opBinary, payload: pattern(limit)})
		c.expectMessage(opBinary, pattern(limit))
	}
}

func checkLimitOption(e *exam) {
	for _, limit := range []int{100, 1000, 1 << 20} {
		s := e.start(func(o *contract.Options) { o.MaxMessage = limit })
		c := s.open()
		for _, n := range []int{limit - 1, limit} {
			c.send(fmt.Sprintf("a binary message of %d bytes under --max-message %d", n, limit), frame{op: opBinary, payload: pattern(n)})
			c.expectMessage(opBinary, pattern(n))
		}
		c.send(fmt.Sprintf("a ping of 125 bytes under --max-message %d", limit), frame{op: opPing, payload: pattern(125)})
		c.expectPong(pattern(125))
		tooLong(s, limit+1)
	}
}

// checkLarge is about a peer that does read. It must never be dropped, however much
// waits for it.
func checkLarge(e *exam) {
	const (
		some  = 16 << 20
		limit = 40 << 20
	)
	s := e.start(func(o *contract.Options) { o.MaxMessage = limit })
	others := s.company()
	payload := pattern(limit)
	c := s.open()
	for _, n := range []int{some, some + 1, limit} {
		c.send(fmt.Sprintf("a text message of %d bytes under --max-message %d", n, limit), frame{op: opText, payload: payload[:n]})
		others.served()
		c.expectMessage(opText, payload[:n])
	}

	// Nobody waits for an echo before the next message, but all are read.
	c.sent = fmt.Sprintf("three messages of %d bytes, the last fragmented, and a close frame while reading", some)
	frames := append([]frame{{op: opBinary, payload: payload[:some]}, {op: opBinary, payload: payload[1 : some+1]}},
		fragmented(opText, payload[:some], 1<<20)...)
	written := make(chan error, 1)
	go func() {
		_, err := patient{c.tcp}.Write(encode(append(frames, closing(1000, ""))...))
		written <- err
	}()
	c.expectMessage(opBinary, payload[:some])
	c.expectMessage(opBinary, payload[1:some+1])
	c.expectMessage(opText, payload[:some])
	c.expectCloseAnswer(1000, noCode)
	if err := <-written; err != nil && !ended(err) {
		e.fail("sent %s, expected the server to take them, got %s", c.sent, describe(err))
	}
}

// checkWork holds the process's CPU clock against the messages that it has
// echoed. However busy the host is, that clock runs for the process alone.
func checkWork(e *exam) {
	const (
		work    = 50 * time.Millisecond
		sparing = 10 * work // for all that is not work: far more than it takes
	)
	s := e.start(func(o *contract.Options) { o.WorkMicroseconds = int(work.Microseconds()) })
	conns := s.openSome(3)
	before := cpuTime(e, s.pid())

	messages := 0
	for _, c := range conns {
		for _, payload := range [][]byte{pattern(10), {}, pattern(2000)} {
			c.send(fmt.Sprintf("a message of %d bytes", len(payload)), frame{op: opBinary, payload: payload})
			c.expectMessage(opBinary, payload)
			messages++
		}
	}
	// One message in 20 fragments, with a ping after each but the last.
	c := conns[0]
	const fragments = 20
	for i := range fragments {
		f := frame{op: opContinuation, payload: []byte("x"), more: i < fragments-1}
		if i == 0 {
			f.op = opBinary
		}
		c.send("a fragment", f)
		if f.more {
			c.send("a ping", frame{op: opPing, payload: []byte("ping")})
			c.expectPong([]byte("ping"))
		}
	}
	c.expectMessage(opBinary, bytes.Repeat([]byte("x"), fragments))
	messages++

	used, least := cpuTime(e, s.pid())-before, time.Duration(messages)*work
	sent := fmt.Sprintf("started the server with --work %d and sent %d messages", work.Microseconds(), messages)
	if used < least {
		e.fail("%s, expected it to take at least %v of CPU (the contract), got %v", sent, least, used)
	}
	if used > least+sparing {
		e.fail("%s, one in %d fragments with pings between them, expected it to take %v of CPU and little more (the contract), got %v", sent, fragments, least, used)
	}
}
