package conform

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"

	"connbench/servers/contract"
	"connbench/servers/internal/audience"
	"connbench/servers/internal/opening"
)

// web is what the reference server has for messages of HTTP that go to all.
type web struct {
	streams audience.Audience[[]byte]

	mu      sync.Mutex
	changed sync.Cond
	board   audience.Board

	// These exist for defects alone.
	held    [][]byte
	all     [][]byte
	current []byte
	missed  bool
}

// answer answers a request. It is false at the end of the connection.
func (w *web) answer(s *reference, c *net.TCPConn, in *bufio.Reader, r *http.Request, content []byte) (more bool) {
	switch {
	case len(content) > 0:
		w.post(s, content, in.Buffered() > 0)
	case r.Method == http.MethodGet && r.Header.Get("Accept") == contract.EventStream:
		w.stream(s, c, in)
		return false
	case r.Method == http.MethodGet && strings.HasPrefix(r.Header.Get("Prefer"), "wait=") && !s.has("polls-at-once"):
		return w.poll(s, c, in, opening.NumberIn(r.Header.Get("If-None-Match")))
	}
	w.mu.Lock()
	newest := w.board.Newest()
	w.mu.Unlock()
	if s.has("polls-past") && newest > 0 {
		newest--
	}
	_, err := c.Write(s.answerTo(content, tag(newest)))
	return err == nil && (!r.Close || s.has("last-kept"))
}

func tag(number uint64) string { return fmt.Sprintf("ETag: \"%d\"\r\n", number) }

// post sends content to all that hear. more says that the sender's next request has come.
func (w *web) post(s *reference, content []byte, more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held = append(w.held, content); more && s.has("posts-turned") {
		return
	}
	slices.Reverse(w.held)
	for _, content := range w.held {
		w.board.Add(content)
		if s.has("polls-hoard") {
			w.all = append(w.all, content)
		}
		w.current = event(content)
		w.streams.Publish(w.current, len(content))
		if s.has("events-twice") {
			w.streams.Publish(w.current, len(content))
		}
	}
	w.held = nil
	w.changed.Broadcast()
}

func event(content []byte) []byte {
	text := fmt.Sprintf("data: %s\n\n", content)
	return fmt.Appendf(nil, "%x\r\n%s\r\n", len(text), text)
}

// stream sends events until the peer is gone.
func (w *web) stream(s *reference, c *net.TCPConn, in *bufio.Reader) {
	send := func(event []byte) error {
		_, err := c.Write(event)
		return err
	}
	w.mu.Lock()
	fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n", contract.EventStream)
	if s.has("events-past") && w.current != nil {
		c.Write(w.current)
	}
	var member *audience.Member[[]byte]
	switch {
	case s.has("events-missed") && !w.missed:
		w.missed = true
	case s.has("events-blocking"):
		member = w.streams.JoinInline(send)
	default:
		member = w.streams.Join(send, func() { c.Close() })
	}
	w.mu.Unlock()
	io.Copy(io.Discard, in)
	member.Leave()
}

// poll answers with the message behind a number, as soon as there is one.
func (w *web) poll(s *reference, c *net.TCPConn, in *bufio.Reader, number uint64) (more bool) {
	var gone bool
	next := make(chan struct{}) // has come, or the connection has ended
	go func() {
		defer close(next)
		if _, err := in.Peek(1); err != nil {
			w.mu.Lock()
			defer w.mu.Unlock()
			gone = true
			w.changed.Broadcast()
		}
	}()
	w.mu.Lock()
	number = min(number, w.board.Newest())
	message, its := w.board.After(number)
	for ; its == 0 && !gone; message, its = w.board.After(number) {
		w.changed.Wait()
	}
	switch {
	case s.has("polls-hoard") && its > 0:
		message, its = w.all[number], number+1
	case s.has("polls-newest") && its > 0:
		its = w.board.Newest()
		message, _ = w.board.After(its - 1)
	}
	w.mu.Unlock()
	if its > 0 {
		c.Write(s.answerTo(message, tag(its)))
	}
	<-next
	return its > 0
}
