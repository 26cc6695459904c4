// Command faulty is a WebSocket echo server that fails in the way that --fault
// names, for the tests of the harness.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync/atomic"

	"github.com/gorilla/websocket"

	"connbench/servers/contract"
)

// dieAt is the count of connections, or of messages, at which a server with
// such a fault ends.
const dieAt = 120

// hoardBytes is what a server with that fault keeps for each connection.
const hoardBytes = 64 << 10

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
	listener, err := net.Listen("tcp", o.Listen[0])
	if err != nil {
		fmt.Fprintln(os.Stderr, "faulty:", err)
		os.Exit(1)
	}
	if fault == "stops-accepting" {
		listener = &tired{Listener: listener}
	}
	go http.Serve(listener, serve(fault))
	answers := json.NewEncoder(os.Stdout)
	answers.Encode(contract.Ready{Ready: true, Addresses: []string{listener.Addr().String()}})
	for questions.Scan() {
		answers.Encode(contract.Stats{Connections: open.Load()})
	}
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

// tired accepts so many connections and then no more.
type tired struct {
	net.Listener
	accepted atomic.Int64
}

func (t *tired) Accept() (net.Conn, error) {
	if t.accepted.Add(1) > dieAt {
		select {}
	}
	return t.Listener.Accept()
}
