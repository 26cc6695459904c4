package main

import (
	"context"
	"reflect"

	"github.com/panjf2000/gnet/v2"
	"github.com/panjf2000/gnet/v2/pkg/netpoll"

	"connbench/servers/internal/session"
)

// gnet reads whatever comes, and keeps what a peer does not read without a bound; a
// connection that it is told to close loses what is unsent. So a connection with
// anything left to do is not read from until that is done.

// mostKept is how much gnet may keep of what a peer sends while it does not read, in bytes,
// besides one message.
const mostKept = 16 << 20

// keep leaves what has arrived with gnet, until goOn. In edge-triggered mode gnet keeps reading
// while data comes in, even if its poller no longer watches the connection. So a peer that
// sends without end is dropped.
func (s *server) keep(c gnet.Conn) gnet.Action {
	if c.InboundBuffered() > s.rules.MaxMessage+mostKept {
		return gnet.Close
	}
	return gnet.None
}

// wait goes on with c, and then does what next says, when c can be written to: when
// the peer has read, or at once for one whose share of a turn is used up. The others
// then have their turn first.
func (s *server) wait(c gnet.Conn, next session.Next) gnet.Action {
	loop := c.EventLoop()
	if s.writable.Once(c.Fd(), func() {
		loop.Execute(context.Background(), task(func() { s.goOn(c, next) }))
	}) != nil {
		return gnet.Close // fs.epoll.max_user_watches is used up
	}
	return gnet.None
}

// goOn runs on the loop of c.
func (s *server) goOn(c gnet.Conn, next session.Next) {
	if c.Context() == nil {
		return // closed
	}
	if c.Flush(); c.Context() == nil {
		return // closed by that
	}
	if action := s.proceed(c, next); action == gnet.Close {
		c.EventLoop().Close(c)
	}
}

func (s *server) proceed(c gnet.Conn, next session.Next) gnet.Action {
	if c.OutboundBuffered() > 0 {
		return s.wait(c, next)
	}
	readAgain(c)
	if next == session.Continue && c.InboundBuffered() > 0 {
		return s.OnTraffic(c)
	}
	return finish(c, next)
}

// task is a function that a loop runs.
type task func()

func (t task) Run(context.Context) error {
	t()
	return nil
}

// stopReading has c watched for being writable only. gnet has no call for that, but
// its own poller does; once everything is sent, gnet watches for being readable again.
func stopReading(c gnet.Conn) {
	poller, attachment := internals(c)
	if poller.Delete(c.Fd()) == nil {
		poller.AddWrite(attachment, edgeTriggered)
	}
}

func readAgain(c gnet.Conn) {
	poller, attachment := internals(c)
	poller.ModRead(attachment, edgeTriggered)
}

// internals are gnet's own of a connection: what it is watched by, and as what.
func internals(c gnet.Conn) (*netpoll.Poller, *netpoll.PollAttachment) {
	conn := reflect.ValueOf(c).Elem()
	poller := conn.FieldByName("loop").Elem().FieldByName("poller").UnsafePointer()
	attachment := conn.FieldByName("pollAttachment").Addr().UnsafePointer()
	return (*netpoll.Poller)(poller), (*netpoll.PollAttachment)(attachment)
}
