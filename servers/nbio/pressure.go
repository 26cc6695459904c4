package main

import (
	"reflect"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/nbhttp/websocket"
	"golang.org/x/sys/unix"

	"connbench/servers/internal/session"
)

// nbio reads whatever comes, and keeps what a peer does not read without a bound; a
// connection that it is told to close loses what is unsent. So a connection that does
// not read, or sends more than its share of a turn, is not read from until all is done
// that it has asked for.

// flow is a connection that has sent too much once. It remains one.
type flow struct {
	conn *websocket.Conn

	mu        sync.Mutex
	inspector session.Inspector
	failed    bool
	// held says that goOn is to come, and is the one to parse what is unparsed.
	held     bool
	unparsed []byte
}

// takeIn is inspect for a flow.
func (s *server) takeIn(c *nbio.Conn, f *flow, data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.failed: // what still comes is discarded
	case f.held:
		// nbio reads again once it has sent what was left over.
		f.unparsed = append(f.unparsed, data...)
		stopReading(c)
	default:
		rest, ok := s.parse(c, f.conn, &f.inspector, data)
		f.failed = !ok
		if ok && s.isBehind(c, rest) {
			s.hold(c, f, rest)
		}
	}
}

// isBehind says whether a connection must wait before it is read from again.
func (s *server) isBehind(c *nbio.Conn, rest []byte) bool {
	return len(rest) > 0 || unsent(c) > 0 || c.ExecuteLen() > session.FramesPerTurn
}

// hold has c wait. The lock of f is the caller's, if others know f.
func (s *server) hold(c *nbio.Conn, f *flow, rest []byte) {
	f.held = true
	f.unparsed = append(f.unparsed, rest...)
	stopReading(c)
	s.wait(c, f)
}

// wait has goOn called once the jobs of c so far are done, and everything is sent. The
// others have their turn meanwhile.
func (s *server) wait(c *nbio.Conn, f *flow) {
	c.Execute(func() { s.whenSent(c, func() { s.goOn(c, f) }) })
}

// goOn parses a turn's share of what a flow has sent.
func (s *server) goOn(c *nbio.Conn, f *flow) {
	f.mu.Lock()
	data := f.unparsed
	f.unparsed = nil
	f.mu.Unlock()

	// No one else parses meanwhile; inline, this runs the handlers.
	rest, ok := s.parse(c, f.conn, &f.inspector, data)

	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = !ok
	f.unparsed = append(rest, f.unparsed...)
	switch {
	case f.failed:
		f.held, f.unparsed = false, nil
		readAgain(c)
	case s.isBehind(c, f.unparsed):
		s.wait(c, f)
	default:
		f.held, f.unparsed = false, nil
		readAgain(c)
	}
}

// whenSent calls then in another goroutine when nothing is unsent, unless c ends first.
func (s *server) whenSent(c *nbio.Conn, then func()) {
	err := s.writable.Once(c.Hash(), func() {
		switch closed, _ := c.IsClosed(); {
		case closed:
		case unsent(c) > 0: // its poller has yet to send it
			time.AfterFunc(time.Millisecond, func() { s.whenSent(c, then) })
		default:
			then()
		}
	})
	if err != nil {
		c.Close() // fs.epoll.max_user_watches is used up, or it is closed already
	}
}

// nbio has no call to stop reading, nor one that tells how much is unsent, or whether
// compression was agreed on. What it knows itself, it keeps in fields of these types.
var (
	lockField   = field(reflect.TypeFor[nbio.Conn](), "mux", reflect.Struct)
	unsentField = field(reflect.TypeFor[nbio.Conn](), "left", reflect.Int)
	pollerField = field(reflect.TypeFor[nbio.Conn](), "p", reflect.Pointer)
	pollField   = field(pollerField.Type.Elem(), "epfd", reflect.Int)

	deflatesField = field(reflect.TypeFor[websocket.Conn](), "remoteCompressionEnabled", reflect.Bool)
)

// field panics at the start of a program that is built with another nbio.
func field(of reflect.Type, name string, kind reflect.Kind) reflect.StructField {
	f, ok := of.FieldByName(name)
	if !ok || f.Type.Kind() != kind {
		panic("nbio: " + of.String() + " has no field " + name + " of the kind that is expected")
	}
	return f
}

// unsent is how many bytes the kernel has not taken.
func unsent(c *nbio.Conn) int64 {
	return atomic.LoadInt64((*int64)(unsafe.Add(unsafe.Pointer(c), unsentField.Offset)))
}

// deflates says whether messages may be compressed. It is known before the response is sent, so
// before the first frame; OnOpen, which comes after that, may be later than the frame.
func deflates(c *websocket.Conn) bool {
	return *(*bool)(unsafe.Add(unsafe.Pointer(c), deflatesField.Offset))
}

// stopReading has c watched for being writable only. Once everything is sent that had
// to wait, nbio watches for being readable again.
func stopReading(c *nbio.Conn) {
	watch(c, func() uint32 { return unix.EPOLLOUT })
}

// readAgain undoes stopReading, unless nbio will.
func readAgain(c *nbio.Conn) {
	watch(c, func() uint32 {
		if unsent(c) > 0 {
			return unix.EPOLLOUT
		}
		return unix.EPOLLIN | unix.EPOLLPRI | unix.EPOLLRDHUP // as nbio has it
	})
}

// watch holds the lock of c, as nbio does, so that the descriptor is still that of c.
func watch(c *nbio.Conn, events func() uint32) {
	lock := (*sync.Mutex)(unsafe.Add(unsafe.Pointer(c), lockField.Offset))
	lock.Lock()
	defer lock.Unlock()
	if closed, _ := c.IsClosed(); closed {
		return
	}
	poller := *(*unsafe.Pointer)(unsafe.Add(unsafe.Pointer(c), pollerField.Offset))
	poll := *(*int)(unsafe.Add(poller, pollField.Offset))
	unix.EpollCtl(poll, unix.EPOLL_CTL_MOD, c.Hash(), &unix.EpollEvent{Events: events(), Fd: int32(c.Hash())})
}
