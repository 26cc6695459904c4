// Command faulty is a WebSocket echo server that fails in the way that --fault
// names, for the tests of the harness. --faults lists the ways.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	if o.Protocol == contract.ProtocolHTTP {
		web := http.Server{Handler: hear(f), ConnState: count}
		web.Serve(accepting)
		return
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

// count counts the connections of HTTP.
func count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		open.Add(1)
	case http.StateClosed:
		open.Add(-1)
	}
}

// hear sends back what is posted, and sends it as events to all that ask for them.
func hear(f fault) http.HandlerFunc {
	everybody := audience{copies: f.copies, members: map[*member]bool{}}
	var opened atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if r.Header.Get("Accept") != contract.EventStream {
			if len(text) > 0 {
				everybody.publish(message{number: messages.Add(1), text: text})
			}
			w.Write(text)
			return
		}
		w.Header().Set("Content-Type", contract.EventStream)
		control := http.NewResponseController(w)
		m := &member{number: opened.Add(1), send: func(text []byte) {
			if text != nil {
				fmt.Fprintf(w, "data: %s\n\n", text)
			}
			control.Flush()
		}}
		everybody.join(m)
		defer everybody.leave(m)
		<-r.Context().Done()
	}
}

func echo(f fault, o contract.Options) http.HandlerFunc {
	upgrader := websocket.Upgrader{EnableCompression: o.Compression != ""} // it cannot take over its context
	broadcasts := o.Broadcast
	everybody := audience{copies: f.copies, members: map[*member]bool{}}
	var opened atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		n := opened.Add(1)
		if broadcasts {
			m := &member{number: n, send: func(text []byte) {
				if text != nil {
					c.WriteMessage(websocket.BinaryMessage, text)
				}
			}}
			everybody.join(m)
			defer everybody.leave(m)
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
				everybody.publish(m)
				continue
			}
			if !m.swallow && c.WriteMessage(kind, m.text) != nil {
				return
			}
		}
	}
}

// audience are the connections that a message goes to.
type audience struct {
	copies  func(n, k int64) int
	lock    sync.Mutex
	members map[*member]bool
}

// member is a connection with its number. send sends it a message, or first of all, for nil, what
// goes before.
type member struct {
	number int64
	send   func(text []byte)
}

func (a *audience) join(m *member) {
	a.lock.Lock()
	defer a.lock.Unlock()
	m.send(nil)
	a.members[m] = true
}

func (a *audience) leave(m *member) {
	a.lock.Lock()
	defer a.lock.Unlock()
	delete(a.members, m)
}

func (a *audience) publish(m message) {
	a.lock.Lock()
	defer a.lock.Unlock()
	for member := range a.members {
		copies := 1
		if a.copies != nil {
			copies = a.copies(member.number, m.number)
		}
		for range copies {
			member.send(m.text)
		}
	}
}
