package session

import (
	"strings"
	"testing"

	"connbench/servers/internal/audience"
)

const (
	streamRequest = "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
	streamHead    = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)

// pollFor is a request for the message behind a number.
func pollFor(tag string) string {
	return "GET / HTTP/1.1\r\nHost: localhost\r\nprefer: respond-async, Wait = 9\r\nIf-None-Match: " + tag + "\r\n\r\n"
}

// numbered is the answer to a GET where messages go to all.
func numbered(content, length, number string, fields ...string) string {
	return strings.Replace(answer(content, length, fields...), "\r\n", "\r\nETag: \""+number+"\"\r\n", 1)
}

// closed is a request with Connection: close.
func closed(request string) string {
	return strings.TrimSuffix(request, "\r\n") + "Connection: close\r\n\r\n"
}

// Over HTTP a stream has each message as an event, a poll has the one behind that which it names,
// at once or when it comes, and the sender has its own content.
func TestHearOverHTTP(t *testing.T) {
	var published []Publication
	rules := httpRules
	rules.Board = new(audience.Board)
	rules.Publish = func(message []byte) { published = append(published, rules.Publication(message)) }
	var plain, stream, poll, closing, last Session
	for _, step := range []struct {
		s       *Session
		in, out string
		next    Next
		hears   string // of what is published then
	}{
		{s: &plain, in: get, out: numbered("", "0", "0")},
		{s: &stream, in: streamRequest, out: streamHead},
		{s: &stream, in: get},
		{s: &poll, in: pollFor(`"0"`)},
		{s: &poll, in: get},
		{s: &plain, in: post("hello", "5"), out: answer("hello", "5")},
		{s: &plain},
		{s: &stream, hears: "d\r\ndata: hello\n\n\r\n"},
		{s: &poll, hears: numbered("hello", "5", "1")},
		{s: &poll},
		{s: &plain, in: post("you", "3"), out: answer("you", "3")},
		{s: &stream, hears: "b\r\ndata: you\n\n\r\n"},
		{s: &poll, in: pollFor(`"0"`) + pollFor(`"1"`) + get, out: numbered("hello", "5", "1") + numbered("you", "3", "2") + numbered("", "0", "2")},
		{s: &poll, in: pollFor("none")},
		{s: &poll, hears: numbered("you", "3", "2")},
		{s: &plain, in: post("", "0"), out: numbered("", "0", "2")},
		{s: &closing, in: closed(pollFor(`W/"1"`)), out: numbered("you", "3", "2", "Connection: close"), next: Close},
		{s: &plain, in: closed(pollFor(`"2"`)), out: "HTTP/1.1 304 Not Modified\r\nETag: \"2\"\r\nConnection: close\r\n\r\n", next: Close},
		{s: &last, in: closed(streamRequest), out: streamHead},
	} {
		rest, out, next := step.s.Feed([]byte(step.in), nil, rules)
		if undated(out) != step.out || next != step.next || len(rest) > 0 {
			t.Errorf("%q: got %q, then %v, left over: %q; want %q, then %v", step.in, out, next, rest, step.out, step.next)
		}
		if step.in == "" {
			if heard := undated(step.s.Hear(published[len(published)-1])); heard != step.hears {
				t.Errorf("heard %q, want %q", heard, step.hears)
			}
		}
	}
	if len(published) != 2 || stream.partial != nil || poll.partial != nil || !stream.Upgraded() || stream.Ended() {
		t.Errorf("%d messages are published, streaming: %+v, polling: %+v", len(published), stream, poll)
	}
}
