package protocol

import (
	"bytes"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"connbench/servers/conform/exam"
	"connbench/servers/conform/frame"
	"connbench/servers/contract"
)

var messageChecks = []exam.Case{
	{Name: "echo-text", Section: exam.Framing, Title: "echoes text of every length at which the encoding changes, up to the limit", Run: func(e *exam.Exam) { checkEcho(e, frame.OpText) }},
	{Name: "echo-binary", Section: exam.Framing, Title: "echoes binary of every length at which the encoding changes, up to the limit", Run: func(e *exam.Exam) { checkEcho(e, frame.OpBinary) }},
	{Name: "echo-burst", Section: exam.Framing, Title: "echoes several messages that come in one segment, in order", Run: checkEchoBurst},
	{Name: "echo-concurrent", Section: exam.Framing, Title: "keeps the messages of 200 connections apart", Run: checkEchoConcurrent},
	{Name: "fragments", Section: exam.Fragmentation, Title: "puts fragments together, empty ones too, and answers control frames between them", Run: checkFragments},
	{Name: "fragments-limit", Section: exam.Fragmentation, Title: "puts a message of the limit together from fragments", Run: checkFragmentsLimit},
	{Name: "utf8", Section: exam.UTF8, Title: "accepts valid UTF-8, also where a fragment ends within a character", Run: checkUTF8},
	{Name: "utf8-invalid", Section: exam.UTF8, Title: "closes with 1007 over text that is not UTF-8, in one frame or split", Run: checkUTF8Invalid},
	{Name: "limit", Section: exam.Sizes, Title: "closes with 1009 over a message longer than the limit, in one frame or in fragments", Run: checkLimit},
	{Name: "large", Section: exam.Sizes, Title: "echoes messages of 16 and 40 MiB under such a limit, also several at once and before a close frame", Run: checkLarge},
	{Name: "limit-option", Section: exam.Sizes, Title: "takes its limit from --max-message", Run: checkLimitOption},
	{Name: "work", Section: exam.Process, Title: "takes the CPU time that --work says for every message, and for nothing else", Run: checkWork},
}

// lengths are those at which the encoding of a length changes (RFC 6455 section
// 5.2), those of common buffers, and the limit.
func lengths(limit int) []int {
	list := []int{0, 1, 2, 125, 126, 127, 128, 255, 256, 511, 512, 513, 1023, 1024, 1025, 4095, 4096, 4097, 32767, 32768, 65535, 65536, 65537, limit - 1, limit}
	list = slices.DeleteFunc(list, func(n int) bool { return n < 0 || n > limit })
	slices.Sort(list)
	return slices.Compact(list)
}

func checkEcho(e *exam.Exam, op frame.Opcode) {
	s := e.Start()
	c := s.Open()
	for _, n := range lengths(s.Options.MaxMessage) {
		payload := frame.Pattern(n)
		if op == frame.OpBinary {
			for i := range payload {
				payload[i] ^= 0xA5 // not UTF-8, which is nobody's business here
			}
		}
		c.Send(fmt.Sprintf("a %s message of %d bytes", op, n), frame.Frame{Op: op, Payload: payload})
		c.ExpectMessage(op, payload)
	}
}

func checkEchoBurst(e *exam.Exam) {
	s := e.Start()
	c := s.Open()
	var frames []frame.Frame
	for i := range 100 {
		op := frame.OpText
		if i%3 == 0 {
			op = frame.OpBinary
		}
		frames = append(frames, frame.Frame{Op: op, Payload: frame.Pattern(i)})
	}
	c.Send("100 messages in one segment", frames...)
	for _, f := range frames {
		c.ExpectMessage(f.Op, f.Payload)
	}
}

func checkEchoConcurrent(e *exam.Exam) {
	s := e.Start()
	conns := s.OpenSome(200)
	payload := func(i, round int) []byte {
		return append(fmt.Appendf(nil, "connection %d, round %d: ", i, round), frame.Pattern(10*i)...)
	}
	for round := range 3 {
		for i, c := range conns {
			c.Send(fmt.Sprintf("a message on each of %d connections", len(conns)), frame.Frame{Op: frame.OpBinary, Payload: payload(i, round)})
		}
		for i, c := range conns {
			c.ExpectMessage(frame.OpBinary, payload(i, round))
		}
	}
}

func checkFragments(e *exam.Exam) {
	s := e.Start()
	for _, op := range []frame.Opcode{frame.OpText, frame.OpBinary} {
		c := s.Open()
		c.Send(fmt.Sprintf("a %s message in three fragments in one segment", op),
			frame.Frame{Op: op, More: true, Payload: []byte("one ")},
			frame.Frame{Op: frame.OpContinuation, More: true, Payload: []byte("two ")},
			frame.Frame{Op: frame.OpContinuation, Payload: []byte("three")})
		c.ExpectMessage(op, []byte("one two three"))

		c.Send(fmt.Sprintf("a %s message in four fragments, the first, third and last of them empty", op),
			frame.Frame{Op: op, More: true},
			frame.Frame{Op: frame.OpContinuation, More: true, Payload: []byte("middle")},
			frame.Frame{Op: frame.OpContinuation, More: true},
			frame.Frame{Op: frame.OpContinuation})
		c.ExpectMessage(op, []byte("middle"))

		c.Send(fmt.Sprintf("a %s message in two empty fragments", op), frame.Frame{Op: op, More: true}, frame.Frame{Op: frame.OpContinuation})
		c.ExpectMessage(op, nil)

		// A control frame is answered before the message is complete.
		c.Send(fmt.Sprintf("the first fragment of a %s message, then a ping", op),
			frame.Frame{Op: op, More: true, Payload: []byte("begin ")},
			frame.Frame{Op: frame.OpPing, Payload: []byte("between")})
		c.ExpectPong([]byte("between"))
		c.Send("the second fragment, then a pong and an empty ping",
			frame.Frame{Op: frame.OpContinuation, More: true, Payload: []byte("and ")},
			frame.Frame{Op: frame.OpPong, Payload: []byte("unasked")},
			frame.Frame{Op: frame.OpPing})
		c.ExpectPong(nil)
		c.Send(fmt.Sprintf("the last fragment of a %s message", op), frame.Frame{Op: frame.OpContinuation, Payload: []byte("end")})
		c.ExpectMessage(op, []byte("begin and end"))

		c.Send(fmt.Sprintf("a fragment of a %s message, a ping and the last fragment in one segment", op),
			frame.Frame{Op: op, More: true, Payload: []byte("left ")},
			frame.Frame{Op: frame.OpPing, Payload: []byte("p")},
			frame.Frame{Op: frame.OpContinuation, Payload: []byte("right")})
		c.ExpectPong([]byte("p"))
		c.ExpectMessage(op, []byte("left right"))
	}
	c := s.Open()
	c.Send("the first fragment of a text message, then a close frame with code 1000",
		frame.Frame{Op: frame.OpText, More: true, Payload: []byte("never to end")}, frame.Closing(1000, ""))
	c.ExpectCloseAnswer(1000, exam.NoCode)
}

func checkFragmentsLimit(e *exam.Exam) {
	s := e.Start()
	c := s.Open()
	limit := s.Options.MaxMessage
	payload := frame.Pattern(limit)
	for _, size := range []int{limit - 1, limit/2 + 1, limit/500 + 1} {
		c.Send(fmt.Sprintf("a text message of the limit, %d bytes, in fragments of at most %d", limit, size), frame.Fragmented(frame.OpText, payload, size)...)
		c.ExpectMessage(frame.OpText, payload)
	}
	c.Send("100 fragments of one byte each", frame.Fragmented(frame.OpBinary, frame.Pattern(100), 1)...)
	c.ExpectMessage(frame.OpBinary, frame.Pattern(100))
}

// everyWidth has characters of one to four bytes, the first and the last of
// each width (RFC 3629 section 3), and those on both sides of the surrogates.
const everyWidth = "\x00\x7f\u0080\u07ff\u0800\ud7ff\ue000\ufffd\uffff\U00010000\U0010ffff κόσμε"

func checkUTF8(e *exam.Exam) {
	s := e.Start()
	c := s.Open()
	text := []byte(everyWidth)
	c.Send("valid UTF-8", frame.Frame{Op: frame.OpText, Payload: text})
	c.ExpectMessage(frame.OpText, text)
	for i := 1; i < len(text); i++ {
		c.Send(fmt.Sprintf("valid UTF-8 in two fragments, split after byte %d of %q", i, text),
			frame.Frame{Op: frame.OpText, More: true, Payload: text[:i]},
			frame.Frame{Op: frame.OpContinuation, Payload: text[i:]})
		c.ExpectMessage(frame.OpText, text)
	}
	c.Send(fmt.Sprintf("valid UTF-8, %q, in fragments of one byte", text), frame.Fragmented(frame.OpText, text, 1)...)
	c.ExpectMessage(frame.OpText, text)
	c.Send(fmt.Sprintf("valid UTF-8, %q, a ping within a character", text),
		frame.Frame{Op: frame.OpText, More: true, Payload: text[:len(text)-1]},
		frame.Frame{Op: frame.OpPing},
		frame.Frame{Op: frame.OpContinuation, Payload: text[len(text)-1:]})
	c.ExpectPong(nil)
	c.ExpectMessage(frame.OpText, text)
}

func checkUTF8Invalid(e *exam.Exam) {
	s := e.Start()
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
		c := s.Open()
		c.Send(fmt.Sprintf("a text message %q", text), frame.Frame{Op: frame.OpText, Payload: text})
		c.ExpectClose(section, 1007)

		c = s.Open()
		c.Send(fmt.Sprintf("a text message %q in two fragments, split after the first byte that is not ASCII", text),
			frame.Frame{Op: frame.OpText, More: true, Payload: text[:6]},
			frame.Frame{Op: frame.OpContinuation, Payload: text[6:]})
		c.ExpectClose(section, 1007)
	}
	c := s.Open()
	long := bytes.Repeat([]byte("κ"), s.Options.MaxMessage/4)
	long[len(long)-1] = 'x'
	if utf8.Valid(long) {
		panic("conform: the text that should not be UTF-8 is")
	}
	c.Send(fmt.Sprintf("a text message of %d bytes; the last but one is not UTF-8", len(long)), frame.Frame{Op: frame.OpText, Payload: long})
	c.ExpectClose(section, 1007)
}

const sectionLimit = "RFC 6455 section 7.4.1 and the contract"

// tooLong sends n bytes in one frame and in fragments and expects 1009 each
// time.
func tooLong(s *exam.Server, n int) {
	limit := s.Options.MaxMessage
	payload := frame.Pattern(n)
	c := s.Open()
	c.Send(fmt.Sprintf("a binary message of %d bytes, over the limit of %d", n, limit), frame.Frame{Op: frame.OpBinary, Payload: payload})
	c.ExpectClose(sectionLimit, 1009)

	c = s.Open()
	c.Send(fmt.Sprintf("a text message of %d bytes in fragments of %d, over the limit of %d", n, n/3+1, limit), frame.Fragmented(frame.OpText, payload, n/3+1)...)
	c.ExpectClose(sectionLimit, 1009)
}

func checkLimit(e *exam.Exam) {
	s := e.Start()
	limit := s.Options.MaxMessage
	tooLong(s, limit+1)
	tooLong(s, 2*limit)

	c := s.Open()
	c.Send("a fragment of one byte and a last one of the limit",
		frame.Frame{Op: frame.OpBinary, More: true, Payload: []byte{1}},
		frame.Frame{Op: frame.OpContinuation, Payload: frame.Pattern(limit)})
	c.ExpectClose(sectionLimit, 1009)

	// The header alone is enough to know, and all there will ever be.
	c = s.Open()
	c.Write("the header of a binary message of 2^62 bytes", frame.Frame{Op: frame.OpBinary}.AppendHeader(nil, 1<<62, [4]byte{1, 2, 3, 4}))
	c.ExpectClose(sectionLimit, 1009)

	// The limit is on a message, not on a connection.
	c = s.Open()
	for range 3 {
		c.Send(fmt.Sprintf("one of three messages of the limit, %d bytes", limit), frame.Frame{Op: frame.OpBinary, Payload: frame.Pattern(limit)})
		c.ExpectMessage(frame.OpBinary, frame.Pattern(limit))
	}
}

func checkLimitOption(e *exam.Exam) {
	for _, limit := range []int{100, 1000, 1 << 20} {
		s := e.Start(func(o *contract.Options) { o.MaxMessage = limit })
		c := s.Open()
		for _, n := range []int{limit - 1, limit} {
			c.Send(fmt.Sprintf("a binary message of %d bytes under --max-message %d", n, limit), frame.Frame{Op: frame.OpBinary, Payload: frame.Pattern(n)})
			c.ExpectMessage(frame.OpBinary, frame.Pattern(n))
		}
		c.Send(fmt.Sprintf("a ping of 125 bytes under --max-message %d", limit), frame.Frame{Op: frame.OpPing, Payload: frame.Pattern(125)})
		c.ExpectPong(frame.Pattern(125))
		tooLong(s, limit+1)
	}
}

// checkLarge is about a peer that does read. It must never be dropped, however much
// waits for it.
func checkLarge(e *exam.Exam) {
	const (
		some  = 16 << 20
		limit = 40 << 20
		each  = 8 << 20 // of several: together more than a server may keep for one that does not read
	)
	s := e.Start(func(o *contract.Options) { o.MaxMessage = limit })
	others := s.Company()
	payload := frame.Pattern(limit)
	c := s.Open()
	// Nothing can come before all of a message has been worked off.
	c.Patience = 4 * exam.Patience
	for _, n := range []int{some + 1, limit} {
		c.Send(fmt.Sprintf("a text message of %d bytes under --max-message %d", n, limit), frame.Frame{Op: frame.OpText, Payload: payload[:n]})
		others.Served()
		c.ExpectMessage(frame.OpText, payload[:n])
	}

	// Nobody waits for an echo before the next message, but all are read.
	c.Sent = fmt.Sprintf("three messages of %d bytes, the last fragmented, and a close frame while reading", each)
	frames := append([]frame.Frame{{Op: frame.OpBinary, Payload: payload[:each]}, {Op: frame.OpBinary, Payload: payload[1 : each+1]}},
		frame.Fragmented(frame.OpText, payload[:each], 1<<20)...)
	written := make(chan error, 1)
	go func() {
		_, err := c.Bytes().Write(frame.Encode(append(frames, frame.Closing(1000, ""))...))
		written <- err
	}()
	c.ExpectMessage(frame.OpBinary, payload[:each])
	c.ExpectMessage(frame.OpBinary, payload[1:each+1])
	c.ExpectMessage(frame.OpText, payload[:each])
	c.ExpectCloseAnswer(1000, exam.NoCode)
	if err := <-written; err != nil && !exam.Ended(err) {
		e.Fail("sent %s, expected the server to take them, got %s", c.Sent, exam.Describe(err))
	}
}

// checkWork holds the process's CPU clock against the messages that it has
// echoed. However busy the host is, that clock runs for the process alone.
func checkWork(e *exam.Exam) {
	const (
		work    = 50 * time.Millisecond
		sparing = 10 * work // for all that is not work: far more than it takes
	)
	s := e.Start(func(o *contract.Options) { o.WorkMicroseconds = int(work.Microseconds()) })
	conns := s.OpenSome(3)
	before := s.CPUTime()

	messages := 0
	for _, c := range conns {
		for _, payload := range [][]byte{frame.Pattern(10), {}, frame.Pattern(2000)} {
			c.Send(fmt.Sprintf("a message of %d bytes", len(payload)), frame.Frame{Op: frame.OpBinary, Payload: payload})
			c.ExpectMessage(frame.OpBinary, payload)
			messages++
		}
	}
	// One message in 20 fragments, with a ping after each but the last.
	c := conns[0]
	const fragments = 20
	for i := range fragments {
		f := frame.Frame{Op: frame.OpContinuation, Payload: []byte("x"), More: i < fragments-1}
		if i == 0 {
			f.Op = frame.OpBinary
		}
		c.Send("a fragment", f)
		if f.More {
			c.Send("a ping", frame.Frame{Op: frame.OpPing, Payload: []byte("ping")})
			c.ExpectPong([]byte("ping"))
		}
	}
	c.ExpectMessage(frame.OpBinary, bytes.Repeat([]byte("x"), fragments))
	messages++

	used, least := s.CPUTime()-before, time.Duration(messages)*work
	sent := fmt.Sprintf("started the server with --work %d and sent %d messages", work.Microseconds(), messages)
	if used < least {
		e.Fail("%s, expected it to take at least %v of CPU (the contract), got %v", sent, least, used)
	}
	if used > least+sparing {
		e.Fail("%s, one in %d fragments with pings between them, expected it to take %v of CPU and little more (the contract), got %v", sent, fragments, least, used)
	}
}
