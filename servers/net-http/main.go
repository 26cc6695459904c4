// Command net-http is an HTTP server on net/http, with a goroutine for each connection: it
// sends back the content of every request.
package main

import (
	"io"
	"net"
	"net/http"
	"sync/atomic"

	"connbench/servers/contract"
	"connbench/servers/internal/lifecycle"
	"connbench/servers/internal/listener"
	"connbench/servers/internal/work"
)

// maxRequest is the largest request without its content, in bytes. net/http allows 4 KiB more.
const maxRequest = 8 << 10

func main() {
	lifecycle.Main(start, contract.ProtocolHTTP)
}

func start(o contract.Options) (lifecycle.Server, error) {
	listeners, err := listener.Listen(o.Listen, o.Backlog)
	if err != nil {
		return lifecycle.Server{}, err
	}
	s := &server{options: o}
	if o.Broadcast {
		s.hub = newHub()
	}
	var open atomic.Int64
	web := &http.Server{
		MaxHeaderBytes: maxRequest,
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				open.Add(1)
			case http.StateClosed:
				open.Add(-1)
			}
		},
		Handler: s,
	}
	if listeners, err = listener.Secure(listeners, o.TLS); err != nil {
		return lifecycle.Server{}, err
	}
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- web.Serve(l) }()
	}
	return lifecycle.Server{Addresses: listener.Addresses(listeners), Connections: open.Load, Failed: failed}, nil
}

type server struct {
	options contract.Options
	// hub is nil unless messages go to all connections.
	hub *hub
}

// ServeHTTP answers a request.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	most := int64(s.options.MaxMessage)
	if r.ContentLength > most {
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		return
	}
	content, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most)) // of unknown length
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	if len(content) > 0 {
		work.Do(s.options.Work())
	}
	if s.hub != nil {
		if len(content) == 0 {
			s.hub.serve(w, r)
			return
		}
		s.hub.publish(content)
	}
	w.Write(content)
}
