package service

import (
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"connbench/servers/conform/exam"
	"connbench/servers/conform/frame"
	"connbench/servers/contract"
)

var processChecks = []exam.Case{
	{Name: "stats", Section: exam.Process, Any: true, Title: "answers stats with its figures and changes nothing by it", Run: checkStats},
	{Name: "settle", Section: exam.Process, Any: true, Title: "answers settle after a garbage collection, if it has a collector", Run: checkSettle},
	{Name: "usage", Section: exam.Process, Any: true, Title: "exits 2 over arguments that are wrong and says which", Run: checkUsage},
	{Name: "port-taken", Section: exam.Process, Any: true, Title: "exits with an error, and a line that names the address, if a port is taken", Run: checkPortTaken},
	{Name: "stdin-end", Section: exam.Process, Title: "exits 0 at the end of standard input, whatever its connections do", Run: checkStdinEnd},
	{Name: "leaves-nothing", Section: exam.Process, Any: true, Title: "leaves no process behind when it ends", Run: checkLeavesNothing},
	{Name: "sigterm", Section: exam.Process, Title: "exits 0 at SIGTERM, whatever its connections do", Run: checkSigterm},
}

func checkStats(e *exam.Exam) {
	s := e.Start()
	conns := s.OpenSome(5)
	s.AwaitConnections(5)
	first := s.Ask(contract.QuestionStats)
	for range 20 {
		for _, c := range conns {
			c.RoundTrip()
		}
		s.Ask(contract.QuestionStats)
	}
	last := s.Ask(contract.QuestionStats)
	if last.Connections != 5 {
		e.Fail("sent stats 20 times with 5 connections open, expected a count of 5, got %d", last.Connections)
	}
	for _, figure := range []struct {
		name        string
		first, last *float64
	}{
		{"user_seconds", first.UserSeconds, last.UserSeconds},
		{"system_seconds", first.SystemSeconds, last.SystemSeconds},
		{"gc_cpu_seconds", first.GCCPUSeconds, last.GCCPUSeconds},
		{"gc_pause_seconds", first.GCPauseSeconds, last.GCPauseSeconds},
	} {
		if (figure.first == nil) != (figure.last == nil) {
			e.Fail("sent stats twice, expected %s in both answers or in none, got it in one", figure.name)
		}
		if figure.first != nil && *figure.last < *figure.first {
			e.Fail("sent stats twice, expected %s not to decrease, got %v and then %v", figure.name, *figure.first, *figure.last)
		}
	}
}

func checkSettle(e *exam.Exam) {
	s := e.Start()
	conns := s.OpenSome(5)
	s.AwaitConnections(5)
	before := s.Ask(contract.QuestionStats)
	after := s.Ask(contract.QuestionSettle)
	if after.Connections != 5 {
		e.Fail("sent settle with 5 connections open, expected a count of 5, got %d", after.Connections)
	}
	if before.GCCycles != nil && (after.GCCycles == nil || *after.GCCycles <= *before.GCCycles) {
		e.Fail("sent settle, expected gc_cycles to be more than the %d of stats before, got no more", *before.GCCycles)
	}
	for _, c := range conns {
		c.RoundTrip()
	}
}

func checkUsage(e *exam.Exam) {
	for _, wrong := range [][]string{
		{"--no-such-option"},
		{"--listen", "nonsense"},
		{"--max-message", "0"},
		{"--loops", "-1"},
		{"--backlog", "many"},
		{"--work", "-1"},
		{"--class", "other"},
		{"argument"},
	} {
		options := e.Program.Options
		options.Listen = []string{exam.FreePort(e.Hosts(1)[0])}
		line := strings.Join(wrong, " ")
		s := e.Execute(options, append(options.Args(), wrong...))
		if status := s.AwaitExit("started the server with " + line); status != 2 {
			e.Fail("started the server with %s, expected exit status 2 (the contract), got: %s", line, s.Epitaph())
		}
		if strings.TrimSpace(s.Stderr.Text()) == "" {
			e.Fail("started the server with %s, expected a word about it on standard error, got none", line)
		}
	}
}

func checkPortTaken(e *exam.Exam) {
	var address string
	if e.Program.Device {
		address = e.Start().Addresses[0]
	} else {
		taken, err := net.Listen("tcp", exam.FreePort(e.Hosts(1)[0]))
		if err != nil {
			e.Skip("this host has no port to take: %v", err)
		}
		defer taken.Close()
		address = taken.Addr().String()
	}
	for _, listen := range [][]string{{address}, {exam.FreePort(e.Hosts(1)[0]), address}} {
		s := e.Launch(func(o *contract.Options) { o.Listen = listen })
		did := fmt.Sprintf("started the server with --listen %s, and %s is taken", strings.Join(listen, ","), address)
		if status := s.AwaitExit(did); status <= 0 || status == 2 {
			e.Fail("%s, expected an exit status that is neither 0 nor that of a usage error (the contract), got: %s", did, s.Epitaph())
		}
		words := strings.TrimSpace(s.Stderr.Text())
		if first, _, _ := strings.Cut(words, "\n"); !strings.Contains(first, address) {
			e.Fail("%s, expected a first line on standard error that names the address, got %q", did, words)
		}
		if line, open := <-s.Lines; open {
			e.Fail("%s, expected nothing on standard output, got %q", did, line)
		}
	}
}

func checkStdinEnd(e *exam.Exam) {
	checkEnd(e, "ended the server's standard input", func(s *exam.Server) { s.Stdin.Close() })
}

func checkLeavesNothing(e *exam.Exam) {
	s := e.Start()
	s.Open().RoundTrip()
	s.Dismissed = true
	s.Stdin.Close()
	syscall.Kill(s.PID(), syscall.SIGTERM)
	select {
	case <-s.Exited:
	case <-time.After(exam.Patience):
		e.Skip("the server does not end, which other checks say")
	}
	if left := s.EndStrays(); len(left) > 0 {
		e.Fail("ended the server, expected nothing to outlive it (the contract), got these processes: %s", strings.Join(left, ", "))
	}
}

func checkSigterm(e *exam.Exam) {
	checkEnd(e, "sent the server SIGTERM", func(s *exam.Server) { syscall.Kill(s.PID(), syscall.SIGTERM) })
}

// checkEnd has connections open in every state when it ends the server.
func checkEnd(e *exam.Exam, did string, end func(*exam.Server)) {
	s := e.Start()
	idle := s.OpenSome(16)
	half := s.Connect()
	half.Write("a part of a handshake", exam.Handshake().Bytes()[:40])
	stuck := s.Open()
	stuck.Write("a part of a frame", frame.Encode(frame.Frame{Op: frame.OpText, Payload: frame.Pattern(100)})[:50])
	unread := s.Open()
	for range 4 { // few enough for any kernel's buffers
		unread.Send("a message", frame.Frame{Op: frame.OpBinary, Payload: frame.Pattern(min(s.Options.MaxMessage, 16<<10))})
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
		f, err := c.TryFrame()
		for err == nil && f.Op == frame.OpClose {
			f, err = c.TryFrame()
		}
		if err == nil || !exam.Ended(err) {
			e.Fail("%s, expected the connections to end, got another frame or nothing", did)
		}
	}
}
