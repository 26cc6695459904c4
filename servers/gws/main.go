// Command gws is a WebSocket echo server with a goroutine for each connection: net/http
// and lxzan/gws.
package main

import (
	"bufio"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lxzan/gws"

	"connbench/servers/contract"
	"connbench/servers/internal/audience"
	"connbench/servers/internal/lifecycle"
	"connbench/servers/internal/listener"
	"connbench/servers/internal/opening"
	"connbench/servers/internal/work"
)

// maxRequest is the largest opening request, in bytes. net/http allows 4 KiB more.
const maxRequest = 8 << 10

func main() {
	lifecycle.Main(start, contract.CompressionDeflate, contract.CompressionTakeover)
}

func start(o contract.Options) (lifecycle.Server, error) {
	listeners, err := listener.Listen(o.Listen, o.Backlog)
	if err != nil {
		return lifecycle.Server{}, err
	}
	s := &server{maxMessage: o.MaxMessage, work: o.Work(), readBytes: 4 << 10}
	if o.Broadcast {
		s.audience = new(audience.Audience[message])
	}
	options := &gws.ServerOption{
		ReadMaxPayloadSize:  max(o.MaxMessage, mostControl), // gws holds control frames to it too
		WriteMaxPayloadSize: o.MaxMessage + mostControl,
		CheckUtf8Enabled:    true, Logger: silent{},
	}
	if o.Compression != "" {
		takeover := o.Compression == contract.CompressionTakeover
		options.PermessageDeflate = gws.PermessageDeflate{
			Enabled: true, ServerContextTakeover: takeover, ClientContextTakeover: takeover,
			// With takeover gws would demand a window of 4 KiB even of clients that have not
			// offered to bound theirs, which RFC 7692 section 7.1.2.2 forbids.
			ClientMaxWindowBits: 15,
		}
	}
	if o.Class == "tuned" {
		// The read buffer is held for as long as the connection; a payload that is longer
		// is read past it.
		s.readBytes = 256
		options.NewSession = func() gws.SessionStorage { return nothing{} }
	}
	s.upgrader = gws.NewUpgrader(s, options)
	web := &http.Server{Handler: http.HandlerFunc(s.serve), MaxHeaderBytes: maxRequest}
	if listeners, err = listener.Secure(listener.Lingering(listeners), o.TLS); err != nil {
		return lifecycle.Server{}, err
	}
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- web.Serve(l) }()
	}
	return lifecycle.Server{
		Addresses:   listener.Addresses(listeners),
		Connections: s.open.Load,
		Failed:      failed,
	}, nil
}

// tooBig is a close code (RFC 6455 section 7.4.1).
const tooBig = 1009

// mostControl is the largest payload of a control frame, in bytes (RFC 6455 section 5.5).
const mostControl = 125

type server struct {
	gws.BuiltinEventHandler
	upgrader   *gws.Upgrader
	maxMessage int
	work       time.Duration
	readBytes  int // of a connection's read buffer
	open       atomic.Int64
	// audience is nil unless messages go to all connections; members are theirs, by *gws.Conn.
	audience *audience.Audience[message]
	members  sync.Map
}

// serve returns from the handler and reads in a new goroutine, as gws's documentation
// advises: the request becomes garbage.
func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	if !opening.Admit(w, r) {
		return
	}
	raw, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	if buffered.Reader.Buffered() > 0 {
		// gws would lose it. A client has to wait for the response (RFC 6455 section 4.1).
		raw.Close()
		return
	}
	c, err := s.upgrader.UpgradeFromConn(raw, bufio.NewReaderSize(raw, s.readBytes), r)
	if err != nil { // and answered
		return
	}
	s.join(c)
	s.open.Add(1)
	go c.ReadLoop()
}

// OnClose counts.
func (s *server) OnClose(c *gws.Conn, _ error) {
	s.leave(c)
	s.open.Add(-1)
}

// OnPing answers.
func (s *server) OnPing(c *gws.Conn, payload []byte) { c.WritePong(payload) }

// OnMessage echoes.
func (s *server) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	if m.Data.Len() > s.maxMessage {
		c.WriteClose(tooBig, nil)
		return
	}
	work.Do(s.work)
	if s.audience != nil {
		s.publish(c, m)
		return
	}
	c.WriteMessage(m.Opcode, m.Bytes())
}

// nothing is a session that keeps nothing, in place of a map for each connection.
type nothing struct{}

func (nothing) Len() int                               { return 0 }
func (nothing) Load(string) (any, bool)                { return nil, false }
func (nothing) Delete(string)                          {}
func (nothing) Store(string, any)                      {}
func (nothing) Range(func(key string, value any) bool) {}

// silent drops what gws says of panics and peers: standard output belongs to the contract.
type silent struct{}

func (silent) Error(...any) {}
