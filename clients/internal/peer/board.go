package peer

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// Board is a handler of HTTP: what one connection posts, all others get that ask for a stream of
// events or for one message after the other.
type Board struct {
	// Spoil, if not nil, says what connection n of those that hear, counted from 0, gets in place of
	// message number k, counted from 0: itself, nothing, or several. A poll gets the first of several.
	Spoil func(n, k int, message string) []string
	// Abort, if it is positive, is the number of messages after which the connection that posts the
	// next one ends.
	Abort int

	mutex    sync.Mutex
	messages []string
	hearers  map[string]int // by address
	// changed is closed when there is another message, and another channel takes its place.
	changed chan struct{}
}

// NewBoard returns a board that does everything right.
func NewBoard() *Board { return &Board{hearers: map[string]int{}, changed: make(chan struct{})} }

// ServeHTTP implements [http.Handler].
func (b *Board) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	message, err := io.ReadAll(r.Body)
	switch {
	case err != nil:
	case len(message) > 0:
		b.publish(string(message))
		w.Write(message)
	case r.Header.Get("Accept") == "text/event-stream":
		b.stream(w, r)
	case strings.HasPrefix(r.Header.Get("Prefer"), "wait="):
		b.poll(w, r)
	default:
		b.number(w, b.posted())
	}
}

func (b *Board) publish(message string) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if b.Abort > 0 && len(b.messages) == b.Abort {
		panic(http.ErrAbortHandler)
	}
	b.messages = append(b.messages, message)
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *Board) posted() int {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return len(b.messages)
}

func (b *Board) number(w http.ResponseWriter, number int) {
	w.Header().Set("ETag", fmt.Sprintf(`"%d"`, number))
}

// next waits for message number k, and returns what a connection gets in its place.
func (b *Board) next(ctx context.Context, address string, k int) (instead []string, ok bool) {
	for {
		b.mutex.Lock()
		n, known := b.hearers[address]
		if !known {
			n = len(b.hearers)
			b.hearers[address] = n
		}
		messages, changed := b.messages, b.changed
		b.mutex.Unlock()
		switch {
		case k < len(messages) && b.Spoil == nil:
			return messages[k : k+1], true
		case k < len(messages):
			return b.Spoil(n, k, messages[k]), true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, false
		}
	}
}

func (b *Board) stream(w http.ResponseWriter, r *http.Request) {
	k := b.posted()
	w.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(w)
	for control.Flush() == nil {
		events, ok := b.next(r.Context(), r.RemoteAddr, k)
		if !ok {
			return
		}
		for _, event := range events {
			fmt.Fprintf(w, "data: %s\n\n", event)
		}
		k++
	}
}

func (b *Board) poll(w http.ResponseWriter, r *http.Request) {
	k, err := strconv.Atoi(strings.Trim(r.Header.Get("If-None-Match"), `"`))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for {
		answers, ok := b.next(r.Context(), r.RemoteAddr, k)
		if !ok {
			return
		}
		if k++; len(answers) > 0 {
			b.number(w, k)
			io.WriteString(w, answers[0])
			return
		}
	}
}
