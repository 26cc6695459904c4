package opening

import (
	"bufio"
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const request = "GET /chat?room=1 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

// forms are requests and what becomes of them.
var forms = []struct {
	name, old, new string // new takes the place of old in request
	refusal        Refusal
}{
	{"as clients send it", "", "", 0},
	{"names in lower case", "Sec-WebSocket-Key:", "sec-websocket-key:", 0},
	{"values in other cases", "Upgrade: websocket\r\nConnection: Upgrade", "Upgrade: WebSocket\r\nConnection: UPGRADE", 0},
	{"no white space", "Host: ", "Host:", 0},
	{"tabs", "Upgrade: websocket\r\n", "Upgrade:\t websocket \t\r\n", 0},
	{"Connection as a list", "Connection: Upgrade", "Connection: keep-alive, Upgrade", 0},
	{"a list with empty elements", "Connection: Upgrade", "Connection: ,, Upgrade ,", 0},
	{"Connection twice", "Connection: Upgrade", "Connection: keep-alive\r\nConnection: Upgrade", 0},
	{"Connection twice, the other way round", "Connection: Upgrade", "Connection: Upgrade\r\nConnection: keep-alive", 0},
	{"Upgrade as a list", "Upgrade: websocket", "Upgrade: h2c/1.0, websocket", 0},
	{"Upgrade twice", "Upgrade: websocket", "Upgrade: websocket\r\nUpgrade: h2c", 0},
	{"a whole URI", "GET /chat", "GET http://127.0.0.1:8080/chat", 0},
	{"a whole URI without path", "GET /chat?room=1", "GET https://example.com", 0},
	{"a whole URI with a query only", "GET /chat", "GET HTTP://example.com", 0},
	{"a later HTTP/1", "HTTP/1.1", "HTTP/1.2", 0},
	{"Host of IPv6", "127.0.0.1:8080", "[::1]:8080", 0},
	{"Host without value", "127.0.0.1:8080", "", 0},
	{"no content, and said so", "\r\n\r\n", "\r\nContent-Length: 00\r\n\r\n", 0},
	{"a field without value", "\r\n\r\n", "\r\nX-Empty:\r\n\r\n", 0},
	{"a field of bytes that are no ASCII", "\r\n\r\n", "\r\nCookie: caf\xe9\r\n\r\n", 0},
	{"a name of unusual characters", "\r\n\r\n", "\r\n!#$%&'*+-.^_`|~0: x\r\n\r\n", 0},
	{"subprotocols and extensions", "\r\n\r\n", "\r\nSec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Extensions: x; y=\"z\"\r\n\r\n", 0},
	{"empty lines before", "GET", "\r\n\r\nGET", 0},
	{"lines that end in LF", "\r\n", "\n", 0},

	{"no request line", "GET /chat?room=1 HTTP/1.1", "hello", 400},
	{"a space too many", "GET /", "GET  /", 400},
	{"a method that is none", "GET", "G(T", 400},
	{"another method", "GET", "POST", 405},
	{"a method in lower case", "GET", "get", 405},
	{"HTTP/1.0", "HTTP/1.1", "HTTP/1.0", 505},
	{"HTTP/2", "HTTP/1.1", "HTTP/2.0", 505},
	{"no version", "HTTP/1.1", "HTTP", 400},
	{"a target that is none", "/chat?room=1", "*", 400},
	{"a target of another scheme", "/chat?room=1", "ftp://example.com/", 400},
	{"a target without authority", "/chat?room=1", "http:///", 400},
	{"a target with half an escape", "?room=1", "%0", 400},
	{"a target with a wrong escape", "?room=1", "%0x", 400},
	{"a target with a fragment", "?room=1", "#top", 400},
	{"a line without colon", "Host:", "Host", 400},
	{"a space before the colon", "Host:", "Host :", 400},
	{"a line that continues another", "Host: 127.0.0.1:8080", "Host:\r\n 127.0.0.1:8080", 400},
	{"a line that continues none", "Host:", " Host:", 400},
	{"a CR within a value", "127.0.0.1:8080", "127.0.\r0.1", 400},
	{"NUL within a value", "127.0.0.1:8080", "127.0.\x000.1", 400},
	{"no Host", "Host: 127.0.0.1:8080\r\n", "", 400},
	{"two Hosts", "\r\n\r\n", "\r\nHost: a\r\n\r\n", 400},
	{"a Host with a space", "127.0.0.1:8080", "127.0.0.1 8080", 400},
	{"content", "\r\n\r\n", "\r\nContent-Length: 5\r\n\r\n", 413},
	{"a length that is no number", "\r\n\r\n", "\r\nContent-Length: -0\r\n\r\n", 400},
	{"content in chunks", "\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n", 413},
	{"no Upgrade", "Upgrade: websocket\r\n", "", 400},
	{"Upgrade to something else", "Upgrade: websocket", "Upgrade: websockets, h2c", 400},
	{"no Connection", "Connection: Upgrade\r\n", "", 400},
	{"Connection without upgrade", "Connection: Upgrade", "Connection: keep-alive", 400},
	{"version 8", "Version: 13", "Version: 8", 426},
	{"version 130", "Version: 13", "Version: 130", 426},
	{"no version of WebSocket", "Sec-WebSocket-Version: 13\r\n", "", 426},
	{"no key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 400},
	{"two keys", "\r\n\r\n", "\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", 400},
	{"a key of 4 bytes", "dGhlIHNhbXBsZSBub25jZQ==", "AQIDBA==", 400},
	{"a key of 17 bytes", "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZVo=", 400},
	{"a key that is not base64", "dGhlIHNhbXBsZSBub25jZQ==", "!GhlIHNhbXBsZSBub25jZQ==", 400},
}

func form(old, new string) string {
	if old == "\r\n" {
		return strings.ReplaceAll(request, old, new)
	}
	return strings.Replace(request, old, new, 1)
}

func TestForms(t *testing.T) {
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			text := []byte(form(f.old, f.new))
			if end := End(text, 0); end != len(text) {
				t.Fatalf("the request ends after %d of %d bytes", end, len(text))
			}
			r, refusal := Read(text)
			if refusal != f.refusal {
				t.Errorf("refused with %d, want %d", refusal, f.refusal)
			}
			if refusal == 0 {
				plain(t, r)
			}
		})
	}
}

// plain checks that a request reads the same in its plain form, by net/http as well.
func plain(t *testing.T, r Request) {
	t.Helper()
	text := r.AppendPlain(nil)
	again, refusal := Read(text)
	if refusal != 0 || !bytes.Equal(again.Key, r.Key) || End(text, 0) != len(text) {
		t.Errorf("the plain form, %q, is refused with %d", text, refusal)
	}
	parsed, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(text)))
	if err != nil {
		t.Errorf("net/http on the plain form, %q: %v", text, err)
	} else if parsed.Header.Get("Upgrade") != "websocket" || parsed.Header.Get("Connection") != "Upgrade" || parsed.Host != string(r.host) {
		t.Errorf("net/http reads the plain form, %q, as %v with host %q", text, parsed.Header, parsed.Host)
	}
}

func TestResponses(t *testing.T) {
	// The example of RFC 6455 section 1.3.
	r, _ := Read([]byte(request))
	response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(r.AppendSwitch(nil, false))), nil)
	if err != nil {
		t.Fatal(err)
	}
	if accept := response.Header.Get("Sec-WebSocket-Accept"); response.StatusCode != 101 || accept != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Errorf("got %s, Sec-WebSocket-Accept %q", response.Status, accept)
	}
	for status, field := range map[Refusal]string{400: "Connection: close", 405: "Allow: GET", 426: "Sec-WebSocket-Version: 13"} {
		text := status.AppendTo(nil)
		response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(text)), nil)
		if err != nil || response.StatusCode != int(status) || !response.Close || !bytes.Contains(text, []byte("\r\n"+field+"\r\n")) {
			t.Errorf("%d: %q, want %s in it (%v)", status, text, field, err)
		}
	}
}

func TestHas(t *testing.T) {
	if !Has([]string{"keep-alive", "h2c/1 ,WebSocket"}, "websocket") || Has([]string{"websockets"}, "websocket") || Has(nil, "websocket") {
		t.Error("a list is not read as RFC 9110 section 5.6.1 has it")
	}
}

// FuzzRequest holds End to its word wherever a request is cut, and what is taken to
// net/http's reading of it.
func FuzzRequest(f *testing.F) {
	for i, c := range forms {
		f.Add([]byte(form(c.old, c.new)), i)
	}
	f.Fuzz(func(t *testing.T, data []byte, seen int) {
		end := End(data, 0)
		if end < 0 || end > len(data) || end > 0 && data[end-1] != '\n' {
			t.Fatalf("a request of %d bytes ends after %d", len(data), end)
		}
		if seen >= 0 && seen <= len(data) && End(data[:seen], 0) == 0 {
			if again := End(data, seen); again != end {
				t.Fatalf("after %d bytes without an end the request ends after %d, want %d", seen, again, end)
			}
		}
		if end == 0 {
			return
		}
		if r, refusal := Read(data[:end]); refusal == 0 {
			if len(r.Key) != 24 {
				t.Fatalf("key %q", r.Key)
			}
			plain(t, r)
		} else if http.StatusText(int(refusal)) == "" || refusal < 400 {
			t.Fatalf("refused with %d", refusal)
		}
	})
}

func TestReadAllocatesNothing(t *testing.T) {
	text, out := []byte(request), make([]byte, 0, 256)
	if n := testing.AllocsPerRun(100, func() {
		if End(text, 0) == 0 {
			t.Fatal("no end")
		}
		r, _ := Read(text)
		out = r.AppendSwitch(out[:0], false)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Admit refuses what libraries on net/http would take, and gives lists a plain form.
func TestAdmit(t *testing.T) {
	for _, test := range []struct {
		name, old, new string
		admitted       bool
	}{
		{"as clients send it", "", "", true},
		{"a list with a version and empty elements", "Upgrade: websocket\r\nConnection: Upgrade", "Upgrade: h2c/1.0, websocket\r\nConnection: ,, keep-alive, Upgrade", true},
		{"no key: for the library to refuse", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", true},
		{"HTTP/1.0", "HTTP/1.1", "HTTP/1.0", false},
		{"content", "\r\n\r\n", "\r\nContent-Length: 3\r\n\r\nabc", false},
		{"content in pieces", "\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false},
		{"a short key", "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIA==", false},
		{"two keys", "\r\n\r\n", "\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", false},
	} {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.Replace(request, test.old, test.new, 1))))
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		w := httptest.NewRecorder()
		if admitted := Admit(w, r); admitted != test.admitted {
			t.Errorf("%s: admitted %v", test.name, admitted)
		}
		if !test.admitted {
			if w.Code != http.StatusBadRequest || w.Header().Get("Connection") != "close" {
				t.Errorf("%s: status %d, %v", test.name, w.Code, w.Header())
			}
			continue
		}
		if connection, upgrade := r.Header.Get("Connection"), r.Header.Get("Upgrade"); connection != "upgrade" || upgrade != "websocket" {
			t.Errorf("%s: Connection %q, Upgrade %q", test.name, connection, upgrade)
		}
	}
}

// What asks to hear is the same in any case, in any element of a list, and with parameters.
func TestWhatAsksToHear(t *testing.T) {
	for value, want := range map[string]bool{
		"text/event-stream": true, "text/html, Text/Event-Stream;q=0.9": true, "text/event-stream ; a=b": true,
		"": false, "text/event-streams": false, "*/*": false,
	} {
		if AcceptsEvents([]byte(value)) != want {
			t.Errorf("Accept: %q asks for events: %v, want %v", value, !want, want)
		}
	}
	for value, want := range map[string]bool{
		"wait=9": true, "respond-async, Wait = 9": true, "wait=\"9\"; x": true,
		"": false, "wait": false, "await=9": false, "respond-async": false,
	} {
		if PrefersWait([]byte(value)) != want {
			t.Errorf("Prefer: %q waits: %v, want %v", value, !want, want)
		}
	}
}
