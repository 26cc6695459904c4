package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"connbench/servers/contract"
	"connbench/servers/internal/audience"
	"connbench/servers/internal/opening"
)

// hub has what is needed for messages that go to all connections.
type hub struct {
	streams audience.Audience[[]byte]

	mu    sync.Mutex
	board audience.Board
	// changed is closed when the board gets another message, and another channel takes its place.
	changed chan struct{}
}

func newHub() *hub { return &hub{changed: make(chan struct{})} }

// publish sends a message to all that hear.
func (h *hub) publish(message []byte) {
	h.mu.Lock()
	h.board.Add(message)
	close(h.changed)
	h.changed = make(chan struct{})
	h.mu.Unlock()
	h.streams.Publish(fmt.Appendf(nil, "data: %s\n\n", message), len(message))
}

// serve answers a request without content.
func (h *hub) serve(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodGet && isIn(r.Header.Values("Accept"), opening.AcceptsEvents):
		h.stream(w, r)
	case r.Method == http.MethodGet && r.Header.Get("If-None-Match") != "" && isIn(r.Header.Values("Prefer"), opening.PrefersWait):
		h.poll(w, r)
	default:
		h.mu.Lock()
		newest := h.board.Newest()
		h.mu.Unlock()
		answer(w, nil, newest)
	}
}

// isIn says whether the values of a field have an element of some kind.
func isIn(values []string, is func([]byte) bool) bool {
	return slices.ContainsFunc(values, func(value string) bool { return is([]byte(value)) })
}

// answer answers a request with a message or nothing, and a number.
func answer(w http.ResponseWriter, message []byte, number uint64) {
	w.Header().Set("ETag", fmt.Sprintf(`"%d"`, number))
	w.Write(message)
}

// stream sends events until the peer is gone.
func (h *hub) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", contract.EventStream)
	control := http.NewResponseController(w)
	ctx, end := context.WithCancel(r.Context())
	defer end()
	begun := make(chan struct{})
	member := h.streams.Join(func(event []byte) error {
		<-begun // the head goes first
		if _, err := w.Write(event); err != nil {
			return err
		}
		return control.Flush()
	}, func() {
		control.SetWriteDeadline(time.Now()) // or the stream would end as if it were whole
		end()
	})
	control.Flush()
	close(begun)
	<-ctx.Done()
	member.Leave()
}

// poll answers with the message behind the one that the request names, as soon as there is one.
func (h *hub) poll(w http.ResponseWriter, r *http.Request) {
	named := opening.NumberIn(r.Header.Get("If-None-Match"))
	for {
		h.mu.Lock()
		named = min(named, h.board.Newest()) // a request that names none waits for the next one
		message, number := h.board.After(named)
		changed := h.changed
		h.mu.Unlock()
		if number > 0 {
			answer(w, message, number)
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}
