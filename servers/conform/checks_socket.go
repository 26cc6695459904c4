package conform

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"connbench/servers/contract"
)

var socketChecks = []check{
	{"listen", "listens on every address of --listen and names them in order, with their ports", checkListen},
	{"listen-ipv6", "listens on IPv6", checkListenIPv6},
	{"backlog", "gives its accept queue the length of --backlog", checkBacklog},
	{"keepalive", "has TCP keepalive off", checkKeepalive},
	{"nodelay", "has TCP_NODELAY on", checkNoDelay},
	{"mptcp", "does not speak Multipath TCP", checkMultipath},
}

func checkListen(e *exam) {
	s := e.start(func(o *contract.Options) { o.Listen = []string{"127.0.0.1:0", "127.0.0.1:0", "127.0.0.2:0"} })
	for _, address := range s.addresses {
		c := s.connectTo(address, &net.Dialer{})
		c.upgrade()
		c.roundTrip()
	}
	s.awaitConnections(int64(len(s.addresses)))
}

func checkListenIPv6(e *exam) {
	probe, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		e.skip("this host has no IPv6 loopback: %v", err)
	}
	probe.Close()
	s := e.start(func(o *contract.Options) { o.Listen = []string{"[::1]:0", "127.0.0.1:0"} })
	for _, address := range s.addresses {
		c := s.connectTo(address, &net.Dialer{})
		c.upgrade()
		c.roundTrip()
	}
}

// checkBacklog stops the server, so that nothing leaves the accept queue, and
// counts the connections that it takes. The kernel takes one more than asked
// for (listen(2); sk_acceptq_is_full compares by "greater than").
func checkBacklog(e *exam) {
	const backlog = 16
	s := e.start(func(o *contract.Options) { o.Backlog, o.Loops = backlog, 1 })
	syscall.Kill(s.pid(), syscall.SIGSTOP)
	defer syscall.Kill(s.pid(), syscall.SIGCONT)
	e.await(func() bool { return stopped(s.pid()) }, "the server to stop at SIGSTOP", func() string { return "none of it" })
	var queued []*conn
	for range backlog {
		queued = append(queued, s.connect())
	}
	extra := 0
	for ; extra < backlog; extra++ {
		// A SYN that finds the queue full is dropped without an answer.
		tcp, err := (&net.Dialer{Timeout: time.Second}).DialContext(e.ctx, "tcp", s.addresses[0])
		if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
			break
		}
		if err != nil {
			e.fail("started the server with --backlog %d, expected a connection or no answer, got %s", backlog, describe(err))
		}
		defer tcp.Close()
	}
	if extra > 1 {
		e.fail("started the server with --backlog %d and stopped it by SIGSTOP, expected an accept queue of %d connections (listen(2)), got %d and more", backlog, backlog+1, backlog+extra)
	}
	syscall.Kill(s.pid(), syscall.SIGCONT)
	for _, c := range queued {
		c.upgrade()
		c.roundTrip()
	}
}

func (c *conn) addresses() (server, client *net.TCPAddr) {
	return c.tcp.RemoteAddr().(*net.TCPAddr), c.tcp.LocalAddr().(*net.TCPAddr)
}

func checkKeepalive(e *exam) {
	s := e.start()
	c := s.open()
	c.roundTrip()
	server, client := c.addresses()
	var timer int
	e.await(func() bool {
		var found bool
		if timer, found = timerOf(server, client); !found {
			e.fail("expected a socket %s to %s in /proc/net/tcp, got none", server, client)
		}
		return timer != 1 // the echo is not acknowledged yet
	}, "the echo to be acknowledged", func() string { return "a retransmission timer" })
	if timer == 2 {
		e.fail("expected no timer on an idle connection's socket, as keepalive is off (the contract; column tr of /proc/net/tcp), got a keepalive timer")
	}
}

func checkNoDelay(e *exam) {
	s := e.start()
	c := s.open()
	c.roundTrip()
	_, client := c.addresses()
	value, err := socketOption(s.pid(), client, unix.IPPROTO_TCP, unix.TCP_NODELAY)
	switch {
	case errors.Is(err, errNoSocket):
		e.fail("expected process %d, which was started, to hold the sockets, got none among its descriptors: a wrapper must exec the server", s.pid())
	case err != nil:
		e.skip("cannot look at the server's sockets: %v", err)
	case value == 0:
		e.fail("expected TCP_NODELAY to be on for an accepted connection (the contract), got 0 from getsockopt(2)")
	}
}

func checkMultipath(e *exam) {
	const file = "/proc/sys/net/mptcp/enabled"
	if enabled, err := os.ReadFile(file); err != nil || len(enabled) == 0 || enabled[0] != '1' {
		e.skip("this host has no Multipath TCP (%s)", file)
	}
	s := e.start()
	dialer := &net.Dialer{}
	dialer.SetMultipathTCP(true)
	c := s.connectTo(s.addresses[0], dialer)
	c.upgrade()
	c.roundTrip()
	multipath, err := c.tcp.MultipathTCP()
	if err != nil {
		e.skip("cannot tell whether a connection is Multipath TCP: %v", err)
	}
	if multipath {
		e.fail("opened a connection by Multipath TCP, expected the server to fall back to TCP (the contract: every server is measured without), got a Multipath TCP connection from %s", fmt.Sprint(c.tcp.RemoteAddr()))
	}
}
