// Command gnet is an echo server of WebSocket, HTTP and bytes on gnet, which moves bytes
// only: the sessions of WebSocket and HTTP are the suite's own.
package main

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"connbench/servers/contract"
	"connbench/servers/internal/buffer"
	"connbench/servers/internal/lifecycle"
	"connbench/servers/internal/listener"
	"connbench/servers/internal/session"
	"connbench/servers/internal/writable"
)

func main() {
	lifecycle.Main(start, session.Abilities...)
}

func start(o contract.Options) (running lifecycle.Server, err error) {
	// Two listeners on port 0 of one address could not be distinguished later.
	err = listener.OnFreePorts(o.Listen, func(addresses []string) (err error) {
		o.Listen = addresses
		running, err = listen(o)
		return err
	})
	return running, err
}

func listen(o contract.Options) (lifecycle.Server, error) {
	addresses := make([]string, len(o.Listen))
	for i, address := range o.Listen {
		addresses[i] = "tcp://" + address
	}
	rules := session.RulesOf(o)
	writable, err := writable.New()
	if err != nil {
		return lifecycle.Server{}, err
	}
	s := &server{options: o, rules: rules, ready: make(chan error, 1), writable: writable}
	if o.Broadcast {
		s.broadcast = &broadcast{rules: rules, loops: map[gnet.EventLoop]*part{}}
	}
	failed := make(chan error, 1)
	go func() {
		// Classes and variants differ by build tags only, see variant.toml.
		err := gnet.Rotate(s, addresses,
			gnet.WithMulticore(true),
			gnet.WithNumEventLoop(o.Loops),
			gnet.WithReuseAddr(true),
			gnet.WithEdgeTriggeredIO(edgeTriggered),
			gnet.WithReusePort(reusePort),
			gnet.WithLogger(logger{}))
		if err == nil {
			// What it stopped for has been logged.
			err = errors.New("gnet stopped")
		}
		failed <- err
	}()
	select {
	case err := <-s.ready:
		return lifecycle.Server{Addresses: o.Listen, Connections: s.upgraded.Load, Failed: failed}, err
	case err := <-failed:
		return lifecycle.Server{}, err
	}
}

type server struct {
	gnet.BuiltinEventEngine
	options  contract.Options
	rules    session.Rules
	ready    chan error
	upgraded atomic.Int64
	writable *writable.Watcher
	// broadcast is nil unless messages go to all connections.
	broadcast *broadcast
}

// OnBoot is called when every address is listened on.
func (s *server) OnBoot(engine gnet.Engine) gnet.Action {
	err := s.setBacklog(engine)
	s.ready <- err
	if err != nil {
		return gnet.Shutdown
	}
	return gnet.None
}

// setBacklog gives the listeners the backlog that is asked for: gnet takes the
// system's largest.
func (s *server) setBacklog(engine gnet.Engine) error {
	for _, address := range s.options.Listen {
		fd, err := engine.DupListener("tcp", address)
		if err != nil {
			return fmt.Errorf("find the listener of %s: %w", address, err)
		}
		err = listener.SetBacklog(fd, s.options.Backlog)
		unix.Close(fd)
		if err != nil {
			return err
		}
	}
	return nil
}

// OnOpen gives each connection its session.
func (s *server) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	c.SetContext(new(session.Session))
	if s.broadcast != nil {
		s.broadcast.of(c.EventLoop()) // before anybody publishes to c
	}
	return nil, gnet.None
}

// OnClose counts.
func (s *server) OnClose(c gnet.Conn, _ error) gnet.Action {
	session := c.Context().(*session.Session)
	if session.Upgraded() {
		s.upgraded.Add(-1)
	}
	if s.broadcast != nil {
		s.leave(c)
	}
	session.Release()
	return gnet.None
}

// OnTraffic answers what has arrived.
func (s *server) OnTraffic(c gnet.Conn) gnet.Action {
	if c.OutboundBuffered() > 0 {
		return s.keep(c)
	}
	in, err := c.Peek(-1)
	if err != nil {
		return gnet.Close
	}
	state := c.Context().(*session.Session)
	wasUpgraded := state.Upgraded()
	answer := buffer.Get()
	rules := s.rules
	if s.broadcast != nil {
		rules = s.broadcast.of(c.EventLoop()).rules
		rules.Publish = func(message []byte) { s.publish(c, message) }
	}
	rest, out, next := state.Feed(in, *answer, rules)
	c.Discard(len(in) - len(rest))
	if state.Upgraded() != wasUpgraded {
		s.upgraded.Add(1)
	}
	if len(out) > 0 {
		// gnet keeps a copy of what the kernel does not take. An error has closed
		// the connection, OnClose included.
		_, err = c.Write(out)
	}
	*answer = out
	buffer.Put(answer)
	if err != nil {
		return gnet.None
	}
	if s.broadcast != nil && state.Upgraded() && !wasUpgraded {
		s.join(c)
	}
	if len(rest) > 0 || c.OutboundBuffered() > 0 {
		stopReading(c)
		return s.wait(c, next)
	}
	return finish(c, next)
}

// finish does what a session asks for once its output is sent.
func finish(c gnet.Conn, next session.Next) gnet.Action {
	switch next {
	case session.Close:
		return gnet.Close
	case session.Fail: // as listener.Linger has it
		unix.Shutdown(c.Fd(), unix.SHUT_WR)
		time.AfterFunc(listener.LingerTime, func() { c.Close() })
	}
	return gnet.None
}

// logger puts what gnet complains of on standard error: standard output belongs
// to the contract.
type logger struct{}

func (logger) Debugf(string, ...any)             {}
func (logger) Infof(string, ...any)              {}
func (logger) Warnf(format string, args ...any)  { complain(format, args) }
func (logger) Errorf(format string, args ...any) { complain(format, args) }
func (logger) Fatalf(format string, args ...any) { complain(format, args); os.Exit(1) }

func complain(format string, args []any) {
	fmt.Fprintf(os.Stderr, "gnet: "+format+"\n", args...)
}
