// Command coder is a WebSocket echo server with a goroutine for each connection: net/http
// and coder/websocket.
package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"connbench/servers/contract"
	"connbench/servers/internal/audience"
	"connbench/servers/internal/buffer"
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
	s := &server{maxMessage: int64(o.MaxMessage), work: o.Work()}
	if o.Broadcast {
		s.audience = new(audience.Audience[message])
	}
	switch o.Compression {
	case contract.CompressionDeflate:
		s.compression = websocket.CompressionNoContextTakeover
	case contract.CompressionTakeover:
		s.compression = websocket.CompressionContextTakeover
	}
	handler := s.serveDefault
	if o.Class == "tuned" {
		handler = s.serveTuned
	}
	web := &http.Server{Handler: http.HandlerFunc(handler), MaxHeaderBytes: maxRequest}
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

type server struct {
	maxMessage  int64
	work        time.Duration
	open        atomic.Int64
	compression websocket.CompressionMode
	// audience is nil unless messages go to all connections.
	audience *audience.Audience[message]
}

// upgrade returns nil when it has refused.
func (s *server) upgrade(w http.ResponseWriter, r *http.Request) (*websocket.Conn, *member) {
	if !opening.Admit(w, r) {
		return nil, nil
	}
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // of the origin: the suite's clients are no browsers
		CompressionMode:    s.compression,
	})
	if err != nil { // and answered
		return nil, nil
	}
	member := s.join(c)
	s.open.Add(1)
	c.SetReadLimit(s.maxMessage)
	return c, member
}

// serveDefault reads and writes in the HTTP handler, a new slice for each message.
func (s *server) serveDefault(w http.ResponseWriter, r *http.Request) {
	c, member := s.upgrade(w, r)
	if c == nil {
		return
	}
	defer s.open.Add(-1)
	for {
		kind, message, err := c.Read(context.Background())
		if err == nil {
			err = s.echo(c, member, kind, message)
		}
		if err != nil {
			member.Leave()
			end(c, err)
			return
		}
	}
}

// serveTuned returns from the handler, so that the request, the response and the deep
// stack of net/http become garbage, and reads in a new goroutine.
func (s *server) serveTuned(w http.ResponseWriter, r *http.Request) {
	if c, member := s.upgrade(w, r); c != nil {
		go s.read(c, member)
	}
}

func (s *server) read(c *websocket.Conn, member *member) {
	defer s.open.Add(-1)
	for {
		if err := s.echoNext(c, member); err != nil {
			member.Leave()
			end(c, err)
			return
		}
	}
}

// echoNext is apart from read to keep the frame small in which a goroutine waits.
func (s *server) echoNext(c *websocket.Conn, member *member) error {
	kind, r, err := c.Reader(context.Background())
	if err != nil {
		return err
	}
	message := buffer.Get()
	if *message, err = buffer.ReadAll(*message, r); err == nil {
		err = s.echo(c, member, kind, *message)
	}
	buffer.Put(message)
	return err
}

var errNotUTF8 = errors.New("text message is not UTF-8")

func (s *server) echo(c *websocket.Conn, member *member, kind websocket.MessageType, content []byte) error {
	// coder/websocket leaves this check to its user.
	if kind == websocket.MessageText && !utf8.Valid(content) {
		return errNotUTF8
	}
	work.Do(s.work)
	if member != nil {
		s.audience.Publish(message{kind, bytes.Clone(content)}, len(content))
		member.Flush()
		return nil
	}
	return c.Write(context.Background(), kind, content)
}

// message is one that goes to all connections, and member a connection that it goes to. The
// library has nothing for broadcasts: each connection frames the message for itself.
type message struct {
	kind    websocket.MessageType
	content []byte
}

type member = audience.Member[message]

// join makes c one of those that messages go to, if they go to all.
func (s *server) join(c *websocket.Conn) *member {
	if s.audience == nil {
		return nil
	}
	return s.audience.Join(
		func(m message) error { return c.Write(context.Background(), m.kind, m.content) },
		func() { go c.CloseNow() }, // which waits for the connection's end, as nobody else should
	)
}

// end closes c after err. coder/websocket has answered a close, and told the peer of what it
// found wrong.
func end(c *websocket.Conn, err error) {
	if errors.Is(err, errNotUTF8) {
		c.Close(websocket.StatusInvalidFramePayloadData, "")
		return
	}
	c.CloseNow()
}
