// Package service has the checks of a server as a program: that others are served
// meanwhile, its sockets, its process.
package service

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"connbench/servers/conform/exam"
	"connbench/servers/conform/frame"
)

// Checks are the checks in the order in which they are listed.
var Checks = slices.Concat(isolationChecks, socketChecks, processChecks)

var isolationChecks = []exam.Case{
	{Name: "frame-slow", Section: exam.Isolation, Title: "takes frames one byte at a time and serves others after each byte", Run: checkFrameSlow},
	{Name: "frame-stuck", Section: exam.Isolation, Title: "serves others while 256 connections stand in the middle of a frame", Run: checkFrameStuck},
	{Name: "unread", Section: exam.Isolation, Any: true, Title: "stops reading from, or drops, a peer that sends and does not read; serves others; loses nothing", Run: checkUnread},
	{Name: "flood", Section: exam.Isolation, Title: "serves others while three connections send small frames without a pause, and answers all of these", Run: checkFlood},
	{Name: "reset", Section: exam.Isolation, Title: "survives connections that are reset in the middle of a handshake, a frame and an answer", Run: checkReset},
	{Name: "half-close", Section: exam.Closing, Title: "ends a connection after the peer has ended its half", Run: checkHalfClose},
	{Name: "idle", Section: exam.Isolation, Title: "keeps a silent connection open and sends nothing on it", Run: checkIdle},
	{Name: "connections", Section: exam.Process, Title: "counts WebSocket connections right, and no others", Run: checkConnections},
	{Name: "churn", Section: exam.Isolation, Title: "has no descriptor and no goroutine left of 1,000 connections, opened and dropped", Run: func(e *exam.Exam) { e.Churn(ways) }},
}

func checkFrameSlow(e *exam.Exam) {
	s := e.Start()
	others := s.Company()
	slow := s.Open()
	feed := func(what string, frames ...frame.Frame) {
		e.Situation = what + " comes in one byte at a time"
		others.ServedDuring(slow, frame.Encode(frames...))
		e.Situation = ""
		slow.Sent = what + " one byte at a time"
	}
	feed("an empty text frame", frame.Frame{Op: frame.OpText})
	slow.ExpectMessage(frame.OpText, nil)
	feed("a text message of 200 bytes", frame.Frame{Op: frame.OpText, Payload: frame.Pattern(200)})
	slow.ExpectMessage(frame.OpText, frame.Pattern(200))
	feed("a ping", frame.Frame{Op: frame.OpPing, Payload: []byte("slowly")})
	slow.ExpectPong([]byte("slowly"))
	feed("a fragmented message", frame.Fragmented(frame.OpBinary, frame.Pattern(40), 15)...)
	slow.ExpectMessage(frame.OpBinary, frame.Pattern(40))
	feed("a close frame", frame.Closing(1000, "bye"))
	slow.ExpectCloseAnswer(1000, exam.NoCode)
}

func checkFrameStuck(e *exam.Exam) {
	s := e.Start()
	others := s.Company()
	stuck := s.OpenSome(exam.StuckConns)
	payload := frame.Pattern(300)
	data := frame.Encode(frame.Frame{Op: frame.OpBinary, Payload: payload})
	// Many stand within the header, of 8 bytes here; the rest all over the payload.
	cut := func(i int) int {
		if i < exam.StuckConns/2 {
			return 1 + i%8
		}
		return 8 + i
	}
	for i, c := range stuck {
		c.Write("a part of a frame", data[:cut(i)])
	}
	e.Situation = fmt.Sprintf("%d connections stand in the middle of a frame", exam.StuckConns)
	others.Served()
	e.Situation = ""
	for i, c := range stuck {
		c.Write("the rest of a frame that had stood still", data[cut(i):])
		c.ExpectMessage(frame.OpBinary, payload)
	}
}

func checkUnread(e *exam.Exam) {
	if e.Program.Secure {
		e.Skip("needs writes that are gone on with after a timeout, which crypto/tls cannot")
	}
	s := e.Start()
	others := s.Company()
	greedy := s.ConnectSmall()
	greedy.Begin()

	limit := exam.Hoard + exam.KernelBuffers()
	size := min(s.Options.MaxMessage, 16<<10)
	message := func(i int) []byte {
		payload := frame.Pattern(size)
		binary.BigEndian.PutUint64(payload, uint64(i))
		return payload
	}
	var (
		begun int    // messages; the last may be unfinished
		rest  []byte // what is unsent of the last
		taken int
	)
	// A server that goes on reading, but so slowly that it would take minutes to
	// reach the limit, is asked for what it has taken so far.
	enough := time.Now().Add(exam.Patience)
	for taken < limit && len(rest) == 0 && time.Now().Before(enough) {
		rest = greedy.Encode(message(begun))
		begun++
		for len(rest) > 0 {
			// The server has stopped reading if it takes nothing for so long. On
			// a machine so busy that it only seems so, the check asks for less.
			greedy.Stream().SetWriteDeadline(time.Now().Add(time.Second))
			n, err := greedy.Stream().Write(rest)
			taken, rest = taken+n, rest[n:]
			if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				if !exam.Ended(err) {
					e.Fail("sent messages and read nothing, expected the server to stop reading or to drop the connection, got %s", exam.Describe(err))
				}
				others.Served()
				return // dropped
			}
			if err != nil && n == 0 {
				break
			}
		}
	}
	if taken >= limit && len(rest) == 0 {
		e.Fail("sent %d messages of %d bytes and read nothing, expected the server to stop reading or to drop the connection before it had taken %d MiB (%d MiB more than the kernel's buffers hold), got neither; its resident memory is now %d MiB",
			begun, size, limit>>20, exam.Hoard>>20, s.ResidentBytes()>>20)
	}
	e.Situation = "a peer that does not read has messages waiting for it"
	others.Served()
	e.Situation = ""

	// The peer begins to read, and all must be there.
	greedy.Sent = fmt.Sprintf("%d messages of %d bytes before reading any", begun, size)
	finished := make(chan error, 1)
	go func() {
		greedy.Stream().SetWriteDeadline(time.Now().Add(exam.Patience))
		_, err := greedy.Stream().Write(rest)
		finished <- err
	}()
	for i := range begun {
		greedy.ExpectEcho(message(i))
	}
	if err := <-finished; err != nil {
		e.Fail("%s, expected the server to go on reading, got %s", greedy.Sent, exam.Describe(err))
	}
	greedy.RoundTrip()
}

// flood is a connection that sends small frames as fast as it can, and reads the
// answers.
type flood struct {
	c    *exam.Conn
	stop chan struct{}
	// done is what was wrong, nil for nothing.
	done chan error
}

// startFlood begins one. Half of the frames are pings, the others are messages.
func startFlood(c *exam.Conn) *flood {
	f := &flood{c, make(chan struct{}), make(chan error, 1)}
	f.c.Sent = "pings and messages of one byte without a pause"
	ping, message := frame.Frame{Op: frame.OpPing, Payload: []byte("p")}, frame.Frame{Op: frame.OpBinary, Payload: []byte("m")}
	const pairs = 256
	block := bytes.Repeat(frame.Encode(ping, message), pairs)
	last := frame.Frame{Op: frame.OpText, Payload: []byte("last")}
	// Enough to keep any server busy, and little enough to be worked off at the end.
	unanswered := make(chan struct{}, 32)
	go func() {
		for {
			select {
			case <-f.stop:
				f.c.Stream().Write(frame.Encode(last))
				return
			case unanswered <- struct{}{}:
			}
			if _, err := f.c.Bytes().Write(block); err != nil {
				return // the reader knows why
			}
		}
	}()
	go func() {
		wanted := []frame.Frame{{Op: frame.OpPong, Payload: ping.Payload}, message}
		for n := 0; ; n++ {
			answer, err := f.c.TryFrame()
			want := wanted[n%2]
			switch {
			case err != nil:
				f.done <- err
			case bytes.Equal(answer.Payload, last.Payload) && n%2 == 0:
				f.done <- nil
			case answer.Op != want.Op || !bytes.Equal(answer.Payload, want.Payload):
				f.done <- fmt.Errorf("%v as answer %d", answer, n+1)
			default:
				if n%(2*pairs) == 0 {
					<-unanswered
				}
				continue
			}
			return
		}
	}()
	return f
}

func checkFlood(e *exam.Exam) {
	s := e.Start()
	others := s.Company()
	// As many as it takes to have one on each of two loops. All are open before the first
	// begins: a server that is slow to others then is what is looked for.
	var floods []*flood
	for _, c := range []*exam.Conn{s.Open(), s.Open(), s.Open()} {
		floods = append(floods, startFlood(c))
	}
	e.Situation = "three connections send small frames without a pause"
	for range 10 {
		others.Served()
	}
	e.Situation = ""
	for _, f := range floods {
		close(f.stop)
	}
	for _, f := range floods {
		if err := <-f.done; err != nil {
			f.c.Got(exam.Describe(err), "a pong for each ping and an echo of each message, in order", "RFC 6455 section 5.5.3 and the contract")
		}
	}
}

func checkReset(e *exam.Exam) {
	s := e.Start()
	others := s.Company()
	request := exam.Handshake().Bytes()
	part := frame.Encode(frame.Frame{Op: frame.OpBinary, Payload: frame.Pattern(1000)})[:500]
	whole := frame.Encode(frame.Frame{Op: frame.OpBinary, Payload: frame.Pattern(s.Options.MaxMessage)})
	e.Situation = "connections are reset"
	for range 8 {
		s.Connect().Reset()
		c := s.Connect()
		c.Write("a part of a handshake", request[:len(request)/2])
		c.Reset()
		c = s.Connect()
		c.Write("a handshake", request)
		c.Reset() // maybe before the answer
		s.Open().Reset()
		c = s.Open()
		c.Write("a part of a frame", part)
		c.Reset()
		c = s.Open()
		c.Write("a message of the limit", whole)
		c.Reset() // the answer meets no reader
		c = s.Open()
		c.Send("a close frame", frame.Closing(1000, ""))
		c.Reset()
		others.Served()
	}
	s.AwaitConnections(int64(len(others.Conns) + 8)) // with the newcomers
}

func checkHalfClose(e *exam.Exam) {
	s := e.Start()
	request := exam.Handshake().Bytes()
	const section = "RFC 6455 section 7.1.5 and the contract"

	c := s.Open()
	c.RoundTrip()
	c.CloseWrite()
	c.Sent = "FIN between messages"
	c.ExpectPeersEnd(section)

	c = s.Open()
	c.Write("a part of a frame and FIN", frame.Encode(frame.Frame{Op: frame.OpText, Payload: frame.Pattern(100)})[:50])
	c.CloseWrite()
	c.ExpectPeersEnd(section)

	c = s.Connect()
	c.Write("a part of a handshake and FIN", request[:len(request)/2])
	c.CloseWrite()
	c.ExpectRefusal(section)

	s.AwaitConnections(0)
}

// idleTime is short for a benchmark and long for a mistake, such as a deadline
// that was meant for the handshake.
const idleTime = 3 * time.Second

func checkIdle(e *exam.Exam) {
	s := e.Start()
	silent, half := s.Open(), s.Open()
	half.Write("a part of a frame", []byte{0x82})
	e.Pause(idleTime)
	silent.Sent = fmt.Sprintf("nothing for %v", idleTime)
	e.Situation = silent.Sent + " was sent"
	silent.RoundTrip()
	half.Write("the rest of an empty binary frame", []byte{0x80, 1, 2, 3, 4})
	half.ExpectMessage(frame.OpBinary, nil)
}

func checkConnections(e *exam.Exam) {
	s := e.Start()
	s.AwaitConnections(0)
	bare := s.Connect()
	half := s.Connect()
	half.Write("a part of a handshake", exam.Handshake().Bytes()[:40])
	refused := s.Connect()
	refused.Write("a handshake without a key", exam.Handshake().Without("Sec-WebSocket-Key").Bytes())
	refused.ExpectRefusal("RFC 6455 section 4.2.1")
	conns := s.OpenSome(30)
	e.Situation = "30 connections are open, a TCP connection has sent nothing, another half a handshake, and a third was refused"
	s.AwaitConnections(30)

	e.Situation = "10 of 30 connections were closed by a close frame"
	for _, c := range conns[:10] {
		closeHandshake(c)
	}
	s.AwaitConnections(20)
	e.Situation = "10 of the other 20 were closed without one"
	for _, c := range conns[10:20] {
		c.TCP.Close()
	}
	s.AwaitConnections(10)
	e.Situation = "the last 10 were reset"
	for _, c := range conns[20:] {
		c.Reset()
	}
	s.AwaitConnections(0)
	e.Situation = ""
	bare.Upgrade()
	half.Write("the rest of a handshake", exam.Handshake().Bytes()[40:])
	half.ExpectUpgrade()
	s.AwaitConnections(2)
}

// closeHandshake closes a connection as a client should. It ends its own half as well,
// for which a server may wait.
func closeHandshake(c *exam.Conn) {
	c.Send("a close frame", frame.Closing(1000, ""))
	c.ExpectCloseAnswer(1000, exam.NoCode)
	c.TCP.Close()
}

// ways of dropping a connection, half of them by a reset.
var ways = []exam.Way{
	{Name: "closed by close frames", Drop: closeHandshake},
	{Name: "closed without a close frame", Drop: func(c *exam.Conn) { c.TCP.Close() }},
	{Name: "closed in the middle of a frame", Drop: func(c *exam.Conn) {
		c.Write("a part of a frame", []byte{0x82, 0xFE, 1})
		c.TCP.Close()
	}},
	{Name: "closed by the server over an unmasked frame", Drop: func(c *exam.Conn) {
		c.Send("an unmasked frame", frame.Frame{Op: frame.OpText, Bare: true})
		c.TryFrame()
		c.TCP.Close()
	}},
	{Name: "reset", Drop: (*exam.Conn).Reset},
	{Name: "reset in the middle of a frame", Drop: func(c *exam.Conn) {
		c.Write("a part of a frame", []byte{0x82, 0xFE, 1})
		c.Reset()
	}},
	{Name: "reset with an answer on its way", Drop: func(c *exam.Conn) {
		c.Send("a message", frame.Frame{Op: frame.OpBinary, Payload: frame.Pattern(1000)})
		c.Reset()
	}},
	{Name: "reset after a close frame", Drop: func(c *exam.Conn) {
		c.Send("a close frame", frame.Closing(1000, ""))
		c.Reset()
	}},
}
