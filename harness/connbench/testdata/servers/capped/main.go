// Command capped is a WebSocket echo server that its library lets have 300
// connections, for the tests of the harness.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"

	"github.com/lesismal/nbio/logging"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"

	"connbench/servers/contract"
)

// maxLoad is as variant.toml says.
const maxLoad = 300

func main() {
	o, err := contract.ParseArgs("capped", os.Args[1:], os.Stderr)
	if err != nil {
		os.Exit(2)
	}
	logging.Output = os.Stderr // standard output is for answers
	var open atomic.Int64
	upgrader := websocket.NewUpgrader()
	upgrader.CheckOrigin = func(*http.Request) bool { return true }
	upgrader.OnOpen(func(*websocket.Conn) { open.Add(1) })
	upgrader.OnClose(func(*websocket.Conn, error) { open.Add(-1) })
	upgrader.OnMessage(func(c *websocket.Conn, kind websocket.MessageType, message []byte) { c.WriteMessage(kind, message) })
	engine := nbhttp.NewEngine(nbhttp.Config{
		Network: "tcp", Addrs: o.Listen, MaxLoad: maxLoad,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { upgrader.Upgrade(w, r, nil) }),
	})
	if err := engine.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "capped:", err)
		os.Exit(1)
	}
	answers := json.NewEncoder(os.Stdout)
	answers.Encode(contract.Ready{Ready: true, Addresses: engine.Addrs})
	for questions := bufio.NewScanner(os.Stdin); questions.Scan(); {
		answers.Encode(contract.Stats{Connections: open.Load()})
	}
}
