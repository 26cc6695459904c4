// Command uring is an echo server of WebSocket, HTTP and bytes on io_uring: the kernel accepts,
// receives and sends by itself, and says when it has.
//
// Each loop is one thread with one ring. A connection has one request to receive for its
// whole life (multishot), and the kernel takes a buffer for it only when something has
// arrived; so an idle connection holds none. A connection belongs to the loop with the
// number descriptor mod loops; a loop that accepts another's hands it over through the rings.
package main

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"connbench/servers/contract"
	"connbench/servers/internal/audience"
	"connbench/servers/internal/fdtable"
	"connbench/servers/internal/lifecycle"
	"connbench/servers/internal/listener"
	"connbench/servers/internal/session"
)

func main() {
	lifecycle.Main(start, session.Abilities...)
}

func start(o contract.Options) (lifecycle.Server, error) {
	listeners, err := listener.ListenRaw(o.Listen, o.Backlog)
	if err != nil {
		return lifecycle.Server{}, err
	}
	// On a socket that does not block, the kernel would not wait for a connection.
	for _, l := range listeners {
		if err := unix.SetNonblock(l.FD, false); err != nil {
			return lifecycle.Server{}, fmt.Errorf("listener of %s: %w", l.Address, err)
		}
	}
	s := &server{listeners: listeners}
	s.loops = make([]*loop, o.Loops)
	ready, begin, failed := make(chan error), make(chan struct{}), make(chan error, o.Loops)
	for i := range s.loops {
		l := &loop{server: s, number: i, rules: session.RulesOf(o)}
		if o.Broadcast {
			l.rules.Publish, l.rules.Board = l.publish, new(audience.Board)
		}
		s.loops[i] = l
		go func() {
			runtime.LockOSThread() // the ring is this thread's
			var err error
			s.loops[i].ring, err = newRing()
			ready <- err
			<-begin
			failed <- s.loops[i].run()
		}()
		if err := <-ready; err != nil {
			return lifecycle.Server{}, err
		}
	}
	close(begin) // now each knows the rings of all
	return lifecycle.Server{
		Addresses:   listener.RawAddresses(listeners),
		Connections: s.open.Load,
		Failed:      failed,
	}, nil
}

// server is what the loops share.
type server struct {
	listeners []listener.Raw
	loops     []*loop
	// connections are by descriptor. Each is its loop's alone.
	connections fdtable.Table[connection]
	open        atomic.Int64
}

// connection is what is kept of one.
type connection struct {
	session session.Session
	// turn is nil whenever nothing is being sent and nothing waits: in an idle connection.
	turn *turn
	// receiving is true while the kernel has a request to receive.
	receiving bool
	// ended is true when the peer has, and dying when we have: the descriptor is closed once
	// the kernel has answered all requests for it.
	ended, dying bool
}

// turn is what a connection has under way.
type turn struct {
	// unsent is what the kernel has been given to send, the end of out.
	unsent  []byte
	sending bool
	next    session.Next
	// unfed is what has arrived and waits for its turn, the end of in.
	unfed   []byte
	out, in []byte
	// heard is what others have published, to be sent before what the session says next.
	heard []byte
}

// mostUnfed is how much may wait of a connection before it is not received from any more.
const mostUnfed = 64 << 10

// pooledBytes is the largest buffer that is used again: a few large messages must not pin
// memory for good.
const pooledBytes = 128 << 10

type loop struct {
	*server
	number int
	ring   *ring
	rules  session.Rules
	// spare are turns to be used again, and again the descriptors that have another turn
	// when the others have had theirs.
	spare []*turn
	again []int
	// ending are connections that failed, in the order in which their time ends.
	ending []ending
	// acceptAgain is when to accept again, zero while the loop accepts on every listener.
	// resting are the listeners on which it does not accept.
	acceptAgain time.Time
	resting     []int

	broadcast
}

// ending is a connection that is closed at a time, unless the peer closes first.
type ending struct {
	fd int
	at time.Time
}

// What a completion is of: the upper half of its user data; the lower is a descriptor or
// the number of a listener.
const (
	ofAccept = iota
	ofAdoption
	ofReceive
	ofSend
	ofPosted
	ofNothing
)

func userData(of, n int) uint64 { return uint64(of)<<32 | uint64(n) }

// run ends only by an error.
func (l *loop) run() error {
	for i := range l.listeners {
		if err := l.accept(i); err != nil {
			return err
		}
	}
	for {
		if err := l.ring.wait(l.patience()); err != nil {
			return err
		}
		for c, ok := l.ring.next(); ok; c, ok = l.ring.next() {
			if err := l.complete(c); err != nil {
				return err
			}
		}
		again := l.again
		l.again = nil
		for _, fd := range again {
			if c := l.connections.At(fd); c.turn != nil && !c.turn.sending && !c.dying {
				if err := errors.Join(l.feed(fd, c), l.goOn(fd, c)); err != nil {
					return err
				}
			}
		}
		if err := l.expire(); err != nil {
			return err
		}
	}
}

func (l *loop) complete(c completion) error {
	n := int(uint32(c.userData))
	switch c.userData >> 32 {
	case ofAccept:
		return l.accepted(n, c)
	case ofAdoption:
		return l.adopt(n)
	case ofReceive:
		return l.received(n, c)
	case ofSend:
		return l.sent(n, c)
	case ofPosted:
		return l.deliver()
	}
	return nil
}

// accept asks for connections of a listener, as many as come.
func (l *loop) accept(i int) error {
	return l.ring.submit(submission{
		opcode: opAccept, priority: acceptMultishot, fd: int32(l.listeners[i].FD), opFlags: unix.SOCK_CLOEXEC,
		userData: userData(ofAccept, i),
	})
}

func (l *loop) accepted(i int, c completion) error {
	if c.flags&completionMore == 0 {
		errno := unix.Errno(max(0, -c.result))
		switch {
		case c.result >= 0, errno == unix.ECONNABORTED, errno == unix.EINTR, errno == unix.EAGAIN:
			if err := l.accept(i); err != nil {
				return err
			}
		case listener.OutOfResources(errno):
			l.resting = append(l.resting, i)
			l.acceptAgain = time.Now().Add(listener.RetryPause)
		default:
			return fmt.Errorf("accept on %s: %w", l.listeners[i].Address, errno)
		}
	}
	if c.result < 0 {
		return nil
	}
	fd := int(c.result)
	owner := l.loops[fd%len(l.loops)]
	if owner == l {
		return l.adopt(fd)
	}
	return l.ring.submit(submission{
		opcode: opMessageRing, fd: int32(owner.ring.fd), offset: userData(ofAdoption, fd), userData: userData(ofNothing, fd),
	})
}

// adopt begins to serve a connection.
func (l *loop) adopt(fd int) error {
	l.highest = max(l.highest, fd)
	return l.receive(fd, l.connections.At(fd))
}

func (l *loop) receive(fd int, c *connection) error {
	c.receiving = true
	return l.ring.submit(submission{
		opcode: opReceive, flags: flagBufferSelect, priority: receiveMultishot, fd: int32(fd),
		userData: userData(ofReceive, fd),
	})
}

// stopReceiving has the kernel end its request; what it has received by then still comes.
func (l *loop) stopReceiving(fd int) error {
	return l.ring.submit(submission{opcode: opAsyncCancel, address: userData(ofReceive, fd), userData: userData(ofNothing, fd)})
}

func (l *loop) received(fd int, done completion) error {
	c := l.connections.At(fd)
	if done.flags&completionMore == 0 {
		c.receiving = false
	}
	switch errno := unix.Errno(max(0, -done.result)); {
	case done.result > 0:
		data, id := l.ring.received(done)
		err := l.take(fd, c, data)
		l.ring.giveBack(id)
		if err != nil {
			return err
		}
	case done.result == 0:
		c.ended = true
	case errno == unix.ENOBUFS, errno == unix.ECANCELED, errno == unix.EINTR, errno == unix.EAGAIN:
	default:
		l.die(fd, c)
	}
	return l.goOn(fd, c)
}

// take takes what has arrived.
func (l *loop) take(fd int, c *connection, data []byte) error {
	if c.dying {
		return nil
	}
	if t := c.turn; t != nil {
		t.keep(data)
		if len(t.unfed) > mostUnfed && c.receiving {
			return l.stopReceiving(fd)
		}
		return nil
	}
	// Nearly always the answer is made straight from what was received.
	t := l.newTurn()
	rest, out, next, err := l.turn(fd, c, data, t.out[:0])
	t.out = out
	if err != nil {
		return err
	}
	if len(out) == 0 && len(rest) == 0 && next == session.Continue {
		l.release(t)
		return nil
	}
	t.keep(rest)
	c.turn = t
	return l.send(fd, t, next)
}

// keep puts data behind what is unfed.
func (t *turn) keep(data []byte) {
	if len(t.unfed) == 0 {
		t.in = t.in[:0]
	} else if len(t.unfed) < len(t.in) {
		t.in = t.in[:copy(t.in, t.unfed)]
	}
	t.in = append(t.in, data...)
	t.unfed = t.in
}

// turn feeds the session its share of a turn.
func (l *loop) turn(fd int, c *connection, data, out []byte) (rest, _ []byte, next session.Next, _ error) {
	wasUpgraded := c.session.Upgraded()
	l.sender = fd
	rest, out, next = c.session.Feed(data, out, l.rules)
	if c.session.Upgraded() != wasUpgraded {
		l.open.Add(1)
	}
	return rest, out, next, l.failed
}

// feed feeds what has waited.
func (l *loop) feed(fd int, c *connection) error {
	t := c.turn
	rest, out, next, err := l.turn(fd, c, t.unfed, append(t.out[:0], t.heard...))
	t.out, t.unfed, t.heard = out, rest, t.heard[:0]
	if err != nil {
		return err
	}
	return l.send(fd, t, next)
}

// send sends a turn's output, and has next done then.
func (l *loop) send(fd int, t *turn, next session.Next) error {
	t.unsent, t.next = t.out, next
	if len(t.unsent) == 0 {
		return l.doNext(fd, l.connections.At(fd))
	}
	t.sending = true
	return l.submitSend(fd, t)
}

func (l *loop) submitSend(fd int, t *turn) error {
	return l.ring.submit(submission{
		opcode: opSend, fd: int32(fd), address: uint64(uintptr(unsafe.Pointer(&t.unsent[0]))), length: uint32(len(t.unsent)),
		opFlags: unix.MSG_WAITALL | unix.MSG_NOSIGNAL, userData: userData(ofSend, fd),
	})
}

func (l *loop) sent(fd int, done completion) error {
	c := l.connections.At(fd)
	t := c.turn
	t.sending = false
	switch errno := unix.Errno(max(0, -done.result)); {
	case c.dying:
	case done.result < 0 && errno != unix.EINTR && errno != unix.EAGAIN:
		l.die(fd, c)
	default:
		t.unsent = t.unsent[max(0, int(done.result)):]
		if len(t.unsent) > 0 {
			t.sending = true
			return l.submitSend(fd, t)
		}
		if err := l.doNext(fd, c); err != nil {
			return err
		}
	}
	return l.goOn(fd, c)
}

// doNext does what a session asks for once its output is sent.
func (l *loop) doNext(fd int, c *connection) error {
	t := c.turn
	switch t.next {
	case session.Close:
		l.die(fd, c)
	case session.Fail:
		// End of stream after the close frame, while receiving goes on: see
		// listener.Linger.
		t.next, t.unfed = session.Continue, nil
		if unix.Shutdown(fd, unix.SHUT_WR) != nil {
			l.die(fd, c)
			return nil
		}
		l.ending = append(l.ending, ending{fd, time.Now().Add(listener.LingerTime)})
		l.settle(c)
	default:
		if len(t.unfed) > 0 || len(t.heard) > 0 {
			l.again = append(l.again, fd)
		} else {
			l.settle(c)
		}
	}
	return nil
}

// settle ends a turn.
func (l *loop) settle(c *connection) {
	t := c.turn
	c.turn = nil
	l.release(t)
}

// goOn receives again where that has ended, and ends what is to be ended.
func (l *loop) goOn(fd int, c *connection) error {
	if c.ended && c.turn == nil {
		l.die(fd, c)
	}
	if c.dying {
		l.bury(fd, c)
		return nil
	}
	if !c.receiving && !c.ended && (c.turn == nil || len(c.turn.unfed) <= mostUnfed/2) {
		return l.receive(fd, c)
	}
	return nil
}

// die ends a connection: the kernel then answers what it was asked for it.
func (l *loop) die(fd int, c *connection) {
	if c.dying {
		return
	}
	c.dying = true
	if c.session.Upgraded() {
		l.open.Add(-1)
	}
	c.session.Release()
	unix.Shutdown(fd, unix.SHUT_RDWR)
}

// bury closes a descriptor for which the kernel has answered everything.
func (l *loop) bury(fd int, c *connection) {
	if c.receiving || c.turn != nil && c.turn.sending {
		return
	}
	if c.turn != nil {
		l.settle(c)
	}
	// Closing must come last: the descriptor may be accepted again at once.
	*c = connection{}
	unix.Close(fd)
}

func (l *loop) newTurn() *turn {
	if n := len(l.spare); n > 0 {
		t := l.spare[n-1]
		l.spare = l.spare[:n-1]
		return t
	}
	return new(turn)
}

// mostSpare bounds the turns that are kept to be used again.
const mostSpare = 1024

func (l *loop) release(t *turn) {
	if len(l.spare) == mostSpare || cap(t.out) > pooledBytes || cap(t.in) > pooledBytes {
		return
	}
	*t = turn{out: t.out[:0], in: t.in[:0]}
	l.spare = append(l.spare, t)
}

// patience is how long to wait for a completion.
func (l *loop) patience() time.Duration {
	next := l.acceptAgain
	if len(l.ending) > 0 && (next.IsZero() || l.ending[0].at.Before(next)) {
		next = l.ending[0].at
	}
	switch {
	case len(l.again) > 0:
		return 0
	case next.IsZero():
		return forever
	}
	return max(time.Until(next), time.Nanosecond)
}

// expire does what was to be done by now.
func (l *loop) expire() error {
	for len(l.ending) > 0 && time.Until(l.ending[0].at) <= 0 {
		fd := l.ending[0].fd
		l.ending = l.ending[1:]
		// If the peer has closed, the descriptor may be another connection's.
		if c := l.connections.At(fd); fd%len(l.loops) == l.number && c.session.Ended() {
			l.die(fd, c)
			l.bury(fd, c)
		}
	}
	if l.acceptAgain.IsZero() || time.Until(l.acceptAgain) > 0 {
		return nil
	}
	resting := l.resting
	l.acceptAgain, l.resting = time.Time{}, nil
	for _, i := range resting {
		if err := l.accept(i); err != nil {
			return err
		}
	}
	return nil
}
