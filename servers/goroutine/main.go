// Command goroutine is an echo server of WebSocket and bytes with a goroutine for each
// connection: net/http and gorilla/websocket.
package main

import (
	"compress/flate"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

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
	lifecycle.Main(start, contract.ProtocolWebSocket, contract.ProtocolTCP, contract.CompressionDeflate)
}

func start(o contract.Options) (lifecycle.Server, error) {
	listeners, err := listener.Listen(o.Listen, o.Backlog)
	if err != nil {
		return lifecycle.Server{}, err
	}
	s := &server{maxMessage: int64(o.MaxMessage), work: o.Work()}
	if o.Broadcast {
		s.audience = new(audience.Audience[*websocket.PreparedMessage])
	}
	handler := s.serveDefault
	s.upgrader = websocket.Upgrader{CheckOrigin: anyOrigin, EnableCompression: o.Compression != ""}
	s.compressed = o.Compression != ""
	if o.Class == "tuned" {
		handler = s.serveTuned
		// A buffer holds a frame header and a short message; longer payloads are
		// read past it. The write buffer is held only while something is written.
		s.upgrader.ReadBufferSize = 256
		s.upgrader.WriteBufferSize = 1024
		s.upgrader.WriteBufferPool = &sync.Pool{}
	}
	web := &http.Server{Handler: http.HandlerFunc(handler), MaxHeaderBytes: maxRequest}
	serve := web.Serve
	if o.Protocol == contract.ProtocolTCP {
		pooled := o.Class == "tuned" && o.TLS == "" // TLS has to read what it then decrypts
		serve = func(l net.Listener) error { return s.acceptBytes(l, pooled) }
	}
	if listeners, err = listener.Secure(listeners, o.TLS); err != nil {
		return lifecycle.Server{}, err
	}
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- serve(l) }()
	}
	return lifecycle.Server{
		Addresses:   listener.Addresses(listeners),
		Connections: s.open.Load,
		Failed:      failed,
	}, nil
}

// anyOrigin lets in every page: the suite's clients are no browsers.
func anyOrigin(*http.Request) bool { return true }

type server struct {
	upgrader   websocket.Upgrader
	maxMessage int64
	work       time.Duration
	open       atomic.Int64
	// audience is nil unless messages go to all connections.
	audience *audience.Audience[*websocket.PreparedMessage]
	// compressed says that messages may be.
	compressed bool
}

// serveDefault is the echo server of gorilla's documentation: read and write in
// the HTTP handler, a new slice for each message.
func (s *server) serveDefault(w http.ResponseWriter, r *http.Request) {
	c, member := s.upgrade(w, r)
	if c == nil {
		return
	}
	defer s.open.Add(-1)
	for {
		kind, message, err := s.readMessage(c)
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

// readMessage is the library's ReadMessage, which does not bound what a message inflates to.
func (s *server) readMessage(c *websocket.Conn) (kind int, message []byte, err error) {
	if !s.compressed {
		return c.ReadMessage()
	}
	kind, r, err := c.NextReader()
	if err != nil {
		return kind, nil, err
	}
	message, err = io.ReadAll(s.bounded(r))
	return kind, message, err
}

// bounded is a message's reader, of which one that may be compressed ends soon after the largest
// message.
func (s *server) bounded(r io.Reader) io.Reader {
	if s.compressed {
		return io.LimitReader(r, s.maxMessage+1)
	}
	return r
}

// serveTuned returns from the handler, so that the request, the response and the
// deep stack of net/http become garbage, and reads in a new goroutine.
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

// echoNext is apart from read to keep the frame small in which a goroutine
// waits.
func (s *server) echoNext(c *websocket.Conn, member *member) error {
	kind, r, err := c.NextReader()
	if err != nil {
		return err
	}
	message := buffer.Get()
	if *message, err = buffer.ReadAll(*message, s.bounded(r)); err == nil {
		err = s.echo(c, member, kind, *message)
	}
	buffer.Put(message)
	return err
}

// upgrade returns nil when it has refused.
func (s *server) upgrade(w http.ResponseWriter, r *http.Request) (*websocket.Conn, *member) {
	if !opening.Admit(w, r) {
		return nil, nil
	}
	c, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil { // and answered
		return nil, nil
	}
	c.SetReadLimit(s.maxMessage)
	member := s.join(c)
	s.open.Add(1)
	return c, member
}

var errNotUTF8 = errors.New("text message is not UTF-8")

func (s *server) echo(c *websocket.Conn, member *member, kind int, message []byte) error {
	if int64(len(message)) > s.maxMessage { // it was compressed
		return websocket.ErrReadLimit
	}
	// gorilla leaves this check to its user (doc.go, "Data Messages").
	if kind == websocket.TextMessage && !utf8.Valid(message) {
		return errNotUTF8
	}
	work.Do(s.work)
	if member != nil {
		return s.publish(member, kind, message)
	}
	return c.WriteMessage(kind, message)
}

// join makes c one of those that messages go to, if they go to all.
func (s *server) join(c *websocket.Conn) *member {
	if s.audience == nil {
		return nil
	}
	return s.audience.Join(c.WritePreparedMessage, func() { listener.Reset(c.NetConn()) })
}

// member is a connection that messages of all go to.
type member = audience.Member[*websocket.PreparedMessage]

// publish sends a message to all connections, framed once.
func (s *server) publish(from *member, kind int, message []byte) error {
	prepared, err := websocket.NewPreparedMessage(kind, message)
	if err != nil {
		return err
	}
	s.audience.Publish(prepared, len(message))
	from.Flush()
	return nil
}

func sendClose(c *websocket.Conn, code int) {
	c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""))
}

// end closes c after err. gorilla has answered a close, and told the peer of
// what it found wrong.
func end(c *websocket.Conn, err error) {
	var closed *websocket.CloseError
	if errors.As(err, &closed) {
		c.Close()
		return
	}
	if errors.Is(err, errNotUTF8) {
		sendClose(c, websocket.CloseInvalidFramePayloadData)
	}
	if errors.Is(err, websocket.ErrReadLimit) {
		// gorilla has done it already, but for a length of 2^63 and more; of two
		// close frames it sends the first only.
		sendClose(c, websocket.CloseMessageTooBig)
	}
	if corrupt := flate.CorruptInputError(0); errors.As(err, &corrupt) {
		sendClose(c, websocket.CloseInvalidFramePayloadData)
	}
	listener.Linger(c.NetConn())
}
