package service

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"connbench/servers/conform/exam"
	"connbench/servers/contract"
)

var socketChecks = []exam.Case{
	{Name: "listen", Section: exam.Sockets, Any: true, Title: "listens on every address of --listen and names them in order, with their ports", Run: checkListen},
	{Name: "listen-ipv6", Section: exam.Sockets, Any: true, Title: "listens on IPv6", Run: checkListenIPv6},
	{Name: "backlog", Section: exam.Sockets, Any: true, Title: "gives its accept queue the length of --backlog", Run: checkBacklog},
	{Name: "keepalive", Section: exam.Sockets, Any: true, Title: "has TCP keepalive off", Run: checkKeepalive},
	{Name: "nodelay", Section: exam.Sockets, Any: true, Title: "has TCP_NODELAY on", Run: checkNoDelay},
	{Name: "mptcp", Section: exam.Sockets, Any: true, Title: "does not speak Multipath TCP", Run: checkMultipath},
}

func checkListen(e *exam.Exam) {
	hosts := e.Hosts(2)
	s := e.Start(func(o *contract.Options) {
		o.Listen = []string{exam.FreePort(hosts[0]), exam.FreePort(hosts[0]), exam.FreePort(hosts[1])}
	})
	for _, address := range s.Addresses {
		c := s.ConnectTo(address, &net.Dialer{})
		c.Begin()
		c.RoundTrip()
	}
	s.AwaitConnections(int64(len(s.Addresses)))
}

func checkListenIPv6(e *exam.Exam) {
	probe, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		e.Skip("this host has no IPv6 loopback: %v", err)
	}
	probe.Close()
	s := e.Start(func(o *contract.Options) {
		o.Listen = []string{exam.FreePort(e.HostIPv6()), exam.FreePort(e.Hosts(1)[0])}
	})
	for _, address := range s.Addresses {
		c := s.ConnectTo(address, &net.Dialer{})
		c.Begin()
		c.RoundTrip()
	}
}

// checkBacklog stops the server, so that nothing leaves the accept queue, and
// counts the connections that it takes. The kernel takes one more than asked
// for (listen(2); sk_acceptq_is_full compares by "greater than").
func checkBacklog(e *exam.Exam) {
	if e.Program.Device {
		e.Skip("a server that speaks TCP itself has no accept queue: while it is stopped, nobody answers a SYN")
	}
	const backlog = 16
	s := e.Start(func(o *contract.Options) { o.Backlog, o.Loops = backlog, 1 })
	s.Signal(syscall.SIGSTOP)
	defer s.Signal(syscall.SIGCONT)
	e.Await(s.Stopped, "the server to stop at SIGSTOP", func() string { return "none of it" })
	var queued []*exam.Conn
	for range backlog {
		queued = append(queued, s.Connect())
	}
	extra := 0
	for ; extra < backlog; extra++ {
		// A SYN that finds the queue full is dropped without an answer.
		tcp, err := (&net.Dialer{Timeout: time.Second}).DialContext(e.Ctx, "tcp", s.Addresses[0])
		if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
			break
		}
		if err != nil {
			e.Fail("started the server with --backlog %d, expected a connection or no answer, got %s", backlog, exam.Describe(err))
		}
		defer tcp.Close()
	}
	if extra > 1 {
		e.Fail("started the server with --backlog %d and stopped it by SIGSTOP, expected an accept queue of %d connections (listen(2)), got %d and more", backlog, backlog+1, backlog+extra)
	}
	s.Signal(syscall.SIGCONT)
	for _, c := range queued {
		c.Begin()
		c.RoundTrip()
	}
}

func checkKeepalive(e *exam.Exam) {
	if socketOption(e, unix.SOL_SOCKET, unix.SO_KEEPALIVE) != 0 {
		e.Fail("expected SO_KEEPALIVE to be off for an accepted connection (the contract), got 1 from getsockopt(2)")
	}
}

func checkNoDelay(e *exam.Exam) {
	if socketOption(e, unix.IPPROTO_TCP, unix.TCP_NODELAY) == 0 {
		e.Fail("expected TCP_NODELAY to be on for an accepted connection (the contract), got 0 from getsockopt(2)")
	}
}

// socketOption returns an option of the server's socket of a connection that
// has had its first answer: the server has set by then what it sets.
func socketOption(e *exam.Exam, level, option int) int {
	if e.Program.Device {
		e.Skip("a server that speaks TCP itself has no sockets")
	}
	s := e.Start()
	c := s.Open()
	c.RoundTrip()
	value, err := s.SocketOption(c.TCP.LocalAddr().(*net.TCPAddr), level, option)
	switch {
	case errors.Is(err, exam.ErrNoSocket):
		e.Fail("expected process %d, which was started, or its descendants to hold the sockets, got none among their descriptors", s.PID())
	case err != nil:
		e.Skip("cannot look at the server's sockets: %v", err)
	}
	return value
}

func checkMultipath(e *exam.Exam) {
	const file = "/proc/sys/net/mptcp/enabled"
	if enabled, err := os.ReadFile(file); err != nil || len(enabled) == 0 || enabled[0] != '1' {
		e.Skip("this host has no Multipath TCP (%s)", file)
	}
	s := e.Start()
	dialer := &net.Dialer{}
	dialer.SetMultipathTCP(true)
	c := s.ConnectTo(s.Addresses[0], dialer)
	c.Begin()
	c.RoundTrip()
	multipath, err := c.TCP.MultipathTCP()
	if err != nil {
		e.Skip("cannot tell whether a connection is Multipath TCP: %v", err)
	}
	if multipath {
		e.Fail("opened a connection by Multipath TCP, expected the server to fall back to TCP (the contract: every server is measured without), got a Multipath TCP connection from %s", fmt.Sprint(c.TCP.RemoteAddr()))
	}
}
