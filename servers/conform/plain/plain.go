// Package plain has the checks of servers that send back the content of HTTP requests, or bytes
// without a protocol.
package plain

import (
	"fmt"
	"net"
	"syscall"
	"time"

	"connbench/servers/conform/exam"
	"connbench/servers/conform/frame"
	"connbench/servers/contract"
)

// Checks are those of HTTP and of bytes alike.
var Checks = []exam.Case{
	{Name: "echo", Section: exam.Echoes, Title: "sends back content of every length", Run: checkEcho},
	{Name: "echo-burst", Section: exam.Echoes, Title: "answers what comes together in one segment, in order", Run: checkBurst},
	{Name: "echo-concurrent", Section: exam.Echoes, Title: "keeps the content of 200 connections apart", Run: checkConcurrent},
	{Name: "echo-slow", Section: exam.Isolation, Title: "takes content one byte at a time and serves others after each byte", Run: checkSlow},
	{Name: "work", Section: exam.Process, Title: "takes the CPU time that --work says", Run: checkWork},
	{Name: "reset", Section: exam.Isolation, Title: "survives connections that are reset at any time", Run: checkReset},
	{Name: "half-close", Section: exam.Closing, Title: "ends a connection after the peer has ended its half", Run: checkHalfClose},
	{Name: "idle", Section: exam.Isolation, Title: "keeps a silent connection open", Run: checkIdle},
	{Name: "connections", Section: exam.Process, Title: "counts connections right", Run: checkConnections},
	{Name: "churn", Section: exam.Isolation, Title: "has no descriptor and no goroutine left of 1,000 connections, opened and dropped", Run: func(e *exam.Exam) { e.Churn(ways) }},
	{Name: "stdin-end", Section: exam.Process, Title: "exits 0 at the end of standard input, whatever its connections do", Run: func(e *exam.Exam) {
		checkEnd(e, "ended the server's standard input", func(s *exam.Server) { s.Stdin.Close() })
	}},
	{Name: "sigterm", Section: exam.Process, Title: "exits 0 at SIGTERM, whatever its connections do", Run: func(e *exam.Exam) {
		checkEnd(e, "sent the server SIGTERM", func(s *exam.Server) { syscall.Kill(s.PID(), syscall.SIGTERM) })
	}},
}

// say sends content and expects it back.
func say(c *exam.Conn, content []byte) {
	c.Write(fmt.Sprintf("%d bytes", len(content)), c.Encode(content))
	c.ExpectEcho(content)
}

func checkEcho(e *exam.Exam) {
	s := e.Start()
	c := s.Open()
	limit := s.Options.MaxMessage
	for _, n := range []int{1, 2, 100, 511, 512, 513, 1023, 1024, 1025, 2047, 2048, 2049, 4095, 4096, 4097, 8191, 8192, 8193, 32768, limit - 1, limit} {
		say(c, frame.Pattern(min(n, limit)))
	}
}

func checkBurst(e *exam.Exam) {
	s := e.Start()
	c := s.Open()
	var all []byte
	for n := 1; n <= 100; n++ {
		all = append(all, c.Encode(frame.Pattern(n))...)
	}
	c.Write("100 messages in one segment", all)
	for n := 1; n <= 100; n++ {
		c.ExpectEcho(frame.Pattern(n))
	}
}

func checkConcurrent(e *exam.Exam) {
	s := e.Start()
	conns := s.OpenSome(200)
	content := func(i, round int) []byte {
		return append(fmt.Appendf(nil, "connection %d, round %d: ", i, round), frame.Pattern(10*i)...)
	}
	for round := range 3 {
		for i, c := range conns {
			c.Write(fmt.Sprintf("a message on each of %d connections", len(conns)), c.Encode(content(i, round)))
		}
		for i, c := range conns {
			c.ExpectEcho(content(i, round))
		}
	}
}

func checkSlow(e *exam.Exam) {
	s := e.Start()
	others := s.Company()
	slow := s.Open()
	content := frame.Pattern(200)
	e.Situation = "content comes in one byte at a time"
	others.ServedDuring(slow, slow.Encode(content))
	e.Situation = ""
	slow.Sent = "content one byte at a time"
	slow.ExpectEcho(content)
}

// checkWork holds the process's CPU clock against the messages that it has answered. Without a
// protocol the server works for each piece that it reads, and it may read a message in several.
func checkWork(e *exam.Exam) {
	const (
		work     = 50 * time.Millisecond
		messages = 6
	)
	s := e.Start(func(o *contract.Options) { o.WorkMicroseconds = int(work.Microseconds()) })
	c := s.Open()
	before := s.CPUTime()
	for range messages {
		say(c, frame.Pattern(100))
	}
	if took := s.CPUTime() - before; took < messages*work {
		e.Fail("sent %d messages to a server with --work %d, expected it to take %v of CPU time at least, got %v", messages, s.Options.WorkMicroseconds, messages*work, took)
	}
}

func checkReset(e *exam.Exam) {
	s := e.Start()
	others := s.Company()
	e.Situation = "connections are reset"
	for range 8 {
		s.Connect().Reset()
		s.Open().Reset()
		c := s.Open()
		whole := c.Encode(frame.Pattern(s.Options.MaxMessage))
		c.Write("a part of a message", whole[:len(whole)/2])
		c.Reset()
		c = s.Open()
		c.Write("a message of the limit", whole)
		c.Reset() // the answer meets no reader
		others.Served()
	}
}

func checkHalfClose(e *exam.Exam) {
	s := e.Start()
	c := s.Open()
	c.RoundTrip()
	c.CloseWrite()
	c.Sent = "FIN"
	c.ExpectEndOfBytes("the contract")
	s.AwaitConnections(0)
}

// idleTime is short for a benchmark and long for a mistake, such as a deadline that was meant
// for a request.
const idleTime = 3 * time.Second

func checkIdle(e *exam.Exam) {
	s := e.Start()
	silent := s.Open()
	silent.RoundTrip()
	e.Pause(idleTime)
	e.Situation = fmt.Sprintf("nothing was sent for %v", idleTime)
	silent.RoundTrip()
}

func checkConnections(e *exam.Exam) {
	s := e.Start()
	s.AwaitConnections(0)
	conns := s.OpenSome(30)
	for _, c := range conns {
		c.RoundTrip()
	}
	e.Situation = "30 connections are open, and have had an answer"
	s.AwaitConnections(30)
	e.Situation = "20 of them were closed"
	for _, c := range conns[:20] {
		c.TCP.Close()
	}
	s.AwaitConnections(10)
	e.Situation = "the last 10 were reset"
	for _, c := range conns[20:] {
		c.Reset()
	}
	s.AwaitConnections(0)
}

// ways of dropping a connection.
var ways = []exam.Way{
	{Name: "closed", Drop: func(c *exam.Conn) { c.TCP.Close() }},
	{Name: "reset", Drop: (*exam.Conn).Reset},
	{Name: "closed in the middle of a message", Drop: func(c *exam.Conn) {
		data := c.Encode(frame.Pattern(100))
		c.Write("a part of a message", data[:len(data)-50])
		c.TCP.Close()
	}},
	{Name: "reset with an answer on its way", Drop: func(c *exam.Conn) {
		c.Write("a message", c.Encode(frame.Pattern(1000)))
		c.Reset()
	}},
}

// checkEnd has connections open in every state when it ends the server.
func checkEnd(e *exam.Exam, did string, end func(*exam.Server)) {
	s := e.Start()
	idle := s.OpenSome(16)
	s.ConnectTo(s.Addresses[0], &net.Dialer{})
	stuck := s.Open()
	data := stuck.Encode(frame.Pattern(100))
	stuck.Write("a part of a message", data[:len(data)-50])
	unread := s.Open()
	for range 4 { // few enough for any kernel's buffers
		unread.Write("a message", unread.Encode(frame.Pattern(min(s.Options.MaxMessage, 16<<10))))
	}
	for _, c := range idle {
		c.RoundTrip()
	}
	end(s)
	did += " with connections open"
	if status := s.AwaitExit(did); status != 0 {
		e.Fail("%s, expected exit status 0 (the contract), got: %s", did, s.Epitaph())
	}
	for _, c := range idle {
		c.ExpectEndOfBytes("the contract")
	}
}
