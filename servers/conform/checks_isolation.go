package conform

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"connbench/servers/contract"
)

var isolationChecks = []check{
	{"frame-slow", "takes frames one byte at a time and serves others after each byte", checkFrameSlow},
	{"frame-stuck", "serves others while 256 connections stand in the middle of a frame", checkFrameStuck},
	{"unread", "stops reading from, or drops, a peer that sends and does not read; serves others; loses nothing", checkUnread},
	{"flood", "serves others while three connections send small frames without a pause, and answers all of these", checkFlood},
	{"reset", "survives connections that are reset in the middle of a handshake, a frame and an answer", checkReset},
	{"half-close", "ends a connection of which the peer has ended its half", checkHalfClose},
	{"idle", "keeps a silent connection open and sends nothing on it", checkIdle},
	{"connections", "counts WebSocket connections right, and no others", checkConnections},
	{"churn", "has no descriptor and no goroutine left of 1,000 connections, opened and dropped", checkChurn},
}

// stuckConns is more than there are workers in any pool that a server with one
// or two event loops could reasonably have.
const stuckConns = 256

// company are connections that must be served whatever others do. There are a
// few of them, so that each event loop has one.
type company struct {
	s     *server
	conns []*conn
	next  int
}

func (s *server) company() *company { return &company{s: s, conns: s.openSome(8)} }

// served fails unless all of them are served, and a newcomer too.
func (o *company) served() {
	for _, c := range o.conns {
		c.roundTrip()
	}
	o.s.open().roundTrip()
}

// nextServed fails unless the next of them is served.
func (o *company) nextServed() {
	o.next = (o.next + 1) % len(o.conns)
	o.conns[o.next].roundTrip()
}

// servedDuring writes data to slow one byte at a time, and after each byte has
// one of the others served: the order of these events is the proof. Now and
// then there is a newcomer.
func (o *company) servedDuring(slow *conn, data []byte) {
	for i := range data {
		slow.write("one byte", data[i:i+1])
		o.nextServed()
		if i%64 == 0 {
			o.s.open().roundTrip()
		}
	}
}

func checkFrameSlow(e *exam) {
	s := e.start()
	others := s.company()
	slow := s.open()
	feed := func(what string, frames ...frame) {
		e.situation = what + " comes in one byte at a time"
		others.servedDuring(slow, encode(frames...))
		e.situation = ""
		slow.sent = what + " one byte at a time"
	}
	feed("an empty text frame", frame{op: opText})
	slow.expectMessage(opText, nil)
	feed("a text message of 200 bytes", frame{op: opText, payload: pattern(200)})
	slow.expectMessage(opText, pattern(200))
	feed("a ping", frame{op: opPing, payload: []byte("slowly")})
	slow.expectPong([]byte("slowly"))
	feed("a fragmented message", fragmented(opBinary, pattern(40), 15)...)
	slow.expectMessage(opBinary, pattern(40))
	feed("a close frame", closing(1000, "bye"))
	slow.expectCloseAnswer(1000, noCode)
}

func checkFrameStuck(e *exam) {
	s := e.start()
	others := s.company()
	stuck := s.openSome(stuckConns)
	payload := pattern(300)
	data := encode(frame{op: opBinary, payload: payload})
	// Many stand within the header, of 8 bytes here; the rest all over the payload.
	cut := func(i int) int {
		if i < stuckConns/2 {
			return 1 + i%8
		}
		return 8 + i
	}
	for i, c := range stuck {
		c.write("a part of a frame", data[:cut(i)])
	}
	e.situation = fmt.Sprintf("%d connections stand in the middle of a frame", stuckConns)
	others.served()
	e.situation = ""
	for i, c := range stuck {
		c.write("the rest of a frame that had stood still", data[cut(i):])
		c.expectMessage(opBinary, payload)
	}
}

// hoard is how much a server may keep for one peer that does not read, beyond
// what the kernel keeps for it.
const hoard = 32 << 20

func checkUnread(e *exam) {
	s := e.start()
	others := s.company()
	// A small receive buffer, so that most of what is on its way is the server's.
	greedy := s.connectTo(s.addresses[0], &net.Dialer{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		raw.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 64<<10)
		})
		return err
	}})
	greedy.upgrade()

	limit := hoard + kernelBuffers()
	size := min(s.options.MaxMessage, 16<<10)
	message := func(i int) []byte {
		payload := pattern(size)
		binary.BigEndian.PutUint64(payload, uint64(i))
		return payload
	}
	var (
		begun int    // messages, of which the last may be unfinished
		rest  []byte // what is unsent of the last
		taken int
	)
	// A server that goes on reading, but so slowly that it would take minutes to
	// reach the limit, is asked for what it has taken so far.
	enough := time.Now().Add(patience)
	for taken < limit && len(rest) == 0 && time.Now().Before(enough) {
		rest = encode(frame{op: opBinary, payload: message(begun)})
		begun++
		for len(rest) > 0 {
			// The server has stopped reading if it takes nothing for so long. On
			// a machine so busy that it only seems so, the check asks for less.
			greedy.tcp.SetWriteDeadline(time.Now().Add(time.Second))
			n, err := greedy.tcp.Write(rest)
			taken, rest = taken+n, rest[n:]
			if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				if !ended(err) {
					e.fail("sent messages and read nothing, expected the server to stop reading or to drop the connection, got %s", describe(err))
				}
				others.served()
				return // dropped
			}
			if err != nil && n == 0 {
				break
			}
		}
	}
	if taken >= limit && len(rest) == 0 {
		e.fail("sent %d messages of %d bytes and read nothing, expected the server to stop reading or to drop the connection before it had taken %d MiB (%d MiB more than the kernel's buffers hold), got neither; its resident memory is now %d MiB",
			begun, size, limit>>20, hoard>>20, residentBytes(s.pid())>>20)
	}
	e.situation = "a peer that does not read has messages waiting for it"
	others.served()
	e.situation = ""

	// The peer begins to read, and all must be there.
	greedy.sent = fmt.Sprintf("%d messages of %d bytes before reading any", begun, size)
	finished := make(chan error, 1)
	go func() {
		greedy.tcp.SetWriteDeadline(time.Now().Add(patience))
		_, err := greedy.tcp.Write(rest)
		finished <- err
	}()
	for i := range begun {
		greedy.expectMessage(opBinary, message(i))
	}
	if err := <-finished; err != nil {
		e.fail("%s, expected the server to go on reading, got %s", greedy.sent, describe(err))
	}
	greedy.roundTrip()
}

// flood is a connection that sends small frames as fast as it can, and reads the
// answers.
type flood struct {
	c    *conn
	stop chan struct{}
	// done is what was wrong, nil for nothing.
	done chan error
}

// flood begins one. Half of the frames are pings, the others are messages.
func (s *server) flood() *flood {
	f := &flood{s.open(), make(chan struct{}), make(chan error, 1)}
	f.c.sent = "pings and messages of one byte without a pause"
	ping, message := frame{op: opPing, payload: []byte("p")}, frame{op: opBinary, payload: []byte("m")}
	const pairs = 256
	block := bytes.Repeat(encode(ping, message), pairs)
	last := frame{op: opText, payload: []byte("last")}
	// Enough to keep any server busy, and little enough to be worked off at the end.
	unanswered := make(chan struct{}, 32)
	go func() {
		for {
			select {
			case <-f.stop:
				f.c.tcp.Write(encode(last))
				return
			case unanswered <- struct{}{}:
			}
			if _, err := (patient{f.c.tcp}).Write(block); err != nil {
				return // the reader knows why
			}
		}
	}()
	go func() {
		wanted := []frame{{op: opPong, payload: ping.payload}, message}
		for n := 0; ; n++ {
			answer, err := f.c.tryFrame()
			want := wanted[n%2]
			switch {
			case err != nil:
				f.done <- err
			case bytes.Equal(answer.payload, last.payload) && n%2 == 0:
				f.done <- nil
			case answer.op != want.op || !bytes.Equal(answer.payload, want.payload):
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

func checkFlood(e *exam) {
	s := e.start()
	others := s.company()
	// As many as it takes to have one on each of two loops.
	floods := []*flood{s.flood(), s.flood(), s.flood()}
	e.situation = "three connections send small frames without a pause"
	for range 10 {
		others.served()
	}
	e.situation = ""
	for _, f := range floods {
		close(f.stop)
	}
	for _, f := range floods {
		if err := <-f.done; err != nil {
			f.c.got(describe(err), "a pong for each ping and an echo of each message, in order", "RFC 6455 section 5.5.3 and the contract")
		}
	}
}

func checkReset(e *exam) {
	s := e.start()
	others := s.company()
	request := handshake().bytes()
	part := encode(frame{op: opBinary, payload: pattern(1000)})[:500]
	whole := encode(frame{op: opBinary, payload: pattern(s.options.MaxMessage)})
	e.situation = "connections are reset"
	for range 8 {
		s.connect().reset()
		c := s.connect()
		c.write("a part of a handshake", request[:len(request)/2])
		c.reset()
		c = s.connect()
		c.write("a handshake", request)
		c.reset() // maybe before the answer
		s.open().reset()
		c = s.open()
		c.write("a part of a frame", part)
		c.reset()
		c = s.open()
		c.write("a message of the limit", whole)
		c.reset() // the answer meets no reader
		c = s.open()
		c.send("a close frame", closing(1000, ""))
		c.reset()
		others.served()
	}
	s.awaitConnections(int64(len(others.conns) + 8)) // with the newcomers
}

func checkHalfClose(e *exam) {
	s := e.start()
	request := handshake().bytes()
	const section = "RFC 6455 section 7.1.5 and the contract"

	c := s.open()
	c.roundTrip()
	c.tcp.CloseWrite()
	c.sent = "FIN between messages"
	c.expectPeersEnd(section)

	c = s.open()
	c.write("a part of a frame and FIN", encode(frame{op: opText, payload: pattern(100)})[:50])
	c.tcp.CloseWrite()
	c.expectPeersEnd(section)

	c = s.connect()
	c.write("a part of a handshake and FIN", request[:len(request)/2])
	c.tcp.CloseWrite()
	c.expectRefusal(section)

	s.awaitConnections(0)
}

// idleTime is short for a benchmark and long for a mistake, such as a deadline
// that was meant for the handshake.
const idleTime = 3 * time.Second

func checkIdle(e *exam) {
	s := e.start()
	silent, half := s.open(), s.open()
	half.write("a part of a frame", []byte{0x82})
	e.pause(idleTime)
	silent.sent = fmt.Sprintf("nothing for %v", idleTime)
	e.situation = silent.sent + " was sent"
	silent.roundTrip()
	half.write("the rest of an empty binary frame", []byte{0x80, 1, 2, 3, 4})
	half.expectMessage(opBinary, nil)
}

func checkConnections(e *exam) {
	s := e.start()
	s.awaitConnections(0)
	bare := s.connect()
	half := s.connect()
	half.write("a part of a handshake", handshake().bytes()[:40])
	refused := s.connect()
	refused.write("a handshake without a key", handshake().without("Sec-WebSocket-Key").bytes())
	refused.expectRefusal("RFC 6455 section 4.2.1")
	conns := s.openSome(30)
	e.situation = "30 connections are open, a TCP connection has sent nothing, another half a handshake, and a third was refused"
	s.awaitConnections(30)

	e.situation = "10 of 30 connections were closed by a close frame"
	for _, c := range conns[:10] {
		c.closeHandshake()
	}
	s.awaitConnections(20)
	e.situation = "10 of the other 20 were closed without one"
	for _, c := range conns[10:20] {
		c.tcp.Close()
	}
	s.awaitConnections(10)
	e.situation = "the last 10 were reset"
	for _, c := range conns[20:] {
		c.reset()
	}
	s.awaitConnections(0)
	e.situation = ""
	bare.upgrade()
	half.write("the rest of a handshake", handshake().bytes()[40:])
	half.expectUpgrade()
	s.awaitConnections(2)
}

// closeHandshake closes a connection as a client should. It ends its own half as well,
// for which a server may wait.
func (c *conn) closeHandshake() {
	c.send("a close frame", closing(1000, ""))
	c.expectCloseAnswer(1000, noCode)
	c.tcp.Close()
}

// ways of dropping a connection for checkChurn, half of them by a reset. Each
// gets as many connections as the others.
var ways = []struct {
	name string
	drop func(*conn)
}{
	{"closed by close frames", (*conn).closeHandshake},
	{"closed without a close frame", func(c *conn) { c.tcp.Close() }},
	{"closed in the middle of a frame", func(c *conn) {
		c.write("a part of a frame", []byte{0x82, 0xFE, 1})
		c.tcp.Close()
	}},
	{"closed by the server over an unmasked frame", func(c *conn) {
		c.send("an unmasked frame", frame{op: opText, bare: true})
		c.tryFrame()
		c.tcp.Close()
	}},
	{"reset", (*conn).reset},
	{"reset in the middle of a frame", func(c *conn) {
		c.write("a part of a frame", []byte{0x82, 0xFE, 1})
		c.reset()
	}},
	{"reset with an answer on its way", func(c *conn) {
		c.send("a message", frame{op: opBinary, payload: pattern(1000)})
		c.reset()
	}},
	{"reset after a close frame", func(c *conn) {
		c.send("a close frame", closing(1000, ""))
		c.reset()
	}},
}

// Slack for what a server sets up on its first connections and keeps: pollers,
// pools of workers. A leak shows all the same: each of the ways is taken by 125
// connections.
const (
	churnConns     = 1000
	slackFiles     = 16
	slackGoroutine = 64
)

func checkChurn(e *exam) {
	s := e.start()
	for _, way := range ways {
		c := s.open()
		c.roundTrip()
		way.drop(c)
	}
	s.awaitConnections(0)
	before := s.ask(contract.QuestionSettle)
	filesBefore := openFiles(s.pid())

	conns := s.openSome(churnConns)
	for _, c := range conns {
		c.roundTrip()
	}
	s.awaitConnections(churnConns)
	for i, c := range conns {
		ways[i%len(ways)].drop(c)
	}
	s.awaitConnections(0)

	var names []string
	for _, way := range ways {
		names = append(names, way.name)
	}
	e.situation = fmt.Sprintf("%d connections are gone, %d each: %s", churnConns, churnConns/len(ways), strings.Join(names, "; "))
	var files int
	e.await(func() bool {
		files = openFiles(s.pid())
		return files <= filesBefore+slackFiles
	}, fmt.Sprintf("the server to have about the %d descriptors that it had before", filesBefore),
		func() string { return fmt.Sprintf("%d", files) })
	if before.Goroutines == nil {
		return // not every language has them
	}
	var goroutines int64
	e.await(func() bool {
		goroutines = *s.ask(contract.QuestionStats).Goroutines
		return goroutines <= *before.Goroutines+slackGoroutine
	}, fmt.Sprintf("stats to count about the %d goroutines that there were before", *before.Goroutines),
		func() string { return fmt.Sprintf("%d", goroutines) })
}
