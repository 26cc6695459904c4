package worker

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"connbench/clients/control"
	"connbench/clients/internal/clock"
	"connbench/clients/internal/peer"
	"connbench/clients/internal/protocol/websocket"
	"connbench/clients/internal/usage"
	"connbench/clients/stack/stacktest"
)

// serveArgument makes the test's own program the server of the benchmarks: in a
// process of its own, so that all CPU time of this one is the client's.
const serveArgument = "serve"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == serveArgument {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(listener.Addr())
		server := peer.Serve(listener, peer.Echo)
		io.Copy(io.Discard, os.Stdin)
		server.Close()
		os.Exit(0)
	}
	os.Exit(stacktest.Main(m)) // for the packet engine's tests
}

// serverProcess starts the server and returns its address.
func serverProcess(b *testing.B) string {
	b.Helper()
	server := exec.Command("/proc/self/exe", serveArgument)
	server.Stderr = os.Stderr
	in, err := server.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := server.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := server.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		server.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// bare is the yardstick: an epoll client that makes the same system calls as the
// swarm, and does nothing else. It checks nothing, counts nothing, and sends one
// frame that never changes.
type bare struct {
	epoll   uintptr
	target  netip.AddrPort
	request []byte
	frame   []byte
	fds     []uintptr
	events  [256]unix.EpollEvent
	buffer  [64 << 10]byte
}

func newBare(b *testing.B, address string, connections, payload int) *bare {
	b.Helper()
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { unix.Close(epoll) })
	target := netip.MustParseAddrPort(address)
	const mask = 0x12345678
	frame := make([]byte, websocket.MaxHeader+payload)
	n := websocket.PutHeader(frame, websocket.Binary, payload, mask)
	frame = frame[:n+payload]
	websocket.Mask(frame[n:], frame[n:], mask)
	return &bare{
		epoll:   uintptr(epoll),
		target:  target,
		request: websocket.NewHandshake(1, []netip.AddrPort{target}, control.Opening{}, "").Request(0, 0, 0),
		frame:   frame,
		fds:     make([]uintptr, connections),
	}
}

func (c *bare) must(what string, errno error) {
	if errno != unix.Errno(0) {
		panic(what + ": " + errno.Error())
	}
}

func (c *bare) connect(i int) {
	fd, _, errno := unix.RawSyscall(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	c.must("socket", errno)
	one, linger := int32(1), unix.Linger{Onoff: 1}
	_, _, errno = unix.RawSyscall6(unix.SYS_SETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, uintptr(unsafe.Pointer(&one)), 4, 0)
	c.must("setsockopt", errno)
	_, _, errno = unix.RawSyscall6(unix.SYS_SETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_LINGER, uintptr(unsafe.Pointer(&linger)), 8, 0)
	c.must("setsockopt", errno)
	_, _, errno = unix.RawSyscall6(unix.SYS_SETSOCKOPT, fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, uintptr(unsafe.Pointer(&one)), 4, 0)
	c.must("setsockopt", errno)
	from := unix.RawSockaddrInet4{Family: unix.AF_INET, Port: swap(uint16(20000 + i)), Addr: [4]byte{127, 1, 1, 1}}
	_, _, errno = unix.RawSyscall(unix.SYS_BIND, fd, uintptr(unsafe.Pointer(&from)), unix.SizeofSockaddrInet4)
	c.must("bind", errno)
	to := unix.RawSockaddrInet4{Family: unix.AF_INET, Port: swap(c.target.Port()), Addr: c.target.Addr().As4()}
	if _, _, errno = unix.RawSyscall(unix.SYS_CONNECT, fd, uintptr(unsafe.Pointer(&to)), unix.SizeofSockaddrInet4); errno != unix.EINPROGRESS {
		c.must("connect", errno)
	}
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(i)}
	_, _, errno = unix.RawSyscall6(unix.SYS_EPOLL_CTL, c.epoll, unix.EPOLL_CTL_ADD, fd, uintptr(unsafe.Pointer(&event)), 0, 0)
	c.must("epoll_ctl", errno)
	c.fds[i] = fd
}

func swap(port uint16) uint16 { return port<<8 | port>>8 }

func (c *bare) send(i int, p []byte) {
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, c.fds[i], uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), unix.MSG_NOSIGNAL, 0, 0)
	c.must("send", errno)
}

// receive returns the number of bytes that had come.
func (c *bare) receive(i int) int {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, c.fds[i], uintptr(unsafe.Pointer(&c.buffer[0])), uintptr(len(c.buffer)), 0, 0, 0)
	if errno == unix.EAGAIN {
		return 0
	}
	c.must("receive", errno)
	return int(n)
}

func (c *bare) wait() []unix.EpollEvent {
	timeout := unix.Timespec{Nsec: int64(5 * time.Millisecond)}
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT2, c.epoll, uintptr(unsafe.Pointer(&c.events[0])), uintptr(len(c.events)), uintptr(unsafe.Pointer(&timeout)), 0, 0)
	if errno == unix.EINTR {
		return nil
	}
	c.must("epoll_pwait2", errno)
	return c.events[:n]
}

// ramp opens all connections, a window of them at a time.
func (c *bare) ramp(window int) {
	asked := make([]bool, len(c.fds))
	for next, done := 0, 0; done < len(c.fds); {
		for ; next < len(c.fds) && next < done+window; next++ {
			c.connect(next)
		}
		for _, event := range c.wait() {
			i := int(event.Fd)
			switch {
			case !asked[i] && event.Events&unix.EPOLLOUT != 0:
				asked[i] = true
				c.send(i, c.request)
			case asked[i] && event.Events&unix.EPOLLIN != 0:
				c.receive(i)
				done++
			}
		}
	}
}

// saturate keeps messages outstanding, and returns how many came back.
func (c *bare) saturate(inFlight int, duration time.Duration) (delivered int) {
	const mask = 4
	echoBytes := len(c.frame) - mask
	turn, sent, received := 0, 0, 0
	send := func() {
		c.send(turn, c.frame)
		turn = (turn + 1) % len(c.fds)
		sent++
	}
	for range inFlight {
		send()
	}
	for end := clock.Now() + int64(duration); delivered < sent; {
		for _, event := range c.wait() {
			if event.Events&unix.EPOLLIN == 0 {
				continue
			}
			received += c.receive(int(event.Fd))
			for ; delivered < received/echoBytes; delivered++ {
				if clock.Now() < end {
					send()
				}
			}
		}
	}
	return delivered
}

func (c *bare) reset() {
	for _, fd := range c.fds {
		unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
	}
}

func cpu() float64 {
	t := usage.CPU()
	return t.User + t.System
}

// BenchmarkHandshake compares the CPU time of a connect with its handshake with
// the yardstick's, taking turns against the same server.
func BenchmarkHandshake(b *testing.B) {
	const connections, window = 2000, 100
	address := serverProcess(b)
	s := newTable(b, connections, setup{}, address)
	var ours, yardstick float64
	for b.Loop() {
		before := cpu()
		result := run(b, s, control.Command{Op: "ramp", Connections: connections, Window: window})
		ours += cpu() - before
		if result.Open != connections {
			b.Fatalf("%+v", result)
		}
		run(b, s, control.Command{Op: "close"})

		c := newBare(b, address, connections, 0)
		before = cpu()
		c.ramp(window)
		yardstick += cpu() - before
		c.reset()
	}
	report(b, "handshake", ours, yardstick, float64(b.N*connections), float64(b.N*connections))
}

// BenchmarkEcho does the same for an echo.
func BenchmarkEcho(b *testing.B) {
	const connections, inFlight, payload, seconds = 500, 50, 32, 0.3
	address := serverProcess(b)
	s := newTable(b, connections, setup{}, address)
	rampTo(b, s, connections)
	c := newBare(b, address, connections, payload)
	c.ramp(50)
	defer c.reset()
	var ours, yardstick, echoes, bareEchoes float64
	for b.Loop() {
		before := cpu()
		result := run(b, s, control.Command{Op: "saturate", InFlight: inFlight, PayloadBytes: payload, Seconds: seconds})
		ours += cpu() - before
		echoes += float64(result.Delivered + result.Late)

		before = cpu()
		bareEchoes += float64(c.saturate(inFlight, time.Duration(seconds*1e9)))
		yardstick += cpu() - before
	}
	report(b, "echo", ours, yardstick, echoes, bareEchoes)
}

func report(b *testing.B, what string, ours, yardstick, events, bareEvents float64) {
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ours/events*1e6, "cpu-µs/"+what)
	b.ReportMetric(yardstick/bareEvents*1e6, "yardstick-cpu-µs/"+what)
	b.ReportMetric(ours/events/(yardstick/bareEvents), "ratio")
}

// BenchmarkState reports what is kept for a connection.
func BenchmarkState(b *testing.B) {
	s := newTable(b, 1, setup{}, "127.0.0.1:1")
	for b.Loop() {
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(s.StateBytes()), "state-B/conn")
}
