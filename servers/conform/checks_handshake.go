package conform

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"
)

var handshakeChecks = []check{
	{"handshake", "switches protocols, with the right Sec-WebSocket-Accept", checkHandshake},
	{"handshake-fields", "takes header fields in every form that HTTP allows, however TCP cuts them", checkHandshakeFields},
	{"handshake-target", "takes every path, a whole URI too, and HTTP/1.2, however TCP cuts them", checkHandshakeTarget},
	{"handshake-4k", "takes a request of 4 KiB, whole, in two pieces and in many", checkHandshake4K},
	{"handshake-tolerance", "takes or refuses what HTTP leaves to it, and takes no content for frames", checkHandshakeTolerance},
	{"handshake-extensions", "accepts no extension and no subprotocol that it does not speak", checkHandshakeExtensions},
	{"handshake-key", "refuses a Sec-WebSocket-Key that is missing or not of 16 bytes", checkHandshakeKey},
	{"handshake-version", "refuses a Sec-WebSocket-Version other than 13, and names 13 if by status 426", checkHandshakeVersion},
	{"handshake-upgrade", "refuses a request that asks for no upgrade, or not by GET of HTTP/1.1", checkHandshakeUpgrade},
	{"handshake-malformed", "refuses what HTTP demands to be refused: a Host too few or too many, a space before a colon", checkHandshakeMalformed},
	{"handshake-garbage", "refuses what is not HTTP", checkHandshakeGarbage},
	{"handshake-oversized", "refuses a request without end before it has read 4 MiB of it", checkHandshakeOversized},
	{"handshake-slow", "takes a handshake one byte at a time and serves others after each byte", checkHandshakeSlow},
	{"handshake-stuck", "serves others while 256 connections stand in the middle of a handshake", checkHandshakeStuck},
	{"handshake-pipelined", "answers, or ends the connection over, a frame in the handshake's segment", checkHandshakePipelined},
}

func checkHandshake(e *exam) {
	s := e.start()
	for _, key := range []string{exampleKey, "AQIDBAUGBwgJCgsMDQ4PEA==", "/////////////////////w=="} {
		c := s.connect()
		c.write("a handshake with key "+key, handshake().with("Sec-WebSocket-Key: "+key).bytes())
		response := c.expectUpgrade()
		const section = "RFC 6455 section 4.2.2"
		if accept := response.Header.Get("Sec-WebSocket-Accept"); accept != acceptOf(key) {
			c.got(quoteField(response.Header, "Sec-WebSocket-Accept"), "Sec-WebSocket-Accept: "+acceptOf(key), section)
		}
		if !slices.Equal(tokens(response.Header, "Upgrade"), []string{"websocket"}) {
			c.got(quoteField(response.Header, "Upgrade"), "Upgrade: websocket", section)
		}
		if !slices.Contains(tokens(response.Header, "Connection"), "upgrade") {
			c.got(quoteField(response.Header, "Connection"), "Connection: Upgrade", section)
		}
		c.roundTrip()
	}
}

func checkHandshakeFields(e *exam) {
	takes(e, []attempt{
		{"a handshake with field names in lower case", request{"GET /chat?room=1 HTTP/1.1", []string{
			"host: 127.0.0.1", "upgrade: websocket", "connection: upgrade", "sec-websocket-key: " + exampleKey, "sec-websocket-version: 13"}}},
		{"a handshake with field names in upper case and in another order", request{"GET / HTTP/1.1", []string{
			"SEC-WEBSOCKET-VERSION: 13", "SEC-WEBSOCKET-KEY: " + exampleKey, "CONNECTION: Upgrade", "UPGRADE: WebSocket", "HOST: 127.0.0.1"}}},
		{"a handshake without spaces after the colons", request{"GET / HTTP/1.1", []string{
			"Host:127.0.0.1", "Upgrade:websocket", "Connection:Upgrade", "Sec-WebSocket-Key:" + exampleKey, "Sec-WebSocket-Version:13"}}},
		{"a handshake with spaces and tabs around the values", request{"GET / HTTP/1.1", []string{
			"Host:   127.0.0.1 ", "Upgrade:\twebsocket ", "Connection:  Upgrade\t", "Sec-WebSocket-Key: \t" + exampleKey + "  ", "Sec-WebSocket-Version:\t\t13 \t"}}},
		{"a handshake with Connection: keep-alive, Upgrade", handshake().with("Connection: keep-alive, Upgrade")},
		{"a handshake with Connection: Upgrade,keep-alive", handshake().with("Connection: Upgrade,keep-alive")},
		{"a handshake with Connection: keep-alive in a field before that with Upgrade", handshake().with("Connection: keep-alive").and("Connection: Upgrade")},
		{"a handshake with Connection: keep-alive in a field after that with Upgrade", handshake().and("Connection: keep-alive")},
		{"a handshake with empty elements in the list of Connection", handshake().with("Connection: , ,Upgrade , ")},
		{"a handshake with Connection: close, Upgrade", handshake().with("Connection: close, Upgrade")},
		{"a handshake with Upgrade: websocket, h2c", handshake().with("Upgrade: websocket, h2c")},
		{"a handshake with Upgrade: HTTP/3.0 ,WebSocket", handshake().with("Upgrade: HTTP/3.0 ,WebSocket")},
		{"a handshake with two Upgrade fields", handshake().with("Upgrade: h2c").and("Upgrade: websocket")},
		{"a handshake with Host: 127.0.0.1:8080", handshake().with("Host: 127.0.0.1:8080")},
		{"a handshake with Host: [::1]:8080", handshake().with("Host: [::1]:8080")},
		{"a handshake with an empty Host", handshake().with("Host:")},
		{"a handshake with Content-Length: 0", handshake().with("Content-Length: 0")},
		{"a handshake with a field without a value", handshake().with("X-Empty:")},
		{"a handshake with a field whose name has every character of a token", handshake().with("x!#$%&'*+-.^_`|~9: 1")},
		{"a handshake with a field whose value is not ASCII", handshake().with("Cookie: caf\xe9 \xff")},
		{"a handshake with fields as browsers send them", handshake().with("User-Agent: Mozilla/5.0 (X11; Linux x86_64)").with("Origin: https://example.com:8443").
			with("Pragma: no-cache").with("Cache-Control: no-cache").with("Cookie: a=b; c=d").with("Accept-Encoding: gzip, deflate, br").with("Sec-Fetch-Mode: websocket")},
		{"a handshake with 50 fields of the same name", func() request {
			r := handshake()
			for range 50 {
				r = r.and("X-Many: 1")
			}
			return r
		}()},
	})
}

func checkHandshakeTarget(e *exam) {
	var attempts []attempt
	for _, line := range []string{
		"GET /chat?room=1&x=%20y HTTP/1.1",
		"GET /a;b=c/%7Ed/:@!$&'()*+,=/../.. HTTP/1.1",
		"GET //double//slash HTTP/1.1",
		"GET /?url=http://example.com/?a=b HTTP/1.1",
		"GET http://127.0.0.1/chat HTTP/1.1",
		"GET https://example.com:8443/x?y=z HTTP/1.1",
		"GET http://[::1]:8080/ HTTP/1.1",
		"GET HTTP://example.com HTTP/1.1",
		"GET / HTTP/1.2",
	} {
		attempts = append(attempts, attempt{"a handshake by " + line, handshake().to(line)})
	}
	takes(e, attempts)
}

// takes fails unless the server takes each of the requests, in one segment and one byte
// at a time. Of the latter it gets all side by side, and serves another connection
// after each byte.
func takes(e *exam, attempts []attempt) {
	s := e.start()
	longest := 0
	for _, r := range attempts {
		longest = max(longest, len(r.bytes()))
		c := s.connect()
		c.write(r.what, r.bytes())
		c.expectUpgrade()
		c.roundTrip()
	}
	slow := make([]*conn, len(attempts))
	for i := range slow {
		slow[i] = s.connect()
	}
	others := s.company()
	for at := range longest {
		for i, r := range attempts {
			if text := r.bytes(); at < len(text) {
				slow[i].write(r.what+", one byte at a time", text[at:at+1])
			}
		}
		others.nextServed()
	}
	for _, c := range slow {
		c.expectUpgrade()
		c.roundTrip()
	}
}

func checkHandshake4K(e *exam) {
	s := e.start()
	others := s.company()
	const size = 4 << 10
	for _, r := range []attempt{
		{"a handshake of 4 KiB, most of it one field", handshake().padded(size)},
		{"a handshake of 4 KiB, most of it the path", handshake().to("GET /" + strings.Repeat("p", size-len(handshake().bytes())) + " HTTP/1.1")},
	} {
		text := r.bytes()
		for _, cut := range []int{size, size - 1, size - 2, size - 3, size / 2, 1} {
			c := s.connect()
			c.write(fmt.Sprintf("%s, cut after %d bytes", r.what, cut), text[:cut])
			others.nextServed()
			c.write(c.sent, text[cut:])
			c.expectUpgrade()
			c.roundTrip()
		}
		c := s.connect()
		for piece := range slices.Chunk(text, 61) {
			c.write(r.what+", in pieces of 61 bytes", piece)
			others.nextServed()
		}
		c.expectUpgrade()
		c.roundTrip()
	}
}

// checkHandshakeTolerance is about what RFC 9112 allows a server to take or to refuse.
// What it may not do is to take one half for a request, and the other for frames.
func checkHandshakeTolerance(e *exam) {
	s := e.start()
	folded := handshake()
	folded.fields[0] = "Host:\r\n 127.0.0.1"
	// One that waits for a CR may do so for ever.
	c := s.connect()
	c.write("a handshake whose lines end without CR, and FIN", bytes.ReplaceAll(handshake().bytes(), []byte("\r\n"), []byte("\n")))
	c.tcp.CloseWrite()
	c.expectUpgradeOrRefusal("RFC 9112 section 2.2")

	for _, r := range []struct {
		what, section string
		data          []byte
	}{
		{"a handshake after an empty line", "RFC 9112 section 2.2", append([]byte("\r\n"), handshake().bytes()...)},
		{"a handshake with a field that goes on in the next line", "RFC 9112 section 5.2", folded.bytes()},
		{"a handshake with NUL within a value", "RFC 9110 section 5.5", handshake().with("X-Padding: a\x00b").bytes()},
		{"a handshake with content", "RFC 9110 sections 7.8 and 9.3.1", append(handshake().with("Content-Length: 7").bytes(), "content"...)},
		{"a handshake with content that looks like a frame", "RFC 9110 sections 7.8 and 9.3.1", append(handshake().with("Content-Length: 6").bytes(), encode(frame{op: opPing})...)},
		{"a handshake with content in chunks", "RFC 9110 sections 7.8 and 9.3.1", append(handshake().with("Transfer-Encoding: chunked").bytes(), "5\r\nhello\r\n0\r\n\r\n"...)},
	} {
		// The content may come later.
		for _, cut := range []int{len(r.data), bytes.Index(r.data, []byte("\r\n\r\n")) + 4} {
			c := s.connect()
			c.write(fmt.Sprintf("%s, cut after %d bytes", r.what, cut), r.data[:cut])
			s.open().roundTrip()
			c.write(c.sent, r.data[cut:])
			if c.expectUpgradeOrRefusal(r.section) {
				c.roundTrip()
			}
		}
	}
}

func checkHandshakeExtensions(e *exam) {
	s := e.start()
	c := s.connect()
	c.write("a handshake that offers permessage-deflate", handshake().
		with("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-webkit-deflate-frame").bytes())
	response := c.expectUpgrade()
	if len(response.Header.Values("Sec-WebSocket-Extensions")) > 0 {
		c.got(quoteField(response.Header, "Sec-WebSocket-Extensions"), "no Sec-WebSocket-Extensions, as every server is measured without", "RFC 6455 section 9.1 and the contract")
	}
	c.roundTrip()

	c = s.connect()
	c.write("a handshake that offers the subprotocols chat and superchat", handshake().with("Sec-WebSocket-Protocol: chat, superchat").bytes())
	response = c.expectUpgrade()
	for _, protocol := range tokens(response.Header, "Sec-WebSocket-Protocol") {
		if protocol != "chat" && protocol != "superchat" {
			c.got(quoteField(response.Header, "Sec-WebSocket-Protocol"), "one of these or no subprotocol", "RFC 6455 section 4.2.2")
		}
	}
	c.roundTrip()

	c = s.connect()
	c.write("a handshake that offers no subprotocol", handshake().bytes())
	if response = c.expectUpgrade(); len(response.Header.Values("Sec-WebSocket-Protocol")) > 0 {
		c.got(quoteField(response.Header, "Sec-WebSocket-Protocol"), "no Sec-WebSocket-Protocol", "RFC 6455 section 4.2.2")
	}
}

func checkHandshakeKey(e *exam) {
	s := e.start()
	for _, r := range []attempt{
		{"a handshake without Sec-WebSocket-Key", handshake().without("Sec-WebSocket-Key")},
		{"a handshake with an empty Sec-WebSocket-Key", handshake().with("Sec-WebSocket-Key: ")},
		{"a handshake with a Sec-WebSocket-Key of 4 bytes", handshake().with("Sec-WebSocket-Key: AQIDBA==")},
		{"a handshake with a Sec-WebSocket-Key of 19 bytes", handshake().
			with("Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEBESEw==")},
	} {
		c := s.connect()
		c.write(r.what, r.bytes())
		c.expectRefusal("RFC 6455 section 4.2.1")
	}
}

func checkHandshakeVersion(e *exam) {
	s := e.start()
	for _, r := range []attempt{
		{"a handshake with Sec-WebSocket-Version: 8", handshake().with("Sec-WebSocket-Version: 8")},
		{"a handshake with Sec-WebSocket-Version: 14", handshake().with("Sec-WebSocket-Version: 14")},
		{"a handshake without Sec-WebSocket-Version", handshake().without("Sec-WebSocket-Version")},
	} {
		c := s.connect()
		c.write(r.what, r.bytes())
		const section = "RFC 6455 section 4.2.2"
		response := c.expectRefusal(section)
		// Libraries that answer 400 are common and do no harm; but 426 has no
		// meaning without the version.
		if response != nil && response.StatusCode == 426 && !slices.Contains(tokens(response.Header, "Sec-WebSocket-Version"), "13") {
			c.got(quoteField(response.Header, "Sec-WebSocket-Version"), "Sec-WebSocket-Version: 13 with status 426", section)
		}
	}
}

func checkHandshakeUpgrade(e *exam) {
	s := e.start()
	post, old := handshake().to("POST / HTTP/1.1"), handshake().to("GET / HTTP/1.0")
	for _, r := range []attempt{
		{"a plain GET", handshake().without("Upgrade").without("Connection").without("Sec-WebSocket-Key").without("Sec-WebSocket-Version")},
		{"a handshake without Upgrade", handshake().without("Upgrade")},
		{"a handshake with Upgrade: h2c", handshake().with("Upgrade: h2c")},
		{"a handshake without Connection", handshake().without("Connection")},
		{"a handshake with Upgrade: websockets, h2c", handshake().with("Upgrade: websockets, h2c")},
		{"a handshake with Connection: keep-alive", handshake().with("Connection: keep-alive")},
		{"a handshake by a method in lower case", handshake().to("get / HTTP/1.1")},
		{"a handshake by POST", post.with("Content-Length: 0")},
		{"a handshake by HTTP/1.0", old},
	} {
		c := s.connect()
		c.write(r.what, r.bytes())
		c.expectRefusal("RFC 6455 section 4.2.1")
	}
	// A server that closes after a refusal may trip over itself: seldom, and then
	// for good.
	for range 50 {
		c := s.connect()
		c.write("a handshake by HTTP/1.0", old.bytes())
		c.expectRefusal("RFC 6455 section 4.2.1")
	}
	s.openSome(2 * s.options.Loops)
}

func checkHandshakeMalformed(e *exam) {
	s := e.start()
	for _, r := range []struct {
		attempt
		section string
	}{
		{attempt{"a handshake without Host", handshake().without("Host")}, "RFC 9112 section 3.2"},
		{attempt{"a handshake with two Hosts", handshake().and("Host: localhost")}, "RFC 9112 section 3.2"},
		{attempt{"a handshake with a Host that is none", handshake().with("Host: 127.0.0.1 8080")}, "RFC 9112 section 3.2"},
		{attempt{"a handshake with a space before a colon", handshake().and("X-Padding : x")}, "RFC 9112 section 5.1"},
		{attempt{"a handshake with a Content-Length that is no number", handshake().with("Content-Length: five")}, "RFC 9112 section 6.3"},
	} {
		c := s.connect()
		c.write(r.what, r.bytes())
		c.expectRefusal(r.section)
	}
}

func checkHandshakeGarbage(e *exam) {
	s := e.start()
	for _, garbage := range []struct {
		what string
		data []byte
	}{
		{"a line that is no request line", []byte("hello, server\r\n\r\n")},
		{"a header field without a colon", []byte("GET / HTTP/1.1\r\nHost 127.0.0.1\r\n\r\n")},
		{"empty lines", []byte("\r\n\r\n\r\n\r\n")},
		{"4 KiB of bytes that are no text", append(bytes.Repeat([]byte{0x16, 0x03, 0x01, 0x00, 0xFF}, 820), "\r\n\r\n"...)},
		{"frames without a handshake first", append(encode(frame{op: opText, payload: []byte("hello")}), "\r\n\r\n"...)},
	} {
		c := s.connect()
		c.write(garbage.what, garbage.data)
		c.tcp.CloseWrite() // so that a server may wait for a request to become one
		c.expectRefusal("RFC 9112 section 2.2")
	}
}

// largestHeader is more than any server needs to read of a header: net/http,
// the most patient that is known, reads 1 MiB by default.
const largestHeader = 4 << 20

func checkHandshakeOversized(e *exam) {
	s := e.start()
	begun := strings.TrimSuffix(string(handshake().bytes()), "\r\n")
	for _, endless := range []struct{ what, begin, next string }{
		{"a handshake whose fields do not end", begun, "X-Padding: " + strings.Repeat("p", 1000) + "\r\n"},
		{"a handshake with a field that does not end", begun + "X-Padding: ", strings.Repeat("p", 1000)},
		{"a request line that does not end", "GET /", strings.Repeat("p", 1000)},
		{"empty lines that do not end", "\r\n", strings.Repeat("\r\n", 500)},
		{"a handshake whose content does not end", string(handshake().with("Content-Length: 1000000000").bytes()), "\r\n\r\n"},
	} {
		c := s.connect()
		c.sent = endless.what
		if taken, refused := c.pour(endless.begin, endless.next, largestHeader); !refused {
			c.got(fmt.Sprintf("no objection to %d bytes of it", taken), "a refusal with status 4xx or 5xx, or the end of the connection", "RFC 6585 section 5")
		}
	}
}

// pour writes begin and then next again and again until the server refuses, by a
// response or by ending the connection, or has taken limit bytes.
func (c *conn) pour(begin, next string, limit int) (taken int, refused bool) {
	answered := make(chan bool, 1)
	go func() {
		response, err := c.response()
		answered <- err == nil && response.StatusCode >= 400 || err != nil && ended(err)
	}()
	c.tcp.SetWriteDeadline(time.Now().Add(patience))
	chunk := []byte(begin)
	block := bytes.Repeat([]byte(next), 64)
	for taken < limit {
		// A write fails as soon as the server has ended the connection; the
		// reader above then knows why.
		n, err := c.tcp.Write(chunk)
		taken += n
		if err != nil {
			return taken, ended(err)
		}
		select {
		case refused = <-answered:
			return taken, refused
		default:
		}
		chunk = block
	}
	// All is sent, but the server may not have read it yet. It will not be
	// told that there is no more.
	return taken, <-answered
}

func checkHandshakeSlow(e *exam) {
	s := e.start()
	others := s.company()
	slow := s.connect()
	e.situation = "a handshake comes in one byte at a time"
	others.servedDuring(slow, handshake().bytes())
	slow.sent = "a handshake one byte at a time"
	slow.expectUpgrade()
	slow.roundTrip()
}

func checkHandshakeStuck(e *exam) {
	s := e.start()
	others := s.company()
	request := handshake().bytes()
	stuck := make([]*conn, stuckConns)
	for i := range stuck {
		stuck[i] = s.connect()
		// Everywhere from no byte at all to all but the last.
		stuck[i].write("a part of a handshake", request[:i*len(request)/stuckConns])
	}
	e.situation = fmt.Sprintf("%d connections stand in the middle of a handshake", stuckConns)
	others.served()
	e.situation = ""
	for i, c := range stuck {
		c.write("the rest of a handshake that had stood still", request[i*len(request)/stuckConns:])
		c.expectUpgrade()
		c.roundTrip()
	}
}

// checkHandshakePipelined allows for servers that refuse data that came too
// early: a client must wait for the response (RFC 6455 section 4.1). What no
// server may do is switch protocols and lose the frame.
func checkHandshakePipelined(e *exam) {
	s := e.start()
	payload := []byte("early")
	c := s.connect()
	c.write("a text message in the handshake's segment", append(handshake().bytes(), encode(frame{op: opText, payload: payload})...))
	const expected, section = "status 101 and the echo, or the end of the connection", "RFC 6455 section 4.1"
	response, err := c.response()
	switch {
	case err != nil && ended(err), err == nil && response.StatusCode >= 400:
		return
	case err != nil:
		c.got(describe(err), expected, section)
	case response.StatusCode != 101:
		c.got("status "+response.Status, expected, section)
	}
	f, err := c.tryFrame()
	switch {
	case err != nil && ended(err):
		return
	case err != nil:
		c.got("status 101 and then "+describe(err), expected, section)
	case f.op != opText || !bytes.Equal(f.payload, payload):
		c.got("status 101 and then "+f.String(), expected, section)
	}
	c.roundTrip()
}
