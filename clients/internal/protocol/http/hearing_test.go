package http

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"connbench/clients/control"
	"connbench/clients/internal/protocol"
	"connbench/clients/internal/protocol/protocoltest"
)

// newHearing returns a protocol whose connection 0 publishes, and whose other connections hear.
func newHearing(t testing.TB, way string) (*protocoltest.Wire, *Protocol) {
	w := protocoltest.New(t)
	config := w.Config(control.Opening{}, target)
	config.Hear = way
	p := New(config)
	p.Prepare(protocol.Data, 5)
	return w, p
}

// text is a message as it is sent and heard.
func text(message string) string { return base64.StdEncoding.EncodeToString([]byte(message)) }

// feedInPieces hands a connection that is being opened what comes, in pieces of a size.
func feedInPieces(w *protocoltest.Wire, p *Protocol, i int, all string, size int) {
	p.Open(i)
	opened := false
	for rest := []byte(all); len(rest) > 0 && !w.Gone; rest = rest[min(size, len(rest)):] {
		piece := bytes.Clone(rest[:min(size, len(rest))])
		if opened {
			p.Data(i, piece)
		} else {
			p.Answer(i, piece)
			opened = len(w.Events) > 0
		}
		clear(piece) // it belongs to the engine
	}
}

const streamHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

// chunk is a chunk of a stream.
func chunk(content string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(content), content) }

// Events are read whichever way they are written and cut, between chunks and within.
func TestEvents(t *testing.T) {
	long := "data: " + text("four five") + "\n\n"
	all := streamHead + chunk("data: "+text("one")+"\n\n") + chunk(": a comment\n\n\n") +
		chunk("event: x\r\nid: 7\r\ndata:"+text("two")+"\r\n\r\ndata: "+text("three")+"\n\n") +
		chunk(long[:9]) + chunk(long[9:len(long)-1]) + chunk(long[len(long)-1:]) +
		chunk("data: "+text("sixsix")[:4]+"\ndata: "+text("sixsix")[4:]+"\n\n") + chunk("retry: 5\n\n")
	for size := 1; size <= len(all); size++ {
		w, p := newHearing(t, control.HearEvents)
		feedInPieces(w, p, 3, all, size)
		split := text("sixsix")[:4] + "\n" + text("sixsix")[4:] // two lines are no message
		w.Expect("opened", "received 0 one.", "received 0 two.", "received 0 three.", "received 0 four five.", "received 0 sixsix"+split+".")
		if p.Held() != 0 {
			t.Errorf("in pieces of %d: %d entries are held", size, p.Held())
		}
		if got := requests(t, w); strings.Join(got, "|") != "GET 127.0.0.1:80 /  " || !strings.Contains(string(w.Sent), "\r\nAccept: text/event-stream\r\n") {
			t.Errorf("sent %q", w.Sent)
		}
	}
}

// bodyOf is the answer to a GET where messages go to all.
func bodyOf(number int, body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nETag: \"%d\"\r\nContent-Length: %d\r\n\r\n%s", number, len(body), body)
}

// Each poll names the message before, and is sent when that has come.
func TestPolls(t *testing.T) {
	chunks := strings.Replace(chunked(text("two")[:2], text("two")[2:]), "\r\n", "\r\netag: \"9\"\r\n", 1)
	all := bodyOf(7, "") + bodyOf(8, text("one")) + chunks + bodyOf(12, text("three"))
	for size := 1; size <= len(all); size++ {
		w, p := newHearing(t, control.HearPolls)
		feedInPieces(w, p, 3, all, size)
		w.Expect("opened", "received 0 one.", "received 0 two.", "received 0 three.")
		if p.Held() != 0 {
			t.Errorf("in pieces of %d: %d entries are held", size, p.Held())
		}
		if n := len(requests(t, w)); n != 5 {
			t.Errorf("%d requests: %q", n, w.Sent)
		}
		rest := string(w.Sent)
		for _, number := range []string{"7", "8", "9", "12"} {
			_, after, found := strings.Cut(rest, "\r\nPrefer: wait=86400\r\nIf-None-Match: \""+number+"\"\r\n\r\n")
			if rest = after; !found {
				t.Fatalf("in pieces of %d: no poll behind %s in %q", size, number, w.Sent)
			}
		}
	}
}

// A poll that is taken in part goes on when there is room.
func TestPollInPieces(t *testing.T) {
	w, p := newHearing(t, control.HearPolls)
	p.Open(3)
	w.Room = 10
	p.Answer(3, []byte(bodyOf(0, "")))
	if p.Unfinished(3) {
		t.Error("a poll is taken for a message")
	}
	w.Room = 1 << 10
	p.Writable(3)
	w.Expect("opened")
	if n := len(requests(t, w)); n != 2 {
		t.Errorf("%d requests: %q", n, w.Sent)
	}
	w.Err = http.ErrServerClosed
	p.Data(3, []byte(bodyOf(1, text("one"))))
	w.Expect("received 0 one.", "failed send "+http.ErrServerClosed.Error())
}

// The first connection publishes, and what answers it is nothing that it hears.
func TestPublish(t *testing.T) {
	for _, way := range control.Hearings {
		w, p := newHearing(t, way)
		p.Open(0)
		p.Answer(0, []byte(bodyOf(0, "")))
		p.Send(0, []byte("hello"), 1)
		p.Send(0, []byte("again!"), 2)
		p.Data(0, []byte(answer(text("hello"))+answer("")))
		w.Expect("opened")
		want := "GET 127.0.0.1:80 /  |POST 127.0.0.1:80 /  " + text("hello") + "|POST 127.0.0.1:80 /  " + text("again!")
		if got := strings.Join(requests(t, w), "|"); got != want || p.Held() != 0 {
			t.Errorf("%s: sent %q, %d entries are held", way, got, p.Held())
		}
		p.Data(0, []byte(answer("")))
		w.Expect("failed  bad frame") // nobody asked
		for i, want := range [][2]bool{{true, false}, {false, true}, {false, true}} {
			if publishes, hears := p.Role(i); publishes != want[0] || hears != want[1] {
				t.Errorf("%s: connection %d publishes: %v, hears: %v", way, i, publishes, hears)
			}
		}
	}
	_, p := newWire(t, control.Opening{})
	if publishes, hears := p.Role(7); !publishes || !hears {
		t.Errorf("publishes: %v, hears: %v", publishes, hears)
	}
}

// What lets nobody hear opens no connection, and what is no message ends one or is handed on.
func TestBadHearing(t *testing.T) {
	for name, test := range map[string]struct {
		way, text string
		want      []string
	}{
		"no stream":            {control.HearEvents, answer(""), []string{"failed  bad answer"}},
		"a stream with an end": {control.HearEvents, streamHead + chunk("data: "+text("one")+"\n\n") + "0\r\n\r\n", []string{"opened", "received 0 one.", "failed  bad frame"}},
		"an empty stream":      {control.HearEvents, streamHead + "0\r\n\r\n", []string{"opened", "failed  bad frame"}},
		"no base64":            {control.HearEvents, streamHead + chunk("data: one!\n\n"), []string{"opened", "received 0 one!."}},
		"base64 and more":      {control.HearPolls, bodyOf(0, "") + bodyOf(1, text("one")+"!"), []string{"opened", "received 0 one" + text("one") + "!."}},
		"no number":            {control.HearPolls, answer(""), []string{"failed  bad answer"}},
		"no number later":      {control.HearPolls, bodyOf(0, "") + answer(text("one")), []string{"opened", "received 0 one.", "failed  bad frame"}},
		"another tag":          {control.HearPolls, strings.Replace(bodyOf(0, ""), `"0"`, `"0-gzip"`, 1), []string{"failed  bad answer"}},
		"another status":       {control.HearPolls, bodyOf(0, "") + "HTTP/1.1 304 Not Modified\r\n\r\n", []string{"opened", "failed  rejected"}},
	} {
		for _, size := range []int{1, len(test.text)} {
			t.Run(fmt.Sprintf("%s in pieces of %d", name, size), func(t *testing.T) {
				w, p := newHearing(t, test.way)
				feedInPieces(w, p, 3, test.text, size)
				w.Expect(test.want...)
			})
		}
	}
}

// An event or a body that never ends is not kept for ever.
func TestEndlessText(t *testing.T) {
	const piece = 1 << 20
	many := strings.Repeat("A", piece)
	for way, begin := range map[string]string{control.HearEvents: streamHead, control.HearPolls: bodyOf(0, "") + strings.Replace(bodyOf(1, ""), "Length: 0", "Length: 999999999", 1)} {
		w, p := newHearing(t, way)
		feedInPieces(w, p, 3, begin, len(begin))
		for n := 0; !w.Gone; n++ {
			if n > mostText/piece {
				t.Fatalf("%s: %d MiB are kept", way, n)
			}
			if way == control.HearEvents {
				p.Data(3, []byte(chunk(many)))
			} else {
				p.Data(3, []byte(many))
			}
		}
		w.Expect("opened", "failed  bad frame")
	}
}

// However a stream is cut, the same comes of it, and little is kept.
func FuzzEvents(f *testing.F) {
	f.Add([]byte("data: "+text("one")+"\n\ndata: "+text("two")+"\r\n\r\n"), 3)
	f.Add([]byte("\n\r\n\r\r\n: x\n\ndata\n\n"), 1)
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		feed := func(size int) []string {
			w, p := newHearing(t, control.HearEvents)
			for rest := b; len(rest) > 0; rest = rest[min(size, len(rest)):] {
				p.Data(3, []byte(chunk(string(rest[:min(size, len(rest))]))))
			}
			return w.Events
		}
		whole, pieces := feed(len(b)+1), feed(1+int(uint(size)%uint(len(b)+1)))
		if strings.Join(whole, "|") != strings.Join(pieces, "|") {
			t.Errorf("whole %q, in pieces %q", whole, pieces)
		}
	})
}
