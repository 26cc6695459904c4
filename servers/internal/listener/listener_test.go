package listener

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds every wait of these tests.
const patience = 20 * time.Second

func TestListenOnSeveralAddresses(t *testing.T) {
	addresses := []string{"127.0.0.1:0", "127.0.0.1:0", "127.0.0.2:0"}
	if probe, err := net.Listen("tcp", "[::1]:0"); err == nil {
		probe.Close()
		addresses = append(addresses, "[::1]:0")
	} else {
		t.Logf("without IPv6: %v", err)
	}
	listeners, err := Listen(addresses, 16)
	if err != nil {
		t.Fatal(err)
	}
	raws, err := ListenRaw(addresses, 16)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for i, got := range append(Addresses(listeners), RawAddresses(raws)...) {
		host, port, err := net.SplitHostPort(got)
		if want, _, _ := net.SplitHostPort(addresses[i%len(addresses)]); err != nil || host != want || port == "0" || seen[got] {
			t.Errorf("address %d is %q, want a port of its own on %s", i, got, want)
		}
		seen[got] = true
		c, err := net.Dial("tcp", got)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	for _, l := range listeners {
		l.Close()
	}
	for _, raw := range raws {
		unix.Close(raw.FD)
	}
}

func TestTakenPortIsNamed(t *testing.T) {
	first, err := Listen([]string{"127.0.0.1:0"}, 16)
	if err != nil {
		t.Fatal(err)
	}
	defer first[0].Close()
	address := first[0].Addr().String()
	for name, listen := range map[string]func() error{
		"Listen":    func() error { _, err := Listen([]string{"127.0.0.1:0", address}, 16); return err },
		"ListenRaw": func() error { _, err := ListenRaw([]string{"127.0.0.1:0", address}, 16); return err },
	} {
		if err := listen(); err == nil || !strings.Contains(err.Error(), address) {
			t.Errorf("%s on a port that is taken: %v", name, err)
		}
	}
}

func TestChoosePorts(t *testing.T) {
	chosen, err := choosePorts([]string{"127.0.0.1:0", "127.0.0.1:0", ":0"})
	if err != nil {
		t.Fatal(err)
	}
	if chosen[0] == chosen[1] {
		t.Errorf("one port for two addresses: %v", chosen)
	}
	if !strings.HasPrefix(chosen[2], ":") || chosen[2] == ":0" {
		t.Errorf("every address became %q", chosen[2])
	}
}

// A port that somebody takes between the choice and the listening is replaced by another;
// what is taken for good is an error.
func TestPortTakenMeanwhile(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, test := range map[string]struct {
		listen string
		losses int // starts that find their port taken
		fails  bool
		tries  int
	}{
		"not taken":          {"127.0.0.1:0", 0, false, 1},
		"taken twice":        {"127.0.0.1:0", 2, false, 3},
		"always taken":       {"127.0.0.1:0", portTries, true, portTries},
		"a fixed port taken": {taken.Addr().String(), 0, true, 0},
	} {
		var seen []string
		err := OnFreePorts([]string{test.listen}, func(addresses []string) error {
			seen = append(seen, addresses[0])
			if len(seen) <= test.losses {
				other, err := net.Listen("tcp", addresses[0])
				if err != nil {
					t.Fatal(err)
				}
				defer other.Close()
			}
			l, err := net.Listen("tcp", addresses[0])
			if err == nil {
				l.Close()
			}
			return err
		})
		if (err != nil) != test.fails || err != nil && !errors.Is(err, unix.EADDRINUSE) || len(seen) != test.tries {
			t.Errorf("%s: error %v after %v", name, err, seen)
		}
	}
	want := errors.New("something else")
	if err := OnFreePorts([]string{"127.0.0.1:0"}, func([]string) error { return want }); err != want {
		t.Errorf("error %v, want that of start", err)
	}
}

// TestAcceptedSockets checks what connections get from their listener.
func TestAcceptedSockets(t *testing.T) {
	raws, err := ListenRaw([]string{"127.0.0.1:0"}, 16)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(raws[0].FD)
	if _, err := raws[0].Accept(); err != unix.EAGAIN {
		t.Fatalf("accept with nobody there: %v", err)
	}
	c, err := net.Dial("tcp", raws[0].Address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fd, err := raws[0].Accept() // a connect(2) over loopback ends in the accept queue
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	option := func(level, name int) int {
		value, err := unix.GetsockoptInt(fd, level, name)
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	if option(unix.IPPROTO_TCP, unix.TCP_NODELAY) == 0 {
		t.Error("TCP_NODELAY is off")
	}
	if option(unix.SOL_SOCKET, unix.SO_KEEPALIVE) != 0 {
		t.Error("SO_KEEPALIVE is on")
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Errorf("not non-blocking: %#x, %v", flags, err)
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("not close-on-exec: %#x, %v", flags, err)
	}
}

// TestAcceptOutlastsWantOfDescriptors lowers the limit of this process, so that
// no test may run beside it.
func TestAcceptOutlastsWantOfDescriptors(t *testing.T) {
	listeners, err := Listen([]string{"127.0.0.1:0"}, 16)
	if err != nil {
		t.Fatal(err)
	}
	defer listeners[0].Close()
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", listeners[0].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()

	// A limit below the lowest free descriptor leaves none to accept with.
	lowest, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	limit := unix.Rlimit{Cur: uint64(lowest.Fd()), Max: before.Max}
	lowest.Close()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Skipf("cannot lower RLIMIT_NOFILE: %v", err)
	}
	restore := func() { unix.Setrlimit(unix.RLIMIT_NOFILE, &before) }
	defer restore()
	if _, err := os.Open(os.DevNull); !OutOfResources(err) {
		t.Fatalf("opening a file with no descriptor left: %v", err)
	}

	accepted := make(chan error, 1)
	go func() {
		c, err := listeners[0].Accept()
		if err == nil {
			c.Close()
		}
		accepted <- err
	}()
	select {
	case err := <-accepted:
		t.Fatalf("accepted without a descriptor: %v", err)
	case <-time.After(2 * RetryPause): // it has tried, and rests
	}
	restore()
	select {
	case err := <-accepted:
		if err != nil {
			t.Errorf("accept with descriptors again: %v", err)
		}
	case <-time.After(patience):
		t.Error("did not accept again")
	}
}

// TestLinger: the peer reads what was sent last, though it has sent more than was
// read.
func TestLinger(t *testing.T) {
	t.Run("by hand", func(t *testing.T) {
		lingers(t, func(l []net.Listener) []net.Listener { return l }, Linger)
	})
	t.Run("by itself", func(t *testing.T) { lingers(t, Lingering, func(c net.Conn) { c.Close() }) })
}

func lingers(t *testing.T, wrap func([]net.Listener) []net.Listener, end func(net.Conn)) {
	t.Helper()
	listeners, err := Listen([]string{"127.0.0.1:0"}, 16)
	if err != nil {
		t.Fatal(err)
	}
	listeners = wrap(listeners)
	defer listeners[0].Close()
	peer, err := net.Dial("tcp", listeners[0].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	c, err := listeners[0].Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := peer.Write(make([]byte, 10_000)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("last words")); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		end(c)
		close(ended)
	}()
	peer.SetReadDeadline(time.Now().Add(patience))
	if words, err := io.ReadAll(peer); err != nil || string(words) != "last words" {
		t.Errorf("got %q, %v", words, err)
	}
	peer.Close()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("lingers on after the peer has closed")
	}
	if _, err := c.Write([]byte("x")); err == nil {
		t.Error("not closed")
	}
}
