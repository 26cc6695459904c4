// Command faulty is a WebSocket echo server that fails in the way that --fault
// names, for the tests of the harness.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync/atomic"

	"github.com/gorilla/websocket"
	"golang.org/x/sys/unix"

	"connbench/servers/contract"
)

// dieAt is the count of connections, or of messages, at which a server with
// such a fault ends.
const dieAt = 120

// hoardBytes is what a server with that fault keeps for each connection.
const hoardBytes = 1 << 20

// elsewhere is where a server with that fault listens, whatever it is asked for.
const elsewhere = "127.0.0.99:0"

var open, messages atomic.Int64

func main() {
	fault, args := "", os.Args[1:]
	if rest, ok := strings.CutPrefix(args[0], "--fault="); ok {
		fault, args = rest, args[1:]
	}
	o, err := contract.ParseArgs("faulty", args, os.Stderr)
	if err != nil {
		os.Exit(2)
	}
	questions := bufio.NewScanner(os.Stdin)
	if fault == "never-ready" {
		for questions.Scan() {
		}
		return
	}
	if fault == "elsewhere" {
		o.Listen[0] = elsewhere
	}
	listener, err := listen(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "faulty:", err)
		os.Exit(1)
	}
	var accepting net.Listener = listener
	if fault == "stops-accepting" || fault == "goes-deaf" {
		accepting = &tired{TCPListener: listener, deaf: fault == "goes-deaf"}
	}
	go http.Serve(accepting, serve(fault))
	answers := json.NewEncoder(os.Stdout)
	answers.Encode(contract.Ready{Ready: true, Addresses: []string{listener.Addr().String()}})
	for questions.Scan() {
		answers.Encode(contract.Stats{Connections: open.Load()})
	}
}

// listen makes the accept queue as long as asked for, which the net package does not.
func listen(o contract.Options) (*net.TCPListener, error) {
	config := net.ListenConfig{}
	config.SetMultipathTCP(false) // of which filters know nothing
	listener, err := config.Listen(context.Background(), "tcp", o.Listen[0])
	if err != nil {
		return nil, err
	}
	plain := listener.(*net.TCPListener)
	return plain, control(plain, func(fd int) error { return unix.Listen(fd, o.Backlog) })
}

func control(l *net.TCPListener, do func(fd int) error) error {
	socket, err := l.SyscallConn()
	if err != nil {
		return err
	}
	failed := socket.Control(func(fd uintptr) { err = do(int(fd)) })
	return errors.Join(err, failed)
}

func serve(fault string) http.HandlerFunc {
	upgrader := websocket.Upgrader{}
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		if n := open.Add(1); fault == "dies-in-ramp" && n == dieAt {
			fmt.Fprintln(os.Stderr, "faulty: out of luck at connection", n)
			os.Exit(3)
		}
		if open.Load() == dieAt {
			go flood(fault)
		}
		if fault != "miscounts" {
			defer open.Add(-1)
		}
		defer c.Close()
		if fault == "hoards" {
			hoard := bytes.Repeat([]byte{1}, hoardBytes)
			defer runtime.KeepAlive(hoard)
		}
		for {
			kind, message, err := c.ReadMessage()
			if err != nil {
				return
			}
			switch n := messages.Add(1); {
			case fault == "dies-in-load" && n == 5*dieAt:
				fmt.Fprintln(os.Stderr, "faulty: out of luck at message", n)
				os.Exit(3)
			case fault == "corrupts" && n%100 == 0:
				message[len(message)-1] ^= 1
			}
			if c.WriteMessage(kind, message) != nil {
				return
			}
		}
	}
}

// flood writes to standard output for ever, where that is the fault.
func flood(fault string) {
	piece := strings.Repeat("x", 4096)
	switch fault {
	case "endless-line":
	case "unasked-lines":
		piece = "x\n"
	default:
		return
	}
	for {
		os.Stdout.WriteString(piece)
	}
}

// tired accepts so many connections and then no more. One that is deaf also has the
// kernel drop the packets of those to come, as if they had been lost on the way.
type tired struct {
	*net.TCPListener
	deaf     bool
	accepted atomic.Int64
}

func (t *tired) Accept() (net.Conn, error) {
	if t.accepted.Add(1) <= dieAt {
		return t.TCPListener.Accept()
	}
	if t.deaf {
		t.drop()
	}
	select {}
}

// drop attaches a filter that lets nothing in (socket(7), SO_ATTACH_FILTER).
func (t *tired) drop() {
	nothing := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0}
	err := control(t.TCPListener, func(fd int) error {
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing})
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "faulty:", err)
		os.Exit(1)
	}
}
