// Command gobwas-epoll is an echo server of WebSocket, HTTP and bytes on epoll and
// gobwas/ws: the design known from articles on a million connections, without its defect. The
// known programs read a frame to its end once a socket is readable, so that a
// slow sender holds up a worker; here the session is incremental.
//
// A descriptor is registered with EPOLLONESHOT, so that one worker at a time has
// it, and armed again when that worker is done with it.
package main

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"connbench/servers/contract"
	"connbench/servers/internal/audience"
	"connbench/servers/internal/fdtable"
	"connbench/servers/internal/lifecycle"
	"connbench/servers/internal/listener"
	"connbench/servers/internal/session"
)

const (
	// eventsPerWait is small where several workers wait on one epoll instance:
	// what one has taken, the others cannot help with.
	eventsPerWait = 16

	// tunedWorkers is how many workers each loop has, so that one goes on while
	// the other is preempted.
	tunedWorkers = 2
	// tunedReadBytes is the size of a worker's own read buffer.
	tunedReadBytes = 64 << 10

	// defaultWorkers is the size of the pool in the known programs.
	defaultWorkers = 128
	// defaultReadBytes is the size of the read buffer that is allocated for each
	// event.
	defaultReadBytes = 4 << 10
)

func main() {
	lifecycle.Main(start, session.Abilities...)
}

func start(o contract.Options) (lifecycle.Server, error) {
	listeners, err := listener.ListenRaw(o.Listen, o.Backlog)
	if err != nil {
		return lifecycle.Server{}, err
	}
	s := &server{rules: session.RulesOf(o), broadcast: o.Broadcast, failed: make(chan error, 1)}
	if o.Broadcast {
		s.rules.Board = new(audience.Board)
	}
	if err := s.open(o); err != nil {
		return lifecycle.Server{}, err
	}
	if o.Class == "tuned" {
		s.startTuned()
	} else {
		s.startDefault()
	}
	for _, from := range listeners {
		// An acceptor does nothing but wait for its listener.
		if err := unix.SetNonblock(from.FD, false); err != nil {
			return lifecycle.Server{}, os.NewSyscallError("fcntl", err)
		}
		go func() { s.failed <- s.accept(from) }()
	}
	return lifecycle.Server{
		Addresses:   listener.RawAddresses(listeners),
		Connections: s.upgraded.Load,
		Failed:      s.failed,
	}, nil
}

type server struct {
	rules     session.Rules
	broadcast bool
	// polls are the epoll instances; a connection is registered with the one
	// with the number descriptor mod instances.
	polls []int
	// conns is indexed by descriptor.
	conns fdtable.Table[atomic.Pointer[conn]]
	// highest is the highest descriptor of a connection so far, if messages go to all.
	highest atomic.Int64
	// hearing is locked before any connection: for reading while one is handled, if messages go to
	// all, and for writing while one of HTTP is published, so that each poll is answered once.
	hearing  sync.RWMutex
	upgraded atomic.Int64
	failed   chan error
}

type conn struct {
	// mu is not contended, but by the timer that ends a failed connection. It
	// tells Go's memory model what EPOLLONESHOT guarantees.
	mu     sync.Mutex
	socket session.Socket
	closed bool
	// publishing says that a worker, which has let go of mu, sends what this connection has
	// published, and then arms it.
	publishing bool
}

// open makes the epoll instances.
func (s *server) open(o contract.Options) error {
	instances := 1
	if o.Class == "tuned" {
		instances = o.Loops
	}
	for range instances {
		poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			return os.NewSyscallError("epoll_create1", err)
		}
		s.polls = append(s.polls, poll)
	}
	return nil
}

// startTuned lets the workers of a loop wait on its epoll instance themselves:
// nothing is handed from one goroutine to another.
func (s *server) startTuned() {
	for _, poll := range s.polls {
		for range tunedWorkers {
			in, out := make([]byte, tunedReadBytes), []byte(nil)
			go s.wait(poll, func(fd int) error { return s.handle(fd, in, &out) })
		}
	}
}

// startDefault has one goroutine wait, which hands what is ready to a pool of
// workers; memory is allocated anew for each event.
func (s *server) startDefault() {
	ready := make(chan int)
	for range defaultWorkers {
		go func() {
			for fd := range ready {
				var out []byte
				if err := s.handle(fd, make([]byte, defaultReadBytes), &out); err != nil {
					s.failed <- err
				}
			}
		}()
	}
	go s.wait(s.polls[0], func(fd int) error { ready <- fd; return nil })
}

// wait ends only by an error.
func (s *server) wait(poll int, do func(fd int) error) {
	events := make([]unix.EpollEvent, eventsPerWait)
	for {
		n, err := unix.EpollWait(poll, events, -1)
		if err != nil && err != unix.EINTR {
			s.failed <- os.NewSyscallError("epoll_wait", err)
			return
		}
		for _, event := range events[:max(n, 0)] {
			if err := do(int(event.Fd)); err != nil {
				s.failed <- err
				return
			}
		}
	}
}

// accept ends only by an error.
func (s *server) accept(from listener.Raw) error {
	for {
		fd, err := from.Accept()
		if err != nil {
			if listener.OutOfResources(err) {
				time.Sleep(listener.RetryPause)
				continue
			}
			return fmt.Errorf("accept on %s: %w", from.Address, err)
		}
		s.conns.At(fd).Store(new(conn))
		s.count(fd)
		if err := s.arm(fd, unix.EPOLL_CTL_ADD, unix.EPOLLIN|unix.EPOLLRDHUP); err != nil {
			// fs.epoll.max_user_watches is used up: one connection less.
			s.conns.At(fd).Store(nil)
			unix.Close(fd)
		}
	}
}

func (s *server) arm(fd, operation int, events uint32) error {
	poll := s.polls[fd%len(s.polls)]
	event := unix.EpollEvent{Fd: int32(fd), Events: events | unix.EPOLLONESHOT}
	if err := unix.EpollCtl(poll, operation, fd, &event); err != nil {
		return fmt.Errorf("epoll_ctl of descriptor %d: %w", fd, err)
	}
	return nil
}

// handle does what an event asks for, and arms the descriptor again.
func (s *server) handle(fd int, in []byte, out *[]byte) error {
	c := s.conns.At(fd).Load()
	if c == nil {
		return nil
	}
	if s.broadcast {
		s.hearing.RLock()
		defer s.hearing.RUnlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.publishing {
		return nil
	}
	wasUpgraded := c.socket.Upgraded()
	state := s.handleSocket(fd, c, in, out)
	if state == session.Dead {
		s.close(fd, c, wasUpgraded)
		return nil
	}
	if c.socket.Upgraded() != wasUpgraded {
		s.upgraded.Add(1)
	}
	if state == session.Ending {
		time.AfterFunc(listener.LingerTime, func() { s.expire(fd, c) })
	}
	return s.armAgain(fd, c)
}

func (s *server) armAgain(fd int, c *conn) error {
	events := uint32(unix.EPOLLIN | unix.EPOLLRDHUP)
	if c.socket.Blocked() {
		events = unix.EPOLLOUT
	}
	return s.arm(fd, unix.EPOLL_CTL_MOD, events)
}

// expire ends a connection that has failed, unless the peer has closed it.
func (s *server) expire(fd int, c *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		wasUpgraded := c.socket.Upgraded()
		c.socket.Drop()
		s.close(fd, c, wasUpgraded)
	}
}

func (s *server) close(fd int, c *conn, wasUpgraded bool) {
	if wasUpgraded {
		s.upgraded.Add(-1)
	}
	c.closed = true
	s.conns.At(fd).Store(nil)
	// It must come last: the descriptor may be accepted again at once.
	unix.Close(fd)
}
