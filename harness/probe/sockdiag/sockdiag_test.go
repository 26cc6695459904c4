package sockdiag

import (
	"io"
	"net"
	"net/netip"
	"testing"
)

// Only what a program has accepted on the port counts: not the clients' ends, not
// connections that wait to be accepted, not those that the peer has closed.
func TestEstablished(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0", "[::]:0"} {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			t.Logf("%s: %v", address, err)
			continue
		}
		defer listener.Close()
		other, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		dial := func(to net.Listener) net.Conn {
			t.Helper()
			connection, err := net.Dial("tcp", to.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { connection.Close() })
			return connection
		}
		accept := func(from net.Listener) net.Conn {
			t.Helper()
			connection, err := from.Accept()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { connection.Close() })
			return connection
		}
		count := func(want int64, when string) {
			t.Helper()
			got, err := Established([]netip.AddrPort{at(listener)})
			if err != nil {
				t.Fatal(err)
			}
			if got != want {
				t.Errorf("%s: %d established %s, want %d", address, got, when, want)
			}
		}

		count(0, "before the first connection")
		// A client may have the port that the server listens on, at another address.
		if address == "127.0.0.1:0" {
			same := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9), Port: int(at(listener).Port())}}
			client, err := same.Dial("tcp", other.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			accept(other)
			count(0, "with a client of the same port")
			client.Close()
		}
		clients := []net.Conn{dial(listener), dial(listener), dial(listener)}
		dial(other)
		accept(other)
		count(0, "while all wait to be accepted")
		servers := []net.Conn{accept(listener), accept(listener)}
		count(2, "after two were accepted")
		accept(listener)
		count(3, "after all were")
		clients[0].Close()
		if _, err := servers[0].Read(make([]byte, 1)); err != io.EOF {
			t.Fatalf("%s: read of a closed connection: %v", address, err)
		}
		count(2, "after a client closed")
		if got, err := Established([]netip.AddrPort{at(listener), at(other)}); err != nil || got != 3 {
			t.Errorf("%s: %d established on two listeners, want 3; error %v", address, got, err)
		}
	}
}

// at is the address that a listener has.
func at(l net.Listener) netip.AddrPort { return l.Addr().(*net.TCPAddr).AddrPort() }
