package websocket

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	gobwas "github.com/gobwas/ws"

	"connbench/clients/control"
	"connbench/clients/internal/protocol/http1"
)

var testTargets = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:80"), netip.MustParseAddrPort("[::1]:8080")}

// The key and the answer to it in RFC 6455 section 1.3.
func TestAcceptOfTheRFC(t *testing.T) {
	got := accept([]byte("dGhlIHNhbXBsZSBub25jZQ=="))
	if string(got[:]) != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Errorf("got %s", got)
	}
}

func TestRequest(t *testing.T) {
	h := NewHandshake(7, testTargets, control.Opening{}, "")
	keys := map[string]bool{}
	for key := range Keys {
		for i, target := range testTargets {
			request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(h.Request(i, key, 0))))
			if err != nil {
				t.Fatal(err)
			}
			if request.Host != target.String() {
				t.Fatalf("Host %q, want %q", request.Host, target)
			}
			keys[request.Header.Get("Sec-WebSocket-Key")] = true
			// gobwas knows what a server demands.
			var out bytes.Buffer
			if _, err := gobwas.Upgrade(pipe{bytes.NewReader(h.Request(i, key, 0)), &out}); err != nil {
				t.Fatal(err)
			}
			if n, err := h.Check(key, out.Bytes()); n != out.Len() || err != nil {
				t.Fatalf("answer %q: %d, %v", out.String(), n, err)
			}
			if _, err := h.Check((key+1)%Keys, out.Bytes()); err != ErrBadAccept {
				t.Fatalf("the answer to another key: %v", err)
			}
		}
	}
	if len(keys) != Keys {
		t.Errorf("%d different keys, want %d", len(keys), Keys)
	}
	if again := NewHandshake(7, testTargets, control.Opening{}, ""); again.keys != h.keys {
		t.Error("the same seed gives other keys")
	}
	if other := NewHandshake(8, testTargets, control.Opening{}, ""); other.keys[0] == h.keys[0] {
		t.Error("another seed gives the same keys")
	}
}

type pipe struct {
	io.Reader
	io.Writer
}

func TestCheck(t *testing.T) {
	h := NewHandshake(1, testTargets, control.Opening{}, "")
	good := "HTTP/1.1 101 Switching Protocols\r\nServer: x\r\nupgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Accept: " + string(h.accepts[3][:]) + "\r\n\r\n"
	const interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"
	replace := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("no %q in the answer", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	for _, c := range []struct {
		name, answer string
		n            int
		err          error
	}{
		{"good", good, len(good), nil},
		{"frames behind", good + "\x89\x00", len(good), nil},
		{"no reason phrase", replace(" Switching Protocols", ""), len(good) - len(" Switching Protocols"), nil},
		{"spaces", replace("upgrade: WebSocket", "Upgrade: \t websocket "), len(good) + 3, nil},
		{"reason phrase of any bytes", replace("Switching Protocols", "\xc3\xa4\t!"), len(good) + 4 - len("Switching Protocols"), nil},
		{"empty reason phrase", replace("Switching Protocols", ""), len(good) - len("Switching Protocols"), nil},
		{"no space behind a colon", replace("Connection: ", "Connection:"), len(good) - 1, nil},
		{"names in other cases", replace("Sec-WebSocket-Accept", "sEC-wEBSOCKET-aCCEPT"), len(good), nil},
		{"a list in two fields", replace("keep-alive, Upgrade", "keep-alive\r\nConnection: ,UPGRADE ,"), len(good) + len("\r\nConnection: ,UPGRADE ,") - len(", Upgrade"), nil},
		{"line feeds alone", strings.ReplaceAll(good, "\r", ""), len(good) - strings.Count(good, "\r"), nil},
		{"HTTP/1.2", replace("HTTP/1.1", "HTTP/1.2"), len(good), nil},
		{"empty fields", replace("Server: x", "Server:\r\nSec-WebSocket-Protocol: \r\nSec-WebSocket-Extensions:"), len(good) + len("Server:\r\nSec-WebSocket-Protocol: \r\nSec-WebSocket-Extensions:") - len("Server: x"), nil},
		{"interim responses", interim + good, len(interim) + len(good), nil},
		{"half an interim response", "HTTP/1.1 103 Early Hints\r\nLink: </x>", 0, nil},
		{"interim response without colon", "HTTP/1.1 103 Early Hints\r\nLink\r\n\r\n" + good, 0, http1.ErrBadAnswer},
		{"rejected after an interim response", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 Forbidden\r\n\r\n", 0, http1.RejectedError("403")},
		{"as long as is accepted", replace("Server: x", "Server: "+strings.Repeat("x", 1+http1.MaxHead-len(good))), http1.MaxHead, nil},
		{"a byte longer", replace("Server: x", "Server: "+strings.Repeat("x", 2+http1.MaxHead-len(good))), 0, http1.ErrBadAnswer},
		{"400", "HTTP/1.1 400 Bad Request\r\n\r\n", 0, http1.RejectedError("400")},
		{"503, not complete", "HTTP/1.1 503 Busy\r\nX", 0, http1.RejectedError("503")},
		{"200", replace("101 Switching Protocols", "200 OK"), 0, http1.RejectedError("200")},
		{"1010", replace("101", "1010"), 0, http1.ErrBadAnswer},
		{"HTTP/1.0", replace("HTTP/1.1", "HTTP/1.0"), 0, http1.ErrBadAnswer},
		{"HTTP/2.0", replace("HTTP/1.1", "HTTP/2.0"), 0, http1.ErrBadAnswer},
		{"no HTTP", "SSH-2.0-OpenSSH\r\n", 0, http1.ErrBadAnswer},
		{"no HTTP, nor a line", "220", 0, http1.ErrBadAnswer},
		{"a status of letters", "HTTP/1.1 1O1", 0, http1.ErrBadAnswer},
		{"a status of two digits", "HTTP/1.1 10\r\n\r\n", 0, http1.ErrBadAnswer},
		{"two upgrades", replace("Server: x", "Upgrade: h2c"), 0, ErrBadAccept},
		{"our own request", string(h.Request(0, 3, 0)), 0, http1.ErrBadAnswer},
		{"header without colon", replace("Server: x", "Server x"), 0, http1.ErrBadAnswer},
		{"endless line", strings.Repeat("x", http1.MaxHead), 0, http1.ErrBadAnswer},
		{"endless header", strings.TrimSuffix(good, "\r\n") + strings.Repeat("X: y\r\n", http1.MaxHead/6), 0, http1.ErrBadAnswer},
		{"no upgrade", replace("upgrade: WebSocket", "X: y"), 0, ErrBadAccept},
		{"other upgrade", replace("WebSocket", "h2c"), 0, ErrBadAccept},
		{"no connection", replace("Connection: keep-alive, Upgrade\r\n", ""), 0, ErrBadAccept},
		{"other connection", replace("keep-alive, Upgrade", "keep-alive, Upgrades"), 0, ErrBadAccept},
		{"no accept", replace("Sec-WebSocket-Accept", "X"), 0, ErrBadAccept},
		{"wrong accept", replace(string(h.accepts[3][:]), string(h.accepts[4][:])), 0, ErrBadAccept},
		{"accept in other case", strings.Replace(good, string(h.accepts[3][:]), strings.ToLower(string(h.accepts[3][:])), 1), 0, ErrBadAccept},
		{"accept twice", replace("Server: x", "Sec-WebSocket-Accept: "+string(h.accepts[3][:])), 0, ErrBadAccept},
		{"extension", replace("Server: x", "Sec-WebSocket-Extensions: permessage-deflate"), 0, ErrBadAccept},
		{"subprotocol", replace("Server: x", "Sec-WebSocket-Protocol: chat"), 0, ErrBadAccept},
		{"nothing", "", 0, nil},
		{"half", good[:len(good)/2], 0, nil},
		{"all but a byte", good[:len(good)-1], 0, nil},
	} {
		if n, err := h.Check(3, []byte(c.answer)); n != c.n || err != c.err {
			t.Errorf("%s: %d, %v; want %d, %v", c.name, n, err, c.n, c.err)
		}
		// However TCP cuts it, the verdict is the same.
		n, err := 0, error(nil)
		for end := 1; end <= len(c.answer) && n == 0 && err == nil; end++ {
			n, err = h.Check(3, []byte(c.answer)[:end])
		}
		if n != c.n || err != c.err {
			t.Errorf("%s, byte by byte: %d, %v; want %d, %v", c.name, n, err, c.n, c.err)
		}
	}
}

// FuzzCheck: an answer comes in pieces, and what is said of its parts must fit
// what is said of the whole; and what is accepted is accepted by net/http too.
func FuzzCheck(f *testing.F) {
	h := NewHandshake(1, testTargets, control.Opening{}, "")
	accept := string(h.accepts[0][:])
	f.Add("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+accept+"\r\n\r\n\x81\x00", 20)
	f.Add("HTTP/1.1 400 Bad Request\r\n\r\n", 3)
	f.Add("HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+accept+"\r\n\r\n", 50)
	f.Add("HTTP/1.1 101\nUpgrade:websocket\nConnection:upgrade\nSec-WebSocket-Accept:"+accept+"\n\n", 99)
	f.Fuzz(func(t *testing.T, answer string, cut int) {
		n, err := h.Check(0, []byte(answer))
		if n < 0 || n > len(answer) || err != nil && n != 0 {
			t.Fatalf("%d, %v", n, err)
		}
		if cut < 0 || cut > len(answer) {
			return
		}
		partN, partErr := h.Check(0, []byte(answer[:cut]))
		if (partN != 0 || partErr != nil) && (partN != n || partErr != err) {
			t.Fatalf("after %d bytes: %d, %v; as a whole: %d, %v", cut, partN, partErr, n, err)
		}
		if n == 0 || strings.ContainsAny(answer[:n], "\x00\x7f") {
			return
		}
		in := bufio.NewReader(strings.NewReader(answer[:n]))
		response, err := http.ReadResponse(in, nil)
		for err == nil && response.StatusCode != 101 && response.StatusCode/100 == 1 {
			response, err = http.ReadResponse(in, nil)
		}
		if err != nil {
			return // net/http is stricter about names
		}
		if response.StatusCode != 101 || response.Header.Get("Sec-WebSocket-Accept") != accept {
			t.Fatalf("accepted, and net/http says %v", response)
		}
	})
}
