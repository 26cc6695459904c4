// Command netstack is a WebSocket echo server on gVisor's netstack, the TCP that products
// run in user space: it reads and writes the packets of a TUN device, and the kernel has no
// socket of any connection.
//
// An endpoint of netstack tells by a callback that there is something to do. It puts its
// connection into the queue of a loop, which reads, feeds the suite's session and writes: so
// no goroutine and no read buffer belongs to an idle connection, as with a poller.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/fdbased"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"connbench/clients/stack/tun"
	"connbench/servers/contract"
	"connbench/servers/internal/audience"
	"connbench/servers/internal/device"
	"connbench/servers/internal/lifecycle"
	"connbench/servers/internal/listener"
	"connbench/servers/internal/session"
)

const (
	// mtu is that of an Ethernet, as for the other servers.
	mtu = 1500
	// readBytes is the most that is read at a time.
	readBytes = 64 << 10
	nic       = 1
)

func main() { lifecycle.Main(start, contract.Protocols...) }

func start(o contract.Options) (lifecycle.Server, error) {
	addresses, err := device.Resolve(o.Listen)
	if err != nil {
		return lifecycle.Server{}, err
	}
	lost := make(chan error, 1)
	fd, err := device.Open(addresses, func(hosts []netip.Prefix) (int, error) { return tun.OpenPlain(hosts, mtu) })
	if err != nil {
		return lifecycle.Server{}, err
	}
	s, err := newStack(fd, addresses, func(tcpip.Error) { lost <- errors.New("the TUN device is gone") })
	if err != nil {
		return lifecycle.Server{}, err
	}
	server := &server{}
	for range o.Loops {
		l := &loop{server: server, rules: session.RulesOf(o), wake: make(chan struct{}, 1)}
		if o.Broadcast {
			l.members = map[*conn]struct{}{}
			l.rules.Publish, l.rules.Board = l.publish, new(audience.Board)
		}
		server.loops = append(server.loops, l)
		go l.run()
	}
	for _, at := range addresses {
		if err := server.listen(s, at, o.Backlog); err != nil {
			return lifecycle.Server{}, fmt.Errorf("listen on %s: %w", at, err)
		}
	}
	return lifecycle.Server{
		Addresses:   device.Texts(addresses),
		Connections: server.open.Load,
		Failed:      lost,
		End:         s.Close, // it resets every connection
	}, nil
}

// newStack returns a stack with the device of a descriptor and the hosts of the addresses. It
// calls lost, once, when the device is gone.
func newStack(fd int, addresses []netip.AddrPort, lost func(tcpip.Error)) (*stack.Stack, error) {
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
	})
	link, err := fdbased.New(&fdbased.Options{FDs: []int{fd}, MTU: mtu, ClosedFunc: lost})
	if err != nil {
		return nil, err
	}
	if err := s.CreateNIC(nic, link); err != nil {
		return nil, asError(err)
	}
	hosts := map[netip.Addr]bool{}
	for _, at := range addresses {
		if hosts[at.Addr()] {
			continue
		}
		hosts[at.Addr()] = true
		address := tcpip.ProtocolAddress{Protocol: protocolOf(at), AddressWithPrefix: tcpip.AddrFromSlice(at.Addr().AsSlice()).WithPrefix()}
		if err := s.AddProtocolAddress(nic, address, stack.AddressProperties{}); err != nil {
			return nil, asError(err)
		}
	}
	s.SetRouteTable([]tcpip.Route{
		{Destination: header.IPv4EmptySubnet, NIC: nic},
		{Destination: header.IPv6EmptySubnet, NIC: nic},
	})
	return s, nil
}

func protocolOf(at netip.AddrPort) tcpip.NetworkProtocolNumber {
	if at.Addr().Is4() {
		return ipv4.ProtocolNumber
	}
	return ipv6.ProtocolNumber
}

func asError(err tcpip.Error) error { return fmt.Errorf("netstack: %s", err) }

// server is what the loops share.
type server struct {
	loops []*loop
	next  atomic.Uint32 // the loop of the next connection
	open  atomic.Int64
}

// listen accepts the connections to an address.
func (s *server) listen(on *stack.Stack, at netip.AddrPort, backlog int) error {
	queue := &waiter.Queue{}
	endpoint, err := on.NewEndpoint(tcp.ProtocolNumber, protocolOf(at), queue)
	if err != nil {
		return asError(err)
	}
	if !at.Addr().Is4() {
		endpoint.SocketOptions().SetV6Only(true)
	}
	if err := endpoint.Bind(tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFromSlice(at.Addr().AsSlice()), Port: at.Port()}); err != nil {
		return asError(err)
	}
	entry, ready := waiter.NewChannelEntry(waiter.ReadableEvents)
	queue.EventRegister(&entry)
	if err := endpoint.Listen(backlog); err != nil {
		return asError(err)
	}
	go func() {
		for {
			accepted, events, err := endpoint.Accept(nil)
			if err != nil {
				if _, none := err.(*tcpip.ErrWouldBlock); !none {
					return // the stack was closed
				}
				<-ready
				continue
			}
			s.accept(accepted, events)
		}
	}()
	return nil
}

func (s *server) accept(endpoint tcpip.Endpoint, events *waiter.Queue) {
	endpoint.SocketOptions().SetDelayOption(false) // TCP_NODELAY
	endpoint.SocketOptions().SetKeepAlive(false)
	c := &conn{endpoint: endpoint, events: events, loop: s.loops[s.next.Add(1)%uint32(len(s.loops))]}
	c.entry.Init(c, idleEvents)
	events.EventRegister(&c.entry)
	c.NotifyEvent(idleEvents) // for what has come before
}

const (
	// idleEvents are those of a connection that waits for its peer to send, blockedEvents
	// those of one that waits for its peer to read.
	idleEvents    = waiter.ReadableEvents | waiter.EventErr | waiter.EventHUp | waiter.EventRdHUp
	blockedEvents = waiter.WritableEvents | waiter.EventErr | waiter.EventHUp
)

// conn is a connection: it implements [waiter.EventListener].
type conn struct {
	endpoint tcpip.Endpoint
	events   *waiter.Queue
	entry    waiter.Entry
	loop     *loop
	queued   atomic.Bool

	session session.Session
	// backlog is nil nearly always.
	backlog *backlog
	closed  bool
	late    atomic.Bool // the time for that is over
}

// backlog is what waits for the peer to read, or for another turn.
type backlog struct {
	unsent, unfed []byte
	next          session.Next // once all is sent
}

// NotifyEvent implements [waiter.EventListener]: it queues the connection.
func (c *conn) NotifyEvent(waiter.EventMask) {
	if c.queued.CompareAndSwap(false, true) {
		c.loop.push(c)
	}
}

// loop is a goroutine that serves some of the connections.
type loop struct {
	server *server
	rules  session.Rules
	wake   chan struct{}
	lock   sync.Mutex
	ready  []*conn
	out    []byte

	broadcast
}

func (l *loop) push(c *conn) {
	l.lock.Lock()
	l.ready = append(l.ready, c)
	l.lock.Unlock()
	l.awake()
}

func (l *loop) awake() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *loop) run() {
	in := make([]byte, readBytes)
	var turn []*conn
	for range l.wake {
		l.lock.Lock()
		turn, l.ready = l.ready, turn[:0]
		l.lock.Unlock()
		for _, message := range l.posted.Take() {
			l.tell(message, nil)
		}
		for _, c := range turn {
			// Before it is looked at, so that what comes meanwhile queues it again.
			c.queued.Store(false)
			if !c.closed {
				l.serve(c, in)
			}
		}
		clear(turn)
	}
}

// serve does one turn's share of what a connection asks for.
func (l *loop) serve(c *conn, in []byte) {
	if c.late.Load() {
		l.close(c)
		return
	}
	if c.backlog != nil {
		l.resume(c)
		return
	}
	w := tcpip.SliceWriter(in)
	got, err := c.endpoint.Read(&w, tcpip.ReadOptions{})
	switch err.(type) {
	case nil:
	case *tcpip.ErrWouldBlock:
		return
	default: // its end, or a reset
		l.close(c)
		return
	}
	l.feed(c, in[:got.Count])
}

// feed feeds the session and sends what it answers.
func (l *loop) feed(c *conn, in []byte) {
	before := c.session.Upgraded()
	l.sender = c
	rest, out, next := c.session.Feed(in, l.out[:0], l.rules)
	l.out = out
	if c.session.Upgraded() && !before {
		l.join(c)
		l.server.open.Add(1)
	}
	sent, ok := c.send(out)
	if !ok {
		l.close(c)
		return
	}
	if sent < len(out) || len(rest) > 0 {
		c.hold(out[sent:], rest, next)
		return
	}
	l.finish(c, next)
}

// hold keeps what waits for the peer to read, and what waits for another turn.
func (c *conn) hold(unsent, unfed []byte, next session.Next) {
	if c.backlog == nil {
		c.backlog = &backlog{unfed: bytes.Clone(unfed)}
	} else {
		c.backlog.unfed = unfed // the end of what it was
	}
	c.backlog.unsent, c.backlog.next = bytes.Clone(unsent), next
	c.entry.SetQueuedMask(c.events, blockedEvents)
	c.NotifyEvent(blockedEvents) // there may be room by now
}

// resume sends what is unsent, and then feeds what is unfed.
func (l *loop) resume(c *conn) {
	b := c.backlog
	sent, ok := c.send(b.unsent)
	if !ok {
		l.close(c)
		return
	}
	if b.unsent = b.unsent[sent:]; len(b.unsent) > 0 {
		return // EventOut comes when there is room
	}
	if len(b.unfed) > 0 {
		l.feed(c, b.unfed)
		return
	}
	l.finish(c, b.next)
}

// finish does what the session asks for once all is sent.
func (l *loop) finish(c *conn, next session.Next) {
	if c.backlog != nil {
		c.backlog = nil
		c.entry.SetQueuedMask(c.events, idleEvents)
	}
	switch next {
	case session.Close:
		l.close(c)
		return
	case session.Fail:
		c.endpoint.Shutdown(tcpip.ShutdownWrite)
		time.AfterFunc(listener.LingerTime, func() {
			c.late.Store(true)
			c.NotifyEvent(idleEvents)
		})
	}
	c.NotifyEvent(idleEvents) // after the others: there may be more to read
}

// send writes as much as the endpoint takes. It returns false if the connection is gone.
func (c *conn) send(p []byte) (sent int, ok bool) {
	for sent < len(p) {
		n, err := c.endpoint.Write(bytes.NewReader(p[sent:]), tcpip.WriteOptions{})
		sent += int(n)
		switch err.(type) {
		case nil:
		case *tcpip.ErrWouldBlock:
			return sent, true
		default:
			return sent, false
		}
	}
	return sent, true
}

// close ends a connection behind what was sent.
func (l *loop) close(c *conn) {
	c.closed = true
	l.leave(c)
	c.events.EventUnregister(&c.entry)
	c.endpoint.Close()
	if c.session.Upgraded() {
		l.server.open.Add(-1)
	}
	c.session.Release()
}
