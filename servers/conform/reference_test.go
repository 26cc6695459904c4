package conform

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"connbench/servers/conform/exam"
	"connbench/servers/conform/frame"
	"connbench/servers/contract"
	"connbench/servers/internal/audience"
	"connbench/servers/internal/opening"
	"connbench/servers/internal/work"
)

// reference is a server that is as simple as a correct one can be: a goroutine
// a connection, blocking reads, blocking writes. Each of its defects makes it
// wrong in one way.
type reference struct {
	contract.Options
	defects     []string
	connections atomic.Int64
	running     sync.WaitGroup

	audience audience.Audience[frame.Frame]
	web      web

	// These exist for defects alone.
	global  sync.Mutex
	history []frame.Frame
	scratch []byte
	leaked  []net.Conn
	window  []byte // of all connections
	// leakedFiles are those of connections without WebSocket.
	leakedFiles []*os.File
}

func (s *reference) has(defect string) bool { return slices.Contains(s.defects, defect) }

// serveReference is main of the reference server.
func serveReference(defects, args []string) int {
	s := &reference{defects: defects}
	s.web.changed.L = &s.web.mu
	options, err := contract.ParseArgs("reference", args, os.Stderr)
	switch {
	case err != nil && s.has("usage-1"):
		return 1
	case err != nil && s.has("usage-silent"):
		return 2
	case err != nil && s.has("usage-serve"):
		options, _ = contract.ParseArgs("reference", nil, io.Discard)
	case err != nil:
		fmt.Fprintln(os.Stderr, "reference:", err)
		return 2
	}
	s.Options = options
	if s.has("never-ready") {
		select {}
	}
	if s.has("dead-at-start") {
		panic("dead at start")
	}
	if s.has("limit-fixed") {
		s.MaxMessage = 64 << 10
	}
	if pids := os.Getenv(pidsVariable); pids != "" {
		file, _ := os.OpenFile(pids, os.O_APPEND|os.O_WRONLY, 0)
		fmt.Fprintln(file, os.Getpid())
		file.Close()
	}

	terminate := make(chan os.Signal, 1)
	switch {
	case s.has("sigterm-default"):
	case s.has("sigterm-ignored"):
		signal.Ignore(syscall.SIGTERM)
	default:
		signal.Notify(terminate, syscall.SIGTERM)
	}

	var listeners []net.Listener
	var ready contract.Ready
	for _, address := range s.Listen {
		listener, err := s.listen(address)
		if err != nil {
			switch {
			case s.has("taken-0"):
				return 0
			case s.has("taken-mute"):
				fmt.Fprintln(os.Stderr, "reference: cannot listen")
			case s.has("taken-usage"):
				fmt.Fprintln(os.Stderr, "reference:", err)
				return 2
			default:
				fmt.Fprintln(os.Stderr, "reference:", err)
			}
			return 1
		}
		listeners = append(listeners, listener)
		ready.Addresses = append(ready.Addresses, listener.Addr().String())
	}
	if s.has("ready-order") {
		slices.Reverse(ready.Addresses)
	}
	for i, listener := range listeners {
		if i == 0 || !s.has("listen-first") {
			go s.accept(listener)
		}
	}
	if s.has("child-left") {
		child := exec.Command("sleep", "1000")
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := child.Start(); err != nil {
			panic(err)
		}
	}
	ready.Ready = true
	json.NewEncoder(os.Stdout).Encode(ready)

	ended := make(chan struct{})
	go func() {
		s.answer()
		if s.has("stdin-ignored") {
			select {}
		}
		close(ended)
	}()
	select {
	case <-ended:
	case <-terminate:
	}
	if s.has("end-waits") {
		s.running.Wait()
	}
	if s.has("end-1") {
		return 1
	}
	return 0
}

// answer answers questions until the end of standard input.
func (s *reference) answer() {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if lines.Text() == contract.QuestionSettle && !s.has("settle-lazy") {
			debug.FreeOSMemory()
		}
		var memory runtime.MemStats
		runtime.ReadMemStats(&memory)
		goroutines, cycles := int64(runtime.NumGoroutine()), int64(memory.NumGC)
		stats := contract.Stats{Connections: s.connections.Load(), Goroutines: &goroutines, GCCycles: &cycles}
		if s.has("stats-unnamed") {
			fmt.Println(`{"open": 0}`)
			continue
		}
		json.NewEncoder(os.Stdout).Encode(stats)
	}
}

func (s *reference) listen(address string) (net.Listener, error) {
	config := net.ListenConfig{KeepAlive: -1}
	if s.has("keepalive") {
		config.KeepAlive = time.Hour
	}
	config.SetMultipathTCP(s.has("mptcp"))
	network := "tcp"
	if s.has("ipv4-only") {
		network = "tcp4"
	}
	listener, err := config.Listen(context.Background(), network, address)
	if err != nil || s.has("backlog") {
		return listener, err
	}
	// A second listen(2) on a socket that listens changes its backlog.
	raw, err := listener.(*net.TCPListener).SyscallConn()
	if err != nil {
		return nil, err
	}
	return listener, errors.Join(raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), s.Backlog) }), err)
}

func (s *reference) accept(listener net.Listener) {
	for {
		tcp, err := listener.Accept()
		if err != nil {
			return
		}
		if s.has("nagle") {
			tcp.(*net.TCPConn).SetNoDelay(false)
		}
		if s.Protocol == contract.ProtocolHTTP || s.Protocol == contract.ProtocolTCP {
			s.running.Add(1)
			go s.servePlain(tcp.(*net.TCPConn))
			continue
		}
		// The request may be of 64 KiB; what follows it is not limited.
		limit := &io.LimitedReader{R: tcp, N: 64 << 10}
		if s.has("header-unlimited") {
			limit.N = math.MaxInt64
		}
		c := &session{s: s, tcp: tcp, limit: limit, r: bufio.NewReader(limit)}
		s.running.Add(1)
		if s.has("accept-serial") {
			if c.handshake() {
				go c.serve()
			}
			continue
		}
		go func() {
			if c.handshake() {
				c.serve()
			}
		}()
	}
}

// session is a connection.
type session struct {
	s     *reference
	tcp   net.Conn
	limit *io.LimitedReader
	r     *bufio.Reader

	message []byte       // fragments so far
	kind    frame.Opcode // of the fragmented message; 0: there is none

	member *audience.Member[frame.Frame] // nil unless messages go to all

	compressor // of [contract.Options.Compression]

	// These exist for defects alone.
	pings [][]byte
	held  []frame.Frame
	since int
}

func (c *session) handshake() (upgraded bool) {
	s := c.s
	if s.has("count-tcp") {
		s.connections.Add(1)
	}
	defer func() {
		if !upgraded {
			if s.has("count-tcp") {
				s.connections.Add(-1)
			}
			c.tcp.Close()
			s.running.Done()
		}
	}()
	s.global.Lock()
	c.since = len(s.history)
	s.global.Unlock()
	head, err := c.head()
	if err != nil {
		if s.has("refuse-hang") {
			select {}
		}
		fmt.Fprintf(c.tcp, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
		return false
	}
	c.limit.N = math.MaxInt64
	r, refusal := opening.Read(head)
	if refusal != 0 {
		r, refusal = opening.Read(s.forgive(head))
	}
	if refusal == 0 && s.isTooStrict(head) {
		refusal = http.StatusBadRequest
	}
	if refusal != 0 {
		if s.has("refuse-hang") {
			select {}
		}
		text := string(refusal.AppendTo(nil))
		if s.has("version-unnamed") {
			text = strings.Replace(text, "Sec-WebSocket-Version: 13\r\n", "", 1)
		}
		io.WriteString(c.tcp, text)
		return false
	}
	key := string(r.Key)
	if s.has("accept") {
		key = exam.ExampleKey
	}
	response := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + exam.AcceptOf(key) + "\r\n"
	if s.has("deflate") && bytes.Contains(head, []byte("Sec-WebSocket-Extensions")) {
		response += "Sec-WebSocket-Extensions: permessage-deflate\r\n"
	}
	if answer := c.negotiate(s, head); answer != "" {
		response += "Sec-WebSocket-Extensions: " + answer + "\r\n"
	}
	if s.has("subprotocol") {
		response += "Sec-WebSocket-Protocol: mine\r\n"
	}
	if s.has("pipelined-lost") {
		c.r.Discard(c.r.Buffered())
	}
	if s.Broadcast { // whoever is counted takes part
		io.WriteString(c.tcp, response+"\r\n")
		c.join()
		s.connections.Add(1)
		return true
	}
	if !s.has("count-tcp") {
		s.connections.Add(1)
	}
	io.WriteString(c.tcp, response+"\r\n") // the first read says whether it went
	return true
}

// head reads a request, without empty lines before it.
func (c *session) head() (head []byte, err error) {
	for {
		line, err := c.r.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		isEmpty := len(bytes.TrimRight(line, "\r\n")) == 0
		if len(head) > 0 || !isEmpty {
			head = append(head, line...)
		}
		if len(head) > 0 && isEmpty {
			return head, nil
		}
	}
}

// isTooStrict is for requests that a server must take.
func (s *reference) isTooStrict(head []byte) bool {
	return s.has("connection-list") && bytes.Contains(head, []byte("Connection: keep-alive, ")) ||
		s.has("target-path") && bytes.HasPrefix(head, []byte("GET http")) ||
		s.has("header-2k") && len(head) > 2<<10
}

// forgive mends what a server with a defect does not see in a request.
func (s *reference) forgive(head []byte) []byte {
	lines := strings.Split(strings.TrimRight(string(head), "\r\n"), "\r\n")
	r := exam.Request{Line: lines[0], Fields: lines[1:]}
	if s.has("post") {
		r.Line = strings.Replace(r.Line, "POST", "GET", 1)
	}
	if s.has("http-1.0") {
		r.Line = strings.Replace(r.Line, "HTTP/1.0", "HTTP/1.1", 1)
	}
	if s.has("upgrade") {
		r = r.With("Upgrade: websocket").With("Connection: Upgrade")
	}
	if s.has("key") || s.has("upgrade") {
		r = r.With("Sec-WebSocket-Key: " + exam.ExampleKey)
	}
	if s.has("version") || s.has("upgrade") {
		r = r.With("Sec-WebSocket-Version: 13")
	}
	if s.has("host") {
		r = r.With("Host: 127.0.0.1")
	}
	if s.has("content") {
		r = r.Without("Content-Length").Without("Transfer-Encoding")
	}
	return r.Bytes()
}

// violation is the code of the close frame with which a connection fails.
type violation uint16

func (v violation) Error() string { return fmt.Sprint("close code ", uint16(v)) }

var errClosed = errors.New("closed by both sides")

func (c *session) serve() {
	s := c.s
	if s.has("goroutine-leak") {
		go func() { select {} }()
	}
	if s.has("deadline") {
		c.tcp.SetReadDeadline(time.Now().Add(2 * time.Second))
	}
	var err error
	for err == nil {
		if s.has("flood-greedy") {
			err = c.frames()
		} else {
			err = c.frame()
		}
	}
	c.member.Leave()
	var code violation
	switch {
	case errors.As(err, &code) && !s.has("drop"):
		if s.has("limit-code") && code == 1009 || s.has("utf8-code") && code == 1007 {
			code = 1008
		}
		c.write(frame.OpClose, binary.BigEndian.AppendUint16(nil, uint16(code)))
	case err == io.EOF && s.has("half-open"):
		select {}
	case s.has("close-open") && err == errClosed:
		select {}
	case s.has("reset-exit") && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)):
		fmt.Fprintln(os.Stderr, "fatal error:", err)
		os.Exit(3)
	}
	if !s.has("count-up") {
		s.connections.Add(-1)
	}
	s.running.Done()
	if errors.Is(err, syscall.ECONNRESET) && s.has("file-leak") {
		s.global.Lock()
		s.leaked = append(s.leaked, c.tcp)
		s.global.Unlock()
		return
	}
	c.tcp.Close()
}

// frames keeps others from being served while there is more to read.
func (c *session) frames() error {
	if _, err := c.r.Peek(1); err != nil {
		return err
	}
	c.s.global.Lock()
	defer c.s.global.Unlock()
	for {
		if err := c.frame(); err != nil || c.r.Buffered() == 0 {
			return err
		}
		// More may be on its way.
		c.tcp.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		_, err := c.r.Peek(c.r.Buffered() + 1)
		c.tcp.SetReadDeadline(time.Time{})
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return nil
		}
	}
}

// frame reads one frame and acts upon it.
func (c *session) frame() error {
	s := c.s
	var head [14]byte
	if _, err := io.ReadFull(c.r, head[:1]); err != nil {
		return err
	}
	if s.has("frame-lock") {
		s.global.Lock()
		defer s.global.Unlock()
	}
	if _, err := io.ReadFull(c.r, head[1:2]); err != nil {
		return err
	}
	op, last, reserved := frame.Opcode(head[0]&0xF), head[0]&0x80 != 0, head[0]>>4&7
	compressed := reserved == frame.RSV1 && c.deflates && (op == frame.OpText || op == frame.OpBinary || s.has("deflate-ping"))
	if compressed {
		reserved = 0
		if !op.Control() {
			c.isCompressed = true
		}
	} else if op == frame.OpText || op == frame.OpBinary {
		c.isCompressed = false
	}
	masked, length := head[1]&0x80 != 0, uint64(head[1]&0x7F)
	switch {
	case !masked && !s.has("unmasked"),
		reserved != 0 && !s.has("reserved-bits"),
		op.Control() && length > 125 && !s.has("control-oversized"),
		op.Control() && !last && !s.has("control-fragmented"),
		op > frame.OpBinary && op < frame.OpClose && !s.has("reserved-opcodes"),
		op > frame.OpPong && !s.has("reserved-opcodes"),
		op == frame.OpContinuation && c.kind == 0 && !s.has("continuation-alone"),
		(op == frame.OpText || op == frame.OpBinary) && c.kind != 0 && !s.has("fragments-interrupted"):
		return violation(1002)
	}
	switch length {
	case 126:
		if _, err := io.ReadFull(c.r, head[:2]); err != nil {
			return err
		}
		length = uint64(binary.BigEndian.Uint16(head[:2]))
	case 127:
		if _, err := io.ReadFull(c.r, head[:8]); err != nil {
			return err
		}
		length = binary.BigEndian.Uint64(head[:8])
	}
	limit := uint64(s.MaxMessage)
	so := uint64(len(c.message))
	switch {
	case s.has("limit-none"):
		limit = math.MaxInt64
	case s.has("limit-exclusive"):
		limit--
	case s.has("limit-fragments"):
		so = 0
	}
	if !op.Control() && so+length > limit {
		return violation(1009)
	}
	var mask [4]byte
	if masked {
		if _, err := io.ReadFull(c.r, mask[:]); err != nil {
			return err
		}
	}
	payload, err := io.ReadAll(io.LimitReader(c.r, int64(length)))
	if err == nil && uint64(len(payload)) < length {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	frame.Mask(payload, mask)
	if s.has("burst-lost") {
		c.r.Discard(c.r.Buffered())
	}
	if s.has("work-frames") {
		work.Do(s.Work())
	}
	switch op {
	case frame.OpPing:
		return c.ping(payload)
	case frame.OpPong:
		if s.has("pong-answered") {
			return c.write(frame.OpPong, payload)
		}
		return nil
	case frame.OpClose:
		return c.close(payload)
	case frame.OpContinuation, frame.OpText, frame.OpBinary:
		return c.data(op, last, payload)
	}
	return nil // a reserved opcode, ignored
}

func (c *session) ping(payload []byte) error {
	switch {
	case c.s.has("pong-none"):
		return nil
	case c.s.has("pong-empty"):
		payload = nil
	case c.s.Broadcast && c.s.has("broadcast-pongs"):
		c.publish(frame.Frame{Op: frame.OpPong, Payload: payload, Bare: true})
		return nil
	case c.s.has("pong-late") && c.kind != 0:
		c.pings = append(c.pings, payload)
		return nil
	}
	return c.write(frame.OpPong, payload)
}

func (c *session) close(payload []byte) error {
	s := c.s
	if s.has("close-none") {
		return errClosed
	}
	code := uint16(exam.NoCode)
	if len(payload) >= 2 {
		code = binary.BigEndian.Uint16(payload)
	}
	valid := code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999
	switch {
	case len(payload) > 0 && !valid && !s.has("close-invalid"):
		return violation(1002)
	case len(payload) > 2 && !utf8.Valid(payload[2:]) && !s.has("close-utf8"):
		return violation(1007)
	}
	answer := payload[:min(len(payload), 2)]
	if s.has("close-code") && len(payload) > 0 {
		answer = []byte{3, 0xF3} // 1011
	}
	if err := c.write(frame.OpClose, answer); err != nil {
		return err
	}
	if s.has("close-more") {
		return nil
	}
	return errClosed
}

func (c *session) data(op frame.Opcode, last bool, payload []byte) error {
	s := c.s
	if op != frame.OpContinuation {
		c.kind = op
	}
	if s.has("fragments-lost") {
		c.message = nil
	}
	c.message = append(c.message, payload...)
	if s.has("utf8-fragment") && c.kind == frame.OpText && !utf8.Valid(payload) {
		return violation(1007)
	}
	if !last {
		return nil
	}
	kind, message := c.kind, c.message
	c.kind, c.message = 0, nil
	if c.deflates && (c.isCompressed || s.has("deflate-always")) {
		var err error
		if message, err = c.inflate(s, message); err != nil {
			return err
		}
	}
	if s.Broadcast && s.has("broadcast-unchecked") && !utf8.Valid(message) {
		c.publish(frame.Frame{Op: kind, Payload: message, Bare: true})
	}
	if kind == frame.OpText && !utf8.Valid(message) && !s.has("utf8-none") {
		return violation(1007)
	}
	if kind == 0 {
		kind = frame.OpBinary // a continuation of nothing
	}
	if kind == frame.OpText && s.has("text-as-binary") {
		kind = frame.OpBinary
	}
	if s.has("crosstalk") {
		// A buffer that all connections share.
		s.global.Lock()
		s.scratch = append(s.scratch[:0], message...)
		s.global.Unlock()
		time.Sleep(time.Millisecond)
		s.global.Lock()
		message = slices.Clone(s.scratch)
		s.global.Unlock()
	}
	if !s.has("work-none") {
		work.Do(s.Work())
	}
	if s.has("large-drop") && len(message) > 16<<20 {
		return errClosed
	}
	if s.Broadcast {
		c.publish(frame.Frame{Op: kind, Payload: message, Bare: true})
		return nil
	}
	if err := c.write(kind, message); err != nil {
		return err
	}
	for _, ping := range c.pings {
		if err := c.write(frame.OpPong, ping); err != nil {
			return err
		}
	}
	c.pings = nil
	return nil
}

// join makes c one of those that messages go to.
func (c *session) join() {
	s := c.s
	send := func(f frame.Frame) error { return c.write(f.Op, f.Payload) }
	drop := func() { c.tcp.Close() }
	switch {
	case s.has("broadcast-blocking"):
		c.member = s.audience.JoinInline(send)
	case s.has("broadcast-hoards"):
		// An audience of its own has no bound.
		more := make(chan frame.Frame, 1<<20)
		go func() {
			for f := range more {
				send(f)
			}
		}()
		c.member = s.audience.JoinInline(func(f frame.Frame) error { more <- f; return nil })
	default:
		c.member = s.audience.Join(send, drop)
	}
	if s.has("broadcast-past") {
		s.global.Lock()
		defer s.global.Unlock()
		for _, f := range s.history[c.since:] {
			send(f)
		}
	}
}

// publish sends a message to all.
func (c *session) publish(f frame.Frame) {
	s := c.s
	if s.has("broadcast-order") && c.r.Buffered() > 0 {
		c.held = append(c.held, f)
		return
	}
	frames := append(c.held, f)
	c.held = nil
	slices.Reverse(frames)
	for _, f := range frames {
		if s.has("broadcast-past") {
			s.global.Lock()
			s.history = append(s.history, f)
			s.global.Unlock()
		}
		if s.has("broadcast-others") {
			c.member.Leave()
		}
		s.audience.Publish(f, len(f.Payload))
		if s.has("broadcast-twice") {
			s.audience.Publish(f, len(f.Payload))
		}
	}
	c.member.Flush()
}

func (c *session) write(op frame.Opcode, payload []byte) error {
	s := c.s
	f := frame.Frame{Op: op, Bare: !s.has("masked")}
	if c.deflates && (!op.Control() || s.has("deflate-pong")) && !s.has("deflate-never") && !(s.has("deflate-large") && len(payload) < 4000) {
		f.Reserved, payload = frame.RSV1, c.deflate(s, payload)
	}
	length := len(payload)
	if s.has("length-16") {
		length &= 0xFFFF
	}
	data := append(f.AppendHeader(nil, uint64(length), [4]byte{}), payload...)
	switch {
	case s.has("unread-lost"):
		c.tcp.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		if _, err := c.tcp.Write(data); !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		return nil
	case s.has("write-lock"):
		s.global.Lock()
		defer s.global.Unlock()
	}
	_, err := c.tcp.Write(data)
	return err
}
