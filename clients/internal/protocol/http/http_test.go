package http

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"connbench/clients/control"
	"connbench/clients/internal/protocol"
	"connbench/clients/internal/protocol/http1"
	"connbench/clients/internal/protocol/protocoltest"
)

var target = netip.MustParseAddrPort("127.0.0.1:80")

func newWire(t testing.TB, opening control.Opening) (*protocoltest.Wire, *Protocol) {
	w := protocoltest.New(t)
	p := New(w.Config(opening, target))
	p.Prepare(protocol.Data, 5)
	return w, p
}

// requests reads what was sent as net/http does.
func requests(t *testing.T, w *protocoltest.Wire) (list []string) {
	t.Helper()
	in := bufio.NewReader(bytes.NewReader(w.Sent))
	for {
		r, err := http.ReadRequest(in)
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatalf("%q: %v", w.Sent, err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Close || int64(len(body)) != r.ContentLength {
			t.Fatalf("%q: body %q, %v, closed: %v", w.Sent, body, err, r.Close)
		}
		list = append(list, fmt.Sprintf("%s %s %s %s %s", r.Method, r.Host, r.URL, r.Header.Get("X-Token"), body))
	}
}

func TestRequests(t *testing.T) {
	for name, test := range map[string]struct {
		opening control.Opening
		want    []string
	}{
		"plain":     {control.Opening{}, []string{"GET 127.0.0.1:80 /  ", "POST 127.0.0.1:80 /  hello"}},
		"given":     {control.Opening{Path: "/chat?a=1", Host: "example.test", Headers: []control.Header{{Name: "X-Token", Value: "t"}}}, []string{"GET example.test /chat?a=1 t ", "POST example.test /chat?a=1 t hello"}},
		"differing": {control.Opening{Path: "/room/{n}", Each: []control.EachHeader{{Name: "X-Token", Values: []string{"a", "b"}}}}, []string{"GET 127.0.0.1:80 /room/7 b ", "POST 127.0.0.1:80 /room/7 b hello"}},
	} {
		t.Run(name, func(t *testing.T) {
			w, p := newWire(t, test.opening)
			p.Open(7)
			if !p.Send(7, []byte("hello"), 1) {
				t.Error("a message is not whole")
			}
			if got := requests(t, w); strings.Join(got, "|") != strings.Join(test.want, "|") {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

func answer(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func chunked(chunks ...string) string {
	text := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, c := range chunks {
		text += fmt.Sprintf("%x;name=value\r\n%s\r\n", len(c), c)
	}
	return text + "0\r\nTrailer: x\r\n\r\n"
}

// Responses are read whichever way they are framed and cut.
func TestResponses(t *testing.T) {
	all := answer("welcome") + answer("hello") + chunked("hel", "lo") + "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + answer("") + chunked() +
		"HTTP/1.1 200\ncontent-length: 2\nContent-Length: 2\n\nok"
	for size := 1; size <= len(all); size++ {
		w, p := newWire(t, control.Opening{})
		p.Open(0)
		for range 5 {
			p.Send(0, []byte("hello"), 1)
		}
		opened := false
		for rest := []byte(all); len(rest) > 0; rest = rest[min(size, len(rest)):] {
			piece := bytes.Clone(rest[:min(size, len(rest))])
			if opened {
				p.Data(0, piece)
			} else {
				p.Answer(0, piece)
				opened = len(w.Events) > 0
			}
			clear(piece) // it belongs to the engine
		}
		w.Expect("opened", "received 0 hello.", "received 0 hello.", "received 0 .", "received 0 .", "received 0 ok.")
		if p.Held() != 0 {
			t.Errorf("in pieces of %d: %d entries are held", size, p.Held())
		}
	}
}

// A ping is a GET, and what answers it is any response; messages before and after it are not
// mixed up with it.
func TestPings(t *testing.T) {
	w, p := newWire(t, control.Opening{})
	p.Send(0, []byte("hello"), 1)
	p.Data(0, []byte(answer("hello")))
	p.Prepare(protocol.Ping, 3)
	for n, payload := range []string{"one", "two"} {
		if !p.Send(0, []byte(payload), uint64(n)) {
			t.Error("a ping is not whole")
		}
	}
	p.Data(0, []byte(answer("<html>")[:40]))
	p.Data(0, []byte(answer("<html>")[40:]+chunked()))
	p.Prepare(protocol.Data, 5)
	p.Send(0, []byte("again"), 4)
	p.Data(0, []byte(answer("again")))
	w.Expect("received 0 hello.", "received 1 one.", "received 1 two.", "received 0 again.")
	if got := requests(t, w); strings.Join(got, "|") != "POST 127.0.0.1:80 /  hello|GET 127.0.0.1:80 /  |GET 127.0.0.1:80 /  |POST 127.0.0.1:80 /  again" || p.Held() != 0 {
		t.Errorf("sent %q; %d entries are held", got, p.Held())
	}
	p.Prepare(protocol.Ping, 3)
	p.Send(0, []byte("one"), 5)
	p.Data(0, []byte("HTTP/1.1 500 Internal Server Error\r\n"))
	w.Expect("failed  rejected")
	if p.Forget(0); p.Held() != 0 {
		t.Errorf("%d entries are held of a connection that is gone", p.Held())
	}
}

func TestBadResponses(t *testing.T) {
	for name, test := range map[string]struct{ text, opening, later string }{
		"another status":      {"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "rejected", "rejected"},
		"unasked upgrade":     {"HTTP/1.1 101 Switching Protocols\r\n\r\n", "rejected", "rejected"},
		"HTTP/1.0":            {"HTTP/1.0 200 OK\r\n", "bad answer", "bad frame"},
		"no HTTP":             {"SSH-2.0", "bad answer", "bad frame"},
		"no length":           {"HTTP/1.1 200 OK\r\n\r\nhello", "bad answer", "bad frame"},
		"two lengths":         {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n", "bad answer", "bad frame"},
		"length and chunks":   {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "bad answer", "bad frame"},
		"a negative length":   {"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n", "bad answer", "bad frame"},
		"compressed":          {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n", "bad answer", "bad frame"},
		"no colon":            {"HTTP/1.1 200 OK\r\nServer\r\n", "bad answer", "bad frame"},
		"a chunk of no size":  {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "bad answer", "bad frame"},
		"a chunk too long":    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n", "bad answer", "bad frame"},
		"an endless head":     {"HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", http1.MaxHead/6), "bad answer", "bad frame"},
		"an endless line":     {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", http1.MaxHead), "bad answer", "bad frame"},
		"endless interims":    {strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", http1.MaxHead/28+1), "bad answer", "bad frame"},
		"an endless chunk":    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("0", http1.MaxHead+1), "bad answer", "bad frame"},
		"an endless trailer":  {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("X: y\r\n", http1.MaxHead/6+1), "bad answer", "bad frame"},
		"a chunk of 2^64 - 1": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", "bad answer", "bad frame"},
	} {
		for _, size := range []int{1, len(test.text)} {
			t.Run(fmt.Sprintf("%s in pieces of %d", name, size), func(t *testing.T) {
				for _, opened := range []bool{false, true} {
					w, p := newWire(t, control.Opening{})
					take, want := p.Answer, test.opening
					if opened {
						p.Send(0, []byte("hello"), 1)
						take, want = p.Data, test.later
					}
					for rest := []byte(test.text); len(rest) > 0 && !w.Gone; rest = rest[min(size, len(rest)):] {
						take(0, rest[:min(size, len(rest))])
					}
					if n := len(w.Events); n == 0 || w.Events[n-1] != "failed  "+want {
						t.Errorf("opened: %v: events %q, want %q at last", opened, w.Events, want)
					}
				}
			})
		}
	}
}

// A response without a request is a failure, and so is one that ends before its request does.
func TestResponsesThatNobodyAskedFor(t *testing.T) {
	w, p := newWire(t, control.Opening{})
	p.Data(0, []byte(answer("hello")))
	w.Expect("failed  bad frame")
	w, p = newWire(t, control.Opening{})
	w.Room = 10
	p.Send(0, []byte("hello"), 1)
	p.Data(0, []byte(answer("hello")[:43]))
	p.Data(0, []byte(answer("hello")[43:]))
	if n := len(w.Events); n == 0 || w.Events[n-1] != "failed  bad frame" {
		t.Errorf("events %q", w.Events)
	}
}

// The content type is ours, or theirs.
func TestContentType(t *testing.T) {
	for _, opening := range []control.Opening{
		{Headers: []control.Header{{Name: "content-type", Value: "application/json"}}},
		{Each: []control.EachHeader{{Name: "Content-Type", Values: []string{"application/json"}}}},
		{},
	} {
		w, p := newWire(t, opening)
		p.Send(0, []byte("hello"), 1)
		if n := strings.Count(strings.ToLower(string(w.Sent)), "content-type:"); n != 1 {
			t.Errorf("%+v: %d content types in %q", opening, n, w.Sent)
		}
	}
}

func TestStatusIsCounted(t *testing.T) {
	w, p := newWire(t, control.Opening{})
	p.Open(0)
	p.Answer(0, []byte("HTTP/1.1 404 Not Found\r\n"))
	if w.Expect("failed  rejected"); len(w.Counts) != 1 || w.Counts[0] != control.CountStatus+"404" {
		t.Errorf("counts %q", w.Counts)
	}
}

func TestSendInPieces(t *testing.T) {
	w, p := newWire(t, control.Opening{})
	w.Room = 10
	p.Open(0)
	p.Answer(0, []byte(answer(""))) // to half a request
	w.Expect("failed  bad answer")

	w, p = newWire(t, control.Opening{})
	w.Room = 10
	if p.Send(0, []byte("hello"), 1) || !p.Unfinished(0) {
		t.Error("a message is whole that is not")
	}
	w.Room = 1 << 10
	p.Writable(0)
	w.Expect("writable")
	if !p.Send(0, []byte("hello"), 1) || len(requests(t, w)) != 1 {
		t.Errorf("sent %q", w.Sent)
	}
	w.Err = errors.New("gone")
	if p.Send(0, []byte("hello"), 1) {
		t.Error("sent on a connection that is gone")
	}
	w.Expect("failed send gone")

	w, p = newWire(t, control.Opening{})
	p.Data(0, []byte("HTTP/1.1 2"))
	p.Forget(0)
	if p.Held() != 0 {
		t.Errorf("%d entries are held", p.Held())
	}
	p.Finish(0)
	w.Expect("finished")
}

// However the bytes are cut, the same comes of them, and little is kept.
func FuzzData(f *testing.F) {
	f.Add([]byte(answer("hello")+chunked("a", "b")), 3)
	f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\n"+answer("")), 1)
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		feed := func(size int) *protocoltest.Wire {
			w, p := newWire(t, control.Opening{})
			for range 10 {
				p.Send(0, []byte("hello"), 1)
			}
			for rest := bytes.Clone(b); len(rest) > 0 && !w.Gone; rest = rest[min(size, len(rest)):] {
				p.Data(0, rest[:min(size, len(rest))])
				if r := p.reading[0]; len(r.line) > http1.MaxHead {
					t.Fatalf("%d bytes are kept", len(r.line))
				}
			}
			return w
		}
		whole, pieces := feed(len(b)+1), feed(1+int(uint(size)%uint(len(b)+1)))
		// A piece may be handed on before what is wrong behind it is seen.
		if whole.Gone != pieces.Gone || !whole.Gone && strings.Join(whole.Events, "|") != strings.Join(pieces.Events, "|") {
			t.Errorf("whole %q, in pieces %q", whole.Events, pieces.Events)
		}
	})
}
