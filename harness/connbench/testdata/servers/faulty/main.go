// Command faulty is a WebSocket echo server that fails in the way that --fault
// names, for the tests of the harness. --faults lists the ways.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gorilla/websocket"
	"golang.org/x/sys/unix"

	"connbench/servers/contract"
)

// open is the number of connections, messages that of all messages so far.
var open, messages atomic.Int64

func main() {
	name, args := "sound", os.Args[1:]
	if args[0] == "--faults" {
		fmt.Println(strings.Join(slices.Sorted(maps.Keys(faults)), "\n"))
		return
	}
	if rest, ok := strings.CutPrefix(args[0], "--fault="); ok {
		name, args = rest, args[1:]
	}
	fault, known := faults[name]
	o, err := contract.ParseArgs("faulty", args, os.Stderr)
	if err != nil || !known {
		fmt.Fprintf(os.Stderr, "faulty: %q is no fault, or %v\n", name, err)
		os.Exit(2)
	}
	questions := bufio.NewScanner(os.Stdin)
	if fault.start != nil {
		fault.start(&o, questions)
	}
	listener, err := listen(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "faulty:", err)
		os.Exit(1)
	}
	go serve(listener, fault, o)
	answers := json.NewEncoder(os.Stdout)
	answers.Encode(contract.Ready{Ready: true, Addresses: []string{listener.Addr().String()}})
	for questions.Scan() {
		stats := contract.Stats{Connections: open.Load()}
		if fault.answer != nil {
			fault.answer(stats)
			continue
		}
		answers.Encode(stats)
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

func serve(listener *net.TCPListener, f fault, o contract.Options) {
	var accepting net.Listener = listener
	if f.accept != nil {
		accepting = f.accept(listener)
	}
	if f.raw == nil {
		http.Serve(accepting, echo(f, o))
		return
	}
	for {
		c, err := accepting.Accept()
		if err != nil {
			return
		}
		go f.raw(c)
	}
}

func echo(f fault, o contract.Options) http.HandlerFunc {
	upgrader := websocket.Upgrader{EnableCompression: o.Compression != ""} // it cannot take over its context
	broadcasts := o.Broadcast
	everybody := audience{copies: f.copies, members: map[*websocket.Conn]int64{}}
	var opened atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		n := opened.Add(1)
		if broadcasts {
			everybody.join(c, n)
			defer everybody.leave(c)
		}
		open.Add(1)
		defer open.Add(-1)
		defer c.Close()
		if f.opened != nil {
			f.opened(c, n)
		}
		for k := int64(1); ; k++ {
			kind, text, err := c.ReadMessage()
			if err != nil {
				return
			}
			m := message{connection: n, sequence: k, number: messages.Add(1), text: text}
			if f.message != nil {
				f.message(c, &m)
			}
			if broadcasts {
				everybody.publish(kind, m)
				continue
			}
			if !m.swallow && c.WriteMessage(kind, m.text) != nil {
				return
			}
		}
	}
}

// audience are the connections that a message goes to, with their numbers.
type audience struct {
	copies  func(n, k int64) int
	lock    sync.Mutex
	members map[*websocket.Conn]int64
}

func (a *audience) join(c *websocket.Conn, n int64) {
	a.lock.Lock()
	defer a.lock.Unlock()
	a.members[c] = n
}

func (a *audience) leave(c *websocket.Conn) {
	a.lock.Lock()
	defer a.lock.Unlock()
	delete(a.members, c)
}

func (a *audience) publish(kind int, m message) {
	a.lock.Lock()
	defer a.lock.Unlock()
	for c, n := range a.members {
		copies := 1
		if a.copies != nil {
			copies = a.copies(n, m.number)
		}
		for range copies {
			c.WriteMessage(kind, m.text)
		}
	}
}
