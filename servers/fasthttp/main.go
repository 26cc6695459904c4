// Command fasthttp is an echo server of WebSocket and HTTP with a goroutine for each connection:
// valyala/fasthttp and fasthttp/websocket.
package main

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/fasthttp/websocket"
	"github.com/klauspost/compress/flate"
	"github.com/valyala/fasthttp"

	"connbench/servers/contract"
	"connbench/servers/internal/audience"
	"connbench/servers/internal/buffer"
	"connbench/servers/internal/lifecycle"
	"connbench/servers/internal/listener"
	"connbench/servers/internal/opening"
	"connbench/servers/internal/work"
)

func main() {
	lifecycle.Main(start, contract.ProtocolWebSocket, contract.ProtocolHTTP, contract.CompressionDeflate)
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
	s.upgrader = websocket.FastHTTPUpgrader{CheckOrigin: anyOrigin, EnableCompression: o.Compression != ""}
	s.compressed = o.Compression != ""
	s.next = s.echoWhole
	web := &fasthttp.Server{
		Handler:               s.serve,
		ReadBufferSize:        opening.MaxBytes, // of a request
		Concurrency:           1 << 30,          // connections: its own number is 262,144
		NoDefaultServerHeader: true,
		Logger:                silent{},
	}
	if o.Class == "tuned" {
		web.ReduceMemoryUsage = true
		// A buffer holds a frame header and a short message; longer payloads are read past
		// it. The write buffer is held only while something is written.
		s.upgrader.ReadBufferSize = 256
		s.upgrader.WriteBufferSize = 1024
		s.upgrader.WriteBufferPool = &sync.Pool{}
		s.next = s.echoPooled
	}
	if o.Protocol == contract.ProtocolHTTP {
		web.Handler, web.ConnState, web.MaxRequestBodySize = s.echoContent, s.count, o.MaxMessage
	}
	if listeners, err = listener.Secure(listeners, o.TLS); err != nil {
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

// echoContent sends back the content of an HTTP request.
func (s *server) echoContent(request *fasthttp.RequestCtx) {
	content := request.PostBody()
	if len(content) > 0 {
		work.Do(s.work)
	}
	request.SetBody(content)
}

// count counts HTTP connections.
func (s *server) count(_ net.Conn, state fasthttp.ConnState) {
	switch state {
	case fasthttp.StateNew:
		s.open.Add(1)
	case fasthttp.StateClosed:
		s.open.Add(-1)
	}
}

// anyOrigin lets in every page: the suite's clients are no browsers.
func anyOrigin(*fasthttp.RequestCtx) bool { return true }

type server struct {
	upgrader   websocket.FastHTTPUpgrader
	maxMessage int64
	work       time.Duration
	open       atomic.Int64
	next       func(*websocket.Conn, *member) error
	// compressed says that messages may be.
	compressed bool
	// audience is nil unless messages go to all connections.
	audience *audience.Audience[*websocket.PreparedMessage]
}

// serve upgrades a request. fasthttp checks less of it than the contract asks for.
func (s *server) serve(request *fasthttp.RequestCtx) {
	header := &request.Request.Header
	protocol := string(header.Protocol())
	if !strings.HasPrefix(protocol, "HTTP/1.") || protocol == "HTTP/1.0" ||
		header.ContentLength() > 0 || len(header.Host()) == 0 || !opening.IsKey(header.Peek("Sec-WebSocket-Key")) {
		request.Error(fasthttp.StatusMessage(fasthttp.StatusBadRequest), fasthttp.StatusBadRequest)
		request.SetConnectionClose()
		return
	}
	// The library looks at the first field of a name alone, and not past an empty element.
	for field, token := range map[string]string{"Connection": "upgrade", "Upgrade": "websocket"} {
		for _, list := range header.PeekAll(field) {
			if opening.Has([]string{string(list)}, token) {
				header.Set(field, token)
				break
			}
		}
	}
	s.upgrader.Upgrade(request, s.read) // answers in case of an error
}

func (s *server) read(c *websocket.Conn) {
	member := s.join(c)
	s.open.Add(1)
	defer s.open.Add(-1)
	c.SetReadLimit(s.maxMessage)
	for {
		if err := s.next(c, member); err != nil {
			member.Leave()
			end(c, err)
			return
		}
	}
}

// echoWhole reads as the library's documentation shows.
func (s *server) echoWhole(c *websocket.Conn, member *member) error {
	kind, message, err := s.readMessage(c)
	if err != nil {
		return err
	}
	return s.echo(c, member, kind, message)
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

func (s *server) echoPooled(c *websocket.Conn, member *member) error {
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

var errNotUTF8 = errors.New("text message is not UTF-8")

func (s *server) echo(c *websocket.Conn, member *member, kind int, message []byte) error {
	if int64(len(message)) > s.maxMessage { // it was compressed
		return websocket.ErrReadLimit
	}
	// The library leaves this check to its user.
	if kind == websocket.TextMessage && !utf8.Valid(message) {
		sendClose(c, websocket.CloseInvalidFramePayloadData)
		return errNotUTF8
	}
	work.Do(s.work)
	if member != nil {
		return s.publish(member, kind, message)
	}
	return c.WriteMessage(kind, message)
}

// member is a connection that messages of all go to.
type member = audience.Member[*websocket.PreparedMessage]

// join makes c one of those that messages go to, if they go to all.
func (s *server) join(c *websocket.Conn) *member {
	if s.audience == nil {
		return nil
	}
	return s.audience.Join(c.WritePreparedMessage, func() { listener.Reset(unwrapped(c.NetConn())) })
}

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

// end closes c after err. The library has answered a close, and told the peer of what it
// found wrong. fasthttp closes the connection when the handler returns.
func end(c *websocket.Conn, err error) {
	var closed *websocket.CloseError
	if errors.As(err, &closed) {
		return
	}
	if errors.Is(err, websocket.ErrReadLimit) {
		sendClose(c, websocket.CloseMessageTooBig)
	}
	if corrupt := flate.CorruptInputError(0); errors.As(err, &corrupt) {
		sendClose(c, websocket.CloseInvalidFramePayloadData)
	}
	listener.Linger(unwrapped(c.NetConn()))
}

// unwrapped is the connection below fasthttp's wrapper of hijacked ones.
func unwrapped(c net.Conn) net.Conn {
	for {
		wrapper, is := c.(interface{ UnsafeConn() net.Conn })
		if !is {
			return c
		}
		c = wrapper.UnsafeConn()
	}
}

// silent drops what fasthttp says of peers: standard output belongs to the contract.
type silent struct{}

func (silent) Printf(string, ...any) {}
