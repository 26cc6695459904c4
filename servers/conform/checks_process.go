package conform

import (
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"connbench/servers/contract"
)

var processChecks = []check{
	{"stats", "answers stats with its figures and changes nothing by it", checkStats},
	{"settle", "answers settle after a garbage collection, if it has a collector", checkSettle},
	{"usage", "exits 2 over arguments that are wrong and says which", checkUsage},
	{"port-taken", "exits with an error, and a line that names the address, if a port is taken", checkPortTaken},
	{"stdin-end", "exits 0 at the end of standard input, whatever its connections do", checkStdinEnd},
	{"leaves-nothing", "leaves no process behind when it ends", checkLeavesNothing},
	{"sigterm", "exits 0 at SIGTERM, whatever its connections do", checkSigterm},
}

func checkStats(e *exam) {
	s := e.start()
	conns := s.openSome(5)
	s.awaitConnections(5)
	first := s.ask(contract.QuestionStats)
	for range 20 {
		for _, c := range conns {
			c.roundTrip()
		}
		s.ask(contract.QuestionStats)
	}
	last := s.ask(contract.QuestionStats)
	if last.Connections != 5 {
		e.fail("sent stats 20 times with 5 connections open, expected a count of 5, got %d", last.Connections)
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
			e.fail("sent stats twice, expected %s in both answers or in none, got it in one", figure.name)
		}
		if figure.first != nil && *figure.last < *figure.first {
			e.fail("sent stats twice, expected %s not to decrease, got %v and then %v", figure.name, *figure.first, *figure.last)
		}
	}
}

func checkSettle(e *exam) {
	s := e.start()
	conns := s.openSome(5)
	s.awaitConnections(5)
	before := s.ask(contract.QuestionStats)
	after := s.ask(contract.QuestionSettle)
	if after.Connections != 5 {
		e.fail("sent settle with 5 connections open, expected a count of 5, got %d", after.Connections)
	}
	if before.GCCycles != nil && (after.GCCycles == nil || *after.GCCycles <= *before.GCCycles) {
		e.fail("sent settle, expected gc_cycles to be more than the %d of stats before, got no more", *before.GCCycles)
	}
	for _, c := range conns {
		c.roundTrip()
	}
}

func checkUsage(e *exam) {
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
		options := e.program.Options
		options.Listen = []string{"127.0.0.1:0"}
		line := strings.Join(wrong, " ")
		s := e.execute(options, append(options.Args(), wrong...))
		if status := s.awaitExit("started the server with " + line); status != 2 {
			e.fail("started the server with %s, expected exit status 2 (the contract), got: %s", line, s.epitaph())
		}
		if strings.TrimSpace(s.stderr.text()) == "" {
			e.fail("started the server with %s, expected a word about it on standard error, got none", line)
		}
	}
}

func checkPortTaken(e *exam) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		e.skip("this host has no port to take: %v", err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	for _, listen := range [][]string{{address}, {"127.0.0.1:0", address}} {
		s := e.launch(func(o *contract.Options) { o.Listen = listen })
		did := fmt.Sprintf("started the server with --listen %s, of which %s is taken", strings.Join(listen, ","), address)
		if status := s.awaitExit(did); status <= 0 || status == 2 {
			e.fail("%s, expected an exit status that is neither 0 nor that of a usage error (the contract), got: %s", did, s.epitaph())
		}
		words := strings.TrimSpace(s.stderr.text())
		if first, _, _ := strings.Cut(words, "\n"); !strings.Contains(first, address) {
			e.fail("%s, expected a first line on standard error that names the address, got %q", did, words)
		}
		if line, open := <-s.lines; open {
			e.fail("%s, expected nothing on standard output, got %q", did, line)
		}
	}
}

func checkStdinEnd(e *exam) {
	checkEnd(e, "ended the server's standard input", func(s *server) { s.stdin.Close() })
}

func checkLeavesNothing(e *exam) {
	s := e.start()
	s.open().roundTrip()
	s.dismissed = true
	s.stdin.Close()
	syscall.Kill(s.pid(), syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(patience):
		e.skip("the server does not end, which other checks say")
	}
	if left := s.endStrays(); len(left) > 0 {
		e.fail("ended the server, expected nothing to outlive it (the contract), got these processes: %s", strings.Join(left, ", "))
	}
}

func checkSigterm(e *exam) {
	checkEnd(e, "sent the server SIGTERM", func(s *server) { syscall.Kill(s.pid(), syscall.SIGTERM) })
}

// checkEnd has connections open in every state when it ends the server.
func checkEnd(e *exam, did string, end func(*server)) {
	s := e.start()
	idle := s.openSome(16)
	half := s.connect()
	half.write("a part of a handshake", handshake().bytes()[:40])
	stuck := s.open()
	stuck.write("a part of a frame", encode(frame{op: opText, payload: pattern(100)})[:50])
	unread := s.open()
	for range 4 { // few enough for any kernel's buffers
		unread.send("a message", frame{op: opBinary, payload: pattern(min(s.options.MaxMessage, 16<<10))})
	}
	for _, c := range idle {
		c.roundTrip()
	}
	end(s)
	did += " with connections open"
	if status := s.awaitExit(did); status != 0 {
		e.fail("%s, expected exit status 0 (the contract), got: %s", did, s.epitaph())
	}
	for _, c := range idle {
		f, err := c.tryFrame()
		for err == nil && f.op == opClose {
			f, err = c.tryFrame()
		}
		if err == nil || !ended(err) {
			e.fail("%s, expected the connections to end, got another frame or nothing", did)
		}
	}
}
