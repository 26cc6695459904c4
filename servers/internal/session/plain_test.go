package session

import (
	"regexp"
	"strings"
	"testing"

	"connbench/servers/contract"
	"connbench/servers/internal/opening"
)

// post is a request with content.
func post(content, length string, fields ...string) string {
	return "POST /echo HTTP/1.1\r\nHost: localhost\r\n" + strings.Join(append(fields, ""), "\r\n") + "Content-Length: " + length + "\r\n\r\n" + content
}

// answer is the answer to it.
func answer(content, length string, fields ...string) string {
	return "HTTP/1.1 200 OK\r\nContent-Length: " + length + "\r\n" + strings.Join(append(fields, ""), "\r\n") + "\r\n" + content
}

// dates are the fields that differ from second to second.
var dates = regexp.MustCompile("\\r\\nDate: [A-Z][a-z]{2}, [0-9A-Za-z: ]+ GMT")

// undated is what a server sent, without the dates.
func undated(sent []byte) string { return string(dates.ReplaceAll(sent, nil)) }

const get = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"

func refused(status string) string {
	return "HTTP/1.1 " + status + "\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
}

var httpRules = Rules{MaxMessage: maxMessage, Protocol: contract.ProtocolHTTP}

func TestRequests(t *testing.T) {
	largest := strings.Repeat("long", maxMessage/4)
	for name, c := range map[string]struct {
		in, out  string
		next     Next
		upgraded bool
	}{
		"get":               {get, answer("", "0"), Continue, true},
		"post":              {post("hello", "5"), answer("hello", "5"), Continue, true},
		"empty":             {post("", "0"), answer("", "0"), Continue, true},
		"largest":           {post(largest, "1000"), answer(largest, "1000"), Continue, true},
		"several":           {get + post("a", "1") + "\r\n" + post("bc", "2"), answer("", "0") + answer("a", "1") + answer("bc", "2"), Continue, true},
		"the last":          {post("bye", "3", "Connection: close") + get, answer("bye", "3", "Connection: close"), Close, true},
		"too large":         {post(largest+"!", "1001"), refused("413 Request Entity Too Large"), Fail, false},
		"beyond any number": {post("", "99999999999999999999"), refused("413 Request Entity Too Large"), Fail, false},
		"negative":          {post("", "-1"), refused("400 Bad Request"), Fail, false},
		"two lengths":       {post("hello", "5", "Content-Length: 5"), refused("400 Bad Request"), Fail, false},
		"chunks":            {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", refused("411 Length Required"), Fail, false},
		"no host":           {"GET / HTTP/1.1\r\n\r\n", refused("400 Bad Request"), Fail, false},
		"HTTP/1.0":          {"GET / HTTP/1.0\r\nHost: x\r\n\r\n", refused("505 HTTP Version Not Supported"), Fail, false},
		"no request":        {"\x16\x03\x01\r\n\r\n", refused("400 Bad Request"), Fail, false},
		"too long":          {strings.Replace(get, "\r\n\r\n", "\r\nX: "+strings.Repeat("x", opening.MaxBytes)+"\r\n\r\n", 1), refused("431 Request Header Fields Too Large"), Fail, false},
		"half":              {get[:len(get)-1], "", Continue, false},
		"half of content":   {post("hel", "5"), "", Continue, false},
	} {
		for _, size := range []int{1, 7, len(c.in)} {
			s := new(Session)
			var out []byte
			next := Continue
			for rest := []byte(c.in); len(rest) > 0 && next == Continue; {
				piece := rest[:min(size, len(rest))]
				rest = rest[len(piece):]
				var left []byte
				left, out, next = s.Feed(piece, out, httpRules)
				if len(left) > 0 {
					t.Fatalf("%s: %d bytes are left over", name, len(left))
				}
			}
			if undated(out) != c.out || next != c.next || s.Upgraded() != c.upgraded {
				t.Errorf("%s, in pieces of %d: got %q, then %v, upgraded %v; want %q, then %v", name, size, out, next, s.Upgraded(), c.out, c.next)
			}
			if idle := s.partial == nil; idle != (c.out != "") {
				t.Errorf("%s, in pieces of %d: something is kept: %v", name, size, !idle)
			}
			s.Release()
		}
	}
}

// A peer that sends many requests at once does not keep the loop from others.
func TestRequestsTakeTurns(t *testing.T) {
	s := new(Session)
	rest, out, _ := s.Feed([]byte(strings.Repeat(get, FramesPerTurn+1)), nil, httpRules)
	if string(rest) != get || undated(out) != strings.Repeat(answer("", "0"), FramesPerTurn) {
		t.Errorf("left over: %q, answered: %d bytes", rest, len(out))
	}
}

func TestBytes(t *testing.T) {
	s := new(Session)
	rest, out, next := s.Feed([]byte("any bytes"), []byte("before "), Rules{Protocol: contract.ProtocolTCP})
	if len(rest) > 0 || string(out) != "before any bytes" || next != Continue || !s.Upgraded() {
		t.Errorf("left over: %q, out %q, then %v, upgraded %v", rest, out, next, s.Upgraded())
	}
}

// FuzzRequests is FuzzSplit for HTTP.
func FuzzRequests(f *testing.F) {
	f.Add([]byte(get+post("hello", "5")+post("", "0", "Connection: close")), uint64(1))
	f.Add([]byte(post("hello", "5")+"POST / HTTP/1.1\r\n"), uint64(2))
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) { splitAlikeBy(t, stream, seed, httpRules) })
}
