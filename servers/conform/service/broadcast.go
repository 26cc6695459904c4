package service

import (
	"encoding/binary"
	"fmt"

	"connbench/servers/conform/exam"
	"connbench/servers/conform/frame"
)

// BroadcastChecks are those of servers that can send each message to all connections.
var BroadcastChecks = []exam.Case{
	{Name: "broadcast-all", Section: exam.Broadcasts, Title: "sends each message once to every connection, its sender included, and answers a ping to its sender alone", Run: checkBroadcastAll},
	{Name: "broadcast-order", Section: exam.Broadcasts, Title: "sends the messages of each connection to all in their order", Run: checkBroadcastOrder},
	{Name: "broadcast-members", Section: exam.Broadcasts, Title: "sends nothing to a connection from before its handshake, and goes on when others have left", Run: checkBroadcastMembers},
	{Name: "broadcast-invalid", Section: exam.Broadcasts, Title: "sends nobody a message that breaks the rules", Run: checkBroadcastInvalid},
	{Name: "broadcast-unread", Section: exam.Broadcasts, Title: "lets nobody wait for a peer that does not read, and drops it before it has cost much memory", Run: checkBroadcastUnread},
}

// openSome opens the first connections of s, and waits until they take part: when they are
// counted.
func openSome(s *exam.Server, n int) []*exam.Conn {
	conns := s.OpenSome(n)
	s.AwaitConnections(int64(n))
	return conns
}

// expectNothing fails if c has anything to read before the answer to a ping that is now sent.
func expectNothing(c *exam.Conn, ping string) {
	c.Send("a ping", frame.Frame{Op: frame.OpPing, Payload: []byte(ping)})
	c.ExpectPong([]byte(ping))
}

func checkBroadcastAll(e *exam.Exam) {
	s := e.StartBroadcast()
	conns := openSome(s, 5)
	all := func(what string, op frame.Opcode, payload []byte, frames ...frame.Frame) {
		for _, c := range conns {
			c.Sent = "what another connection got as " + what
		}
		conns[0].Send(what, frames...)
		for i, c := range conns {
			e.Situation = fmt.Sprintf("the first of 5 connections sends %s, and number %d reads", what, i+1)
			c.ExpectMessage(op, payload)
		}
		e.Situation = ""
	}
	payload := frame.Pattern(300)
	text := []byte("Grüße an alle")
	all("a binary message", frame.OpBinary, payload, frame.Frame{Op: frame.OpBinary, Payload: payload})
	all("a text message", frame.OpText, text, frame.Frame{Op: frame.OpText, Payload: text})
	all("an empty message", frame.OpText, nil, frame.Frame{Op: frame.OpText})
	all("a fragmented message", frame.OpBinary, payload, frame.Fragmented(frame.OpBinary, payload, 100)...)
	large := frame.Pattern(min(s.Options.MaxMessage, 60<<10))
	all("a large message", frame.OpBinary, large, frame.Frame{Op: frame.OpBinary, Payload: large})
	e.Situation = "each of 5 connections sends a ping after messages of the first"
	for i, c := range conns {
		expectNothing(c, fmt.Sprintf("ping %d", i))
	}
}

func checkBroadcastOrder(e *exam.Exam) {
	const each = 100
	s := e.StartBroadcast()
	conns := openSome(s, 4)
	senders := conns[:2]
	for i, c := range senders {
		var burst []frame.Frame
		for k := range each {
			burst = append(burst, frame.Frame{Op: frame.OpBinary, Payload: []byte{byte(i), byte(k)}})
		}
		c.Send(fmt.Sprintf("%d messages at once", each), burst...)
	}
	for number, c := range conns {
		c.Sent = fmt.Sprintf("two connections sent %d messages each", each)
		var next [2]byte
		for range 2 * each {
			const expected, section = "the messages of each in their order", "the contract"
			f, err := c.TryFrame()
			switch {
			case err != nil:
				c.Got(fmt.Sprintf("at connection %d %s after %d and %d of them", number+1, exam.Describe(err), next[0], next[1]), expected, section)
			case f.Op != frame.OpBinary || len(f.Payload) != 2 || f.Payload[0] > 1 || f.Payload[1] != next[f.Payload[0]]:
				c.Got(fmt.Sprintf("at connection %d %v after %d and %d of them", number+1, f, next[0], next[1]), expected, section)
			}
			next[f.Payload[0]]++
		}
	}
}

func checkBroadcastMembers(e *exam.Exam) {
	s := e.StartBroadcast()
	request := exam.Handshake().Bytes()
	late := s.Connect()
	late.Write("a part of a handshake", request[:len(request)/2])
	conns := openSome(s, 4)
	say := func(text string, to ...*exam.Conn) {
		conns[0].Send("a message", frame.Frame{Op: frame.OpText, Payload: []byte(text)})
		for _, c := range to {
			c.ExpectMessage(frame.OpText, []byte(text))
		}
	}
	say("before", conns...)
	late.Write("the rest of a handshake", request[len(request)/2:])
	late.ExpectUpgrade()
	s.AwaitConnections(5)
	expectNothing(late, "late")
	say("all", append(conns[:4:4], late)...)
	closeHandshake(conns[1])
	conns[2].Reset()
	conns[3].TCP.Close()
	s.AwaitConnections(2)
	e.Situation = "three of five connections have ended"
	for i := range 10 {
		say(fmt.Sprintf("after %d", i), conns[0], late)
	}
	s.AwaitConnections(2)
}

func checkBroadcastInvalid(e *exam.Exam) {
	s := e.StartBroadcast()
	others := openSome(s, 3)
	nobody := func(what string) {
		e.Situation = "another connection sends " + what
		for i, c := range others {
			expectNothing(c, fmt.Sprint(what, i))
		}
		e.Situation = ""
	}
	c := s.Open()
	c.Send("text that is not UTF-8", frame.Frame{Op: frame.OpText, Payload: []byte{0xC3, 0x28}})
	c.ExpectClose("RFC 6455 section 8.1", 1007)
	nobody("text that is not UTF-8")
	c = s.Open()
	c.Send("a message above the limit", frame.Frame{Op: frame.OpBinary, Payload: frame.Pattern(s.Options.MaxMessage + 1)})
	c.ExpectClose("RFC 6455 section 7.4.1 and the contract", 1009)
	nobody("a message above the limit")
	c = s.Open()
	c.Send("a message without its last fragment", frame.Frame{Op: frame.OpText, Payload: []byte("part"), More: true})
	nobody("a message without its last fragment")
	c.Reset()
	nobody("a message without its last fragment, and a reset")
}

func checkBroadcastUnread(e *exam.Exam) {
	s := e.StartBroadcast()
	deaf := s.ConnectSmall()
	deaf.Upgrade()
	readers := s.OpenSome(2)
	s.AwaitConnections(3)
	payload := frame.Pattern(min(s.Options.MaxMessage, 64<<10))
	limit := exam.Hoard + exam.KernelBuffers()/2 // one way only
	before := s.ResidentBytes()
	e.Situation = "a peer does not read what others send to all"
	sent := 0
	for i := uint64(0); sent < limit; i++ {
		binary.BigEndian.PutUint64(payload, i)
		readers[0].Send("a message", frame.Frame{Op: frame.OpBinary, Payload: payload})
		for _, c := range readers {
			c.ExpectMessage(frame.OpBinary, payload)
		}
		sent += len(payload)
	}
	e.Situation = fmt.Sprintf("a peer has not read %d MiB that others sent to all, and resident memory has grown from %d MiB to %d MiB", sent>>20, before>>20, s.ResidentBytes()>>20)
	s.AwaitConnections(2)
}
