package worker

import (
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"

	"connbench/clients/addresses"
	"connbench/clients/control"
	"connbench/clients/internal/engine"
	"connbench/clients/internal/engine/packet"
	"connbench/clients/internal/engine/socket"
	"connbench/clients/stack/stacktest"
)

// layerVariable names what the tests are to run over, if it is not the kernel's sockets
// alone: the packet engine, or TLS.
const layerVariable = "TEST_LAYER"

var (
	overPackets = os.Getenv(layerVariable) == "packet"
	overTLS     = os.Getenv(layerVariable) == control.SecurityTLS
)

// Where servers listen.
var hostIPv4, hostIPv6 = "127.0.0.1", "::1"

func init() {
	if overPackets {
		hostIPv4, hostIPv6 = stacktest.IPv4Host, stacktest.IPv6Host
	}
}

// prefixes numbers those handed out: with packets, no two swarms may have the same.
var prefixes atomic.Int64

func sourcesIPv4() []string {
	if overPackets {
		return []string{fmt.Sprintf("198.18.%d.0/24", prefixes.Add(1)%256)}
	}
	return []string{"127.1.0.0/24"}
}

func sourcesIPv6() []string {
	if overPackets {
		return []string{stacktest.IPv6Prefix}
	}
	return []string{"::1"}
}

// source is a single address.
func source(n int) []string {
	if overPackets {
		return []string{fmt.Sprintf("198.18.%d.%d", prefixes.Add(1)%256, n)}
	}
	return []string{fmt.Sprintf("127.1.0.%d", n)}
}

func newEngine(t testing.TB, share addresses.Share, capacity, wake int) engine.Engine {
	t.Helper()
	if overPackets {
		return newPacketEngine(t, share, capacity, wake)
	}
	e, err := socket.New(capacity, wake)
	if err != nil {
		t.Fatal(err)
	}
	if overTLS {
		return secure(t, e, capacity, control.TLS{}).Engine
	}
	return e
}

func newPacketEngine(t testing.TB, share addresses.Share, capacity, wake int) engine.Engine {
	t.Helper()
	stacktest.Need(t)
	e, err := packet.New(packet.Config{Share: share, Capacity: capacity, Wake: wake})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func needSockets(t *testing.T) {
	if overPackets {
		t.Skip("is about the kernel's sockets")
	}
}

// All the other tests once more, with the packet engine.
func TestOverPackets(t *testing.T) {
	stacktest.Need(t)
	again(t, "packet")
}

// All the other tests once more, with TLS between the sockets and WebSocket.
func TestOverTLS(t *testing.T) { again(t, control.SecurityTLS) }

func again(t *testing.T, layer string) {
	if os.Getenv(layerVariable) != "" {
		t.Skip("is running already")
	}
	again := exec.Command("/proc/self/exe", "-test.run=^Test", "-test.timeout=20m")
	again.Env = append(os.Environ(), layerVariable+"="+layer)
	if out, err := again.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
