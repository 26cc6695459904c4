// Package protocol has the checks of HTTP and WebSocket as the standards have them:
// handshake, messages, control frames, violations.
package protocol

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"connbench/servers/conform/exam"
	"connbench/servers/conform/frame"
)

// Checks are the checks in the order in which they are listed.
var Checks = slices.Concat(handshakeChecks, messageChecks, controlChecks, violationChecks)

var handshakeChecks = []exam.Case{
	{Name: "handshake", Section: exam.Opening, Title: "switches protocols, with the right Sec-WebSocket-Accept", Run: checkHandshake},
	{Name: "handshake-fields", Section: exam.Opening, Title: "takes header fields in every form that HTTP allows, however TCP cuts them", Run: checkHandshakeFields},
	{Name: "handshake-target", Section: exam.Opening, Title: "takes every path, a whole URI too, and HTTP/1.2, however TCP cuts them", Run: checkHandshakeTarget},
	{Name: "handshake-4k", Section: exam.Opening, Title: "takes a request of 4 KiB, whole, in two pieces and in many", Run: checkHandshake4K},
	{Name: "handshake-tolerance", Section: exam.Opening, Title: "takes or refuses what HTTP leaves to it, and takes no content for frames", Run: checkHandshakeTolerance},
	{Name: "handshake-extensions", Section: exam.Opening, Title: "accepts no extension and no subprotocol that it does not speak", Run: checkHandshakeExtensions},
	{Name: "handshake-key", Section: exam.Opening, Title: "refuses a Sec-WebSocket-Key that is missing or not of 16 bytes", Run: checkHandshakeKey},
	{Name: "handshake-version", Section: exam.Opening, Title: "refuses a Sec-WebSocket-Version other than 13, and names 13 if by status 426", Run: checkHandshakeVersion},
	{Name: "handshake-upgrade", Section: exam.Opening, Title: "refuses a request that asks for no upgrade, or not by GET of HTTP/1.1", Run: checkHandshakeUpgrade},
	{Name: "handshake-malformed", Section: exam.Opening, Title: "refuses what HTTP demands to be refused: a Host too few or too many, a space before a colon", Run: checkHandshakeMalformed},
	{Name: "handshake-garbage", Section: exam.Opening, Title: "refuses what is not HTTP", Run: checkHandshakeGarbage},
	{Name: "handshake-oversized", Section: exam.Opening, Title: "refuses a request without end before it has read 4 MiB of it", Run: checkHandshakeOversized},
	{Name: "handshake-slow", Section: exam.Isolation, Title: "takes a handshake one byte at a time and serves others after each byte", Run: checkHandshakeSlow},
	{Name: "handshake-stuck", Section: exam.Isolation, Title: "serves others while 256 connections stand in the middle of a handshake", Run: checkHandshakeStuck},
	{Name: "handshake-pipelined", Section: exam.Opening, Title: "answers, or ends the connection over, a frame in the handshake's segment", Run: checkHandshakePipelined},
}

// attempt is a request and what it is, for the sentence of a failure.
type attempt struct {
	what string
	exam.Request
}

func checkHandshake(e *exam.Exam) {
	s := e.Start()
	for _, key := range []string{exam.ExampleKey, "AQIDBAUGBwgJCgsMDQ4PEA==", "/////////////////////w=="} {
		c := s.Connect()
		c.Write("a handshake with key "+key, exam.Handshake().With("Sec-WebSocket-Key: "+key).Bytes())
		response := c.ExpectUpgrade()
		const section = "RFC 6455 section 4.2.2"
		if accept := response.Header.Get("Sec-WebSocket-Accept"); accept != exam.AcceptOf(key) {
			c.Got(exam.QuoteField(response.Header, "Sec-WebSocket-Accept"), "Sec-WebSocket-Accept: "+exam.AcceptOf(key), section)
		}
		if !slices.Equal(exam.Tokens(response.Header, "Upgrade"), []string{"websocket"}) {
			c.Got(exam.QuoteField(response.Header, "Upgrade"), "Upgrade: websocket", section)
		}
		if !slices.Contains(exam.Tokens(response.Header, "Connection"), "upgrade") {
			c.Got(exam.QuoteField(response.Header, "Connection"), "Connection: Upgrade", section)
		}
		c.RoundTrip()
	}
}

func checkHandshakeFields(e *exam.Exam) {
	takes(e, []attempt{
		{"a handshake with field names in lower case", exam.Request{Line: "GET /chat?room=1 HTTP/1.1", Fields: []string{
			"host: 127.0.0.1", "upgrade: websocket", "connection: upgrade", "sec-websocket-key: " + exam.ExampleKey, "sec-websocket-version: 13"}}},
		{"a handshake with field names in upper case and in another order", exam.Request{Line: "GET / HTTP/1.1", Fields: []string{
			"SEC-WEBSOCKET-VERSION: 13", "SEC-WEBSOCKET-KEY: " + exam.ExampleKey, "CONNECTION: Upgrade", "UPGRADE: WebSocket", "HOST: 127.0.0.1"}}},
		{"a handshake without spaces after the colons", exam.Request{Line: "GET / HTTP/1.1", Fields: []string{
			"Host:127.0.0.1", "Upgrade:websocket", "Connection:Upgrade", "Sec-WebSocket-Key:" + exam.ExampleKey, "Sec-WebSocket-Version:13"}}},
		{"a handshake with spaces and tabs around the values", exam.Request{Line: "GET / HTTP/1.1", Fields: []string{
			"Host:   127.0.0.1 ", "Upgrade:\twebsocket ", "Connection:  Upgrade\t", "Sec-WebSocket-Key: \t" + exam.ExampleKey + "  ", "Sec-WebSocket-Version:\t\t13 \t"}}},
		{"a handshake with Connection: keep-alive, Upgrade", exam.Handshake().With("Connection: keep-alive, Upgrade")},
		{"a handshake with Connection: Upgrade,keep-alive", exam.Handshake().With("Connection: Upgrade,keep-alive")},
		{"a handshake with Connection: keep-alive in a field before that with Upgrade", exam.Handshake().With("Connection: keep-alive").And("Connection: Upgrade")},
		{"a handshake with Connection: keep-alive in a field after that with Upgrade", exam.Handshake().And("Connection: keep-alive")},
		{"a handshake with empty elements in the list of Connection", exam.Handshake().With("Connection: , ,Upgrade , ")},
		{"a handshake with Connection: close, Upgrade", exam.Handshake().With("Connection: close, Upgrade")},
		{"a handshake with Upgrade: websocket, h2c", exam.Handshake().With("Upgrade: websocket, h2c")},
		{"a handshake with Upgrade: HTTP/3.0 ,WebSocket", exam.Handshake().With("Upgrade: HTTP/3.0 ,WebSocket")},
		{"a handshake with two Upgrade fields", exam.Handshake().With("Upgrade: h2c").And("Upgrade: websocket")},
		{"a handshake with Host: 127.0.0.1:8080", exam.Handshake().With("Host: 127.0.0.1:8080")},
		{"a handshake with Host: [::1]:8080", exam.Handshake().With("Host: [::1]:8080")},
		{"a handshake with an empty Host", exam.Handshake().With("Host:")},
		{"a handshake with Content-Length: 0", exam.Handshake().With("Content-Length: 0")},
		{"a handshake with a field without a value", exam.Handshake().With("X-Empty:")},
		{"a handshake with a field whose name has every character of a token", exam.Handshake().With("x!#$%&'*+-.^_`|~9: 1")},
		{"a handshake with a field whose value is not ASCII", exam.Handshake().With("Cookie: caf\xe9 \xff")},
		{"a handshake with fields as browsers send them", exam.Handshake().With("User-Agent: Mozilla/5.0 (X11; Linux x86_64)").With("Origin: https://example.com:8443").
			With("Pragma: no-cache").With("Cache-Control: no-cache").With("Cookie: a=b; c=d").With("Accept-Encoding: gzip, deflate, br").With("Sec-Fetch-Mode: websocket")},
		{"a handshake with 50 fields of the same name", func() exam.Request {
			r := exam.Handshake()
			for range 50 {
				r = r.And("X-Many: 1")
			}
			return r
		}()},
	})
}

func checkHandshakeTarget(e *exam.Exam) {
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
		attempts = append(attempts, attempt{"a handshake by " + line, exam.Handshake().To(line)})
	}
	takes(e, attempts)
}

// takes fails unless the server takes each of the requests, in one segment and one byte
// at a time. Of the latter it gets all side by side, and serves another connection
// after each byte.
func takes(e *exam.Exam, attempts []attempt) {
	s := e.Start()
	longest := 0
	for _, r := range attempts {
		longest = max(longest, len(r.Bytes()))
		c := s.Connect()
		c.Write(r.what, r.Bytes())
		c.ExpectUpgrade()
		c.RoundTrip()
	}
	slow := make([]*exam.Conn, len(attempts))
	for i := range slow {
		slow[i] = s.Connect()
	}
	others := s.Company()
	for at := range longest {
		for i, r := range attempts {
			if text := r.Bytes(); at < len(text) {
				slow[i].Write(r.what+", one byte at a time", text[at:at+1])
			}
		}
		others.NextServed()
	}
	for _, c := range slow {
		c.ExpectUpgrade()
		c.RoundTrip()
	}
}

func checkHandshake4K(e *exam.Exam) {
	s := e.Start()
	others := s.Company()
	const size = 4 << 10
	for _, r := range []attempt{
		{"a handshake of 4 KiB, most of it one field", exam.Handshake().Padded(size)},
		{"a handshake of 4 KiB, most of it the path", exam.Handshake().To("GET /" + strings.Repeat("p", size-len(exam.Handshake().Bytes())) + " HTTP/1.1")},
	} {
		text := r.Bytes()
		for _, cut := range []int{size, size - 1, size - 2, size - 3, size / 2, 1} {
			c := s.Connect()
			c.Write(fmt.Sprintf("%s, cut after %d bytes", r.what, cut), text[:cut])
			others.NextServed()
			c.Write(c.Sent, text[cut:])
			c.ExpectUpgrade()
			c.RoundTrip()
		}
		c := s.Connect()
		for piece := range slices.Chunk(text, 61) {
			c.Write(r.what+", in pieces of 61 bytes", piece)
			others.NextServed()
		}
		c.ExpectUpgrade()
		c.RoundTrip()
	}
}

// checkHandshakeTolerance is about what RFC 9112 allows a server to take or to refuse.
// What it may not do is to take one half for a request, and the other for frames.
func checkHandshakeTolerance(e *exam.Exam) {
	s := e.Start()
	folded := exam.Handshake()
	folded.Fields[0] = "Host:\r\n 127.0.0.1"
	// One that waits for a CR may do so for ever.
	c := s.Connect()
	c.Write("a handshake whose lines end without CR, and FIN", bytes.ReplaceAll(exam.Handshake().Bytes(), []byte("\r\n"), []byte("\n")))
	c.CloseWrite()
	c.ExpectUpgradeOrRefusal("RFC 9112 section 2.2")

	for _, r := range []struct {
		what, section string
		data          []byte
	}{
		{"a handshake after an empty line", "RFC 9112 section 2.2", append([]byte("\r\n"), exam.Handshake().Bytes()...)},
		{"a handshake with a field that goes on in the next line", "RFC 9112 section 5.2", folded.Bytes()},
		{"a handshake with NUL within a value", "RFC 9110 section 5.5", exam.Handshake().With("X-Padding: a\x00b").Bytes()},
		{"a handshake with content", "RFC 9110 sections 7.8 and 9.3.1", append(exam.Handshake().With("Content-Length: 7").Bytes(), "content"...)},
		{"a handshake with content that looks like a frame", "RFC 9110 sections 7.8 and 9.3.1", append(exam.Handshake().With("Content-Length: 6").Bytes(), frame.Encode(frame.Frame{Op: frame.OpPing})...)},
		{"a handshake with content in chunks", "RFC 9110 sections 7.8 and 9.3.1", append(exam.Handshake().With("Transfer-Encoding: chunked").Bytes(), "5\r\nhello\r\n0\r\n\r\n"...)},
	} {
		// The content may come later.
		for _, cut := range []int{len(r.data), bytes.Index(r.data, []byte("\r\n\r\n")) + 4} {
			c := s.Connect()
			c.Write(fmt.Sprintf("%s, cut after %d bytes", r.what, cut), r.data[:cut])
			s.Open().RoundTrip()
			c.Write(c.Sent, r.data[cut:])
			if c.ExpectUpgradeOrRefusal(r.section) {
				c.RoundTrip()
			}
		}
	}
}

func checkHandshakeExtensions(e *exam.Exam) {
	s := e.Start()
	c := s.Connect()
	c.Write("a handshake that offers permessage-deflate", exam.Handshake().
		With("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-webkit-deflate-frame").Bytes())
	response := c.ExpectUpgrade()
	if len(response.Header.Values("Sec-WebSocket-Extensions")) > 0 {
		c.Got(exam.QuoteField(response.Header, "Sec-WebSocket-Extensions"), "no Sec-WebSocket-Extensions, as every server is measured without", "RFC 6455 section 9.1 and the contract")
	}
	c.RoundTrip()

	c = s.Connect()
	c.Write("a handshake that offers the subprotocols chat and superchat", exam.Handshake().With("Sec-WebSocket-Protocol: chat, superchat").Bytes())
	response = c.ExpectUpgrade()
	for _, protocol := range exam.Tokens(response.Header, "Sec-WebSocket-Protocol") {
		if protocol != "chat" && protocol != "superchat" {
			c.Got(exam.QuoteField(response.Header, "Sec-WebSocket-Protocol"), "one of these or no subprotocol", "RFC 6455 section 4.2.2")
		}
	}
	c.RoundTrip()

	c = s.Connect()
	c.Write("a handshake that offers no subprotocol", exam.Handshake().Bytes())
	if response = c.ExpectUpgrade(); len(response.Header.Values("Sec-WebSocket-Protocol")) > 0 {
		c.Got(exam.QuoteField(response.Header, "Sec-WebSocket-Protocol"), "no Sec-WebSocket-Protocol", "RFC 6455 section 4.2.2")
	}
}

func checkHandshakeKey(e *exam.Exam) {
	s := e.Start()
	for _, r := range []attempt{
		{"a handshake without Sec-WebSocket-Key", exam.Handshake().Without("Sec-WebSocket-Key")},
		{"a handshake with an empty Sec-WebSocket-Key", exam.Handshake().With("Sec-WebSocket-Key: ")},
		{"a handshake with a Sec-WebSocket-Key of 4 bytes", exam.Handshake().With("Sec-WebSocket-Key: AQIDBA==")},
		{"a handshake with a Sec-WebSocket-Key of 19 bytes", exam.Handshake().
			With("Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEBESEw==")},
	} {
		c := s.Connect()
		c.Write(r.what, r.Bytes())
		c.ExpectRefusal("RFC 6455 section 4.2.1")
	}
}

func checkHandshakeVersion(e *exam.Exam) {
	s := e.Start()
	for _, r := range []attempt{
		{"a handshake with Sec-WebSocket-Version: 8", exam.Handshake().With("Sec-WebSocket-Version: 8")},
		{"a handshake with Sec-WebSocket-Version: 14", exam.Handshake().With("Sec-WebSocket-Version: 14")},
		{"a handshake without Sec-WebSocket-Version", exam.Handshake().Without("Sec-WebSocket-Version")},
	} {
		c := s.Connect()
		c.Write(r.what, r.Bytes())
		const section = "RFC 6455 section 4.2.2"
		response := c.ExpectRefusal(section)
		// Libraries that answer 400 are common and do no harm; but 426 has no
		// meaning without the version.
		if response != nil && response.StatusCode == 426 && !slices.Contains(exam.Tokens(response.Header, "Sec-WebSocket-Version"), "13") {
			c.Got(exam.QuoteField(response.Header, "Sec-WebSocket-Version"), "Sec-WebSocket-Version: 13 with status 426", section)
		}
	}
}

func checkHandshakeUpgrade(e *exam.Exam) {
	s := e.Start()
	post, old := exam.Handshake().To("POST / HTTP/1.1"), exam.Handshake().To("GET / HTTP/1.0")
	for _, r := range []attempt{
		{"a plain GET", exam.Handshake().Without("Upgrade").Without("Connection").Without("Sec-WebSocket-Key").Without("Sec-WebSocket-Version")},
		{"a handshake without Upgrade", exam.Handshake().Without("Upgrade")},
		{"a handshake with Upgrade: h2c", exam.Handshake().With("Upgrade: h2c")},
		{"a handshake without Connection", exam.Handshake().Without("Connection")},
		{"a handshake with Upgrade: websockets, h2c", exam.Handshake().With("Upgrade: websockets, h2c")},
		{"a handshake with Connection: keep-alive", exam.Handshake().With("Connection: keep-alive")},
		{"a handshake by a method in lower case", exam.Handshake().To("get / HTTP/1.1")},
		{"a handshake by POST", post.With("Content-Length: 0")},
		{"a handshake by HTTP/1.0", old},
	} {
		c := s.Connect()
		c.Write(r.what, r.Bytes())
		c.ExpectRefusal("RFC 6455 section 4.2.1")
	}
	// A server that closes after a refusal may trip over itself: seldom, and then
	// for good.
	for range 50 {
		c := s.Connect()
		c.Write("a handshake by HTTP/1.0", old.Bytes())
		c.ExpectRefusal("RFC 6455 section 4.2.1")
	}
	s.OpenSome(2 * s.Options.Loops)
}

func checkHandshakeMalformed(e *exam.Exam) {
	s := e.Start()
	for _, r := range []struct {
		attempt
		section string
	}{
		{attempt{"a handshake without Host", exam.Handshake().Without("Host")}, "RFC 9112 section 3.2"},
		{attempt{"a handshake with two Hosts", exam.Handshake().And("Host: localhost")}, "RFC 9112 section 3.2"},
		{attempt{"a handshake with a Host that is none", exam.Handshake().With("Host: 127.0.0.1 8080")}, "RFC 9112 section 3.2"},
		{attempt{"a handshake with a space before a colon", exam.Handshake().And("X-Padding : x")}, "RFC 9112 section 5.1"},
		{attempt{"a handshake with a Content-Length that is no number", exam.Handshake().With("Content-Length: five")}, "RFC 9112 section 6.3"},
	} {
		c := s.Connect()
		c.Write(r.what, r.Bytes())
		c.ExpectRefusal(r.section)
	}
}

func checkHandshakeGarbage(e *exam.Exam) {
	s := e.Start()
	for _, garbage := range []struct {
		what string
		data []byte
	}{
		{"a line that is no request line", []byte("hello, server\r\n\r\n")},
		{"a header field without a colon", []byte("GET / HTTP/1.1\r\nHost 127.0.0.1\r\n\r\n")},
		{"empty lines", []byte("\r\n\r\n\r\n\r\n")},
		{"4 KiB of bytes that are no text", append(bytes.Repeat([]byte{0x16, 0x03, 0x01, 0x00, 0xFF}, 820), "\r\n\r\n"...)},
		{"frames without a handshake first", append(frame.Encode(frame.Frame{Op: frame.OpText, Payload: []byte("hello")}), "\r\n\r\n"...)},
	} {
		c := s.Connect()
		c.Write(garbage.what, garbage.data)
		c.CloseWrite() // so that a server may wait for a request to become one
		c.ExpectRefusal("RFC 9112 section 2.2")
	}
}

// largestHeader is more than any server needs to read of a header: net/http,
// the most patient that is known, reads 1 MiB by default.
const largestHeader = 4 << 20

func checkHandshakeOversized(e *exam.Exam) {
	s := e.Start()
	begun := strings.TrimSuffix(string(exam.Handshake().Bytes()), "\r\n")
	for _, endless := range []struct{ what, begin, next string }{
		{"a handshake whose fields do not end", begun, "X-Padding: " + strings.Repeat("p", 1000) + "\r\n"},
		{"a handshake with a field that does not end", begun + "X-Padding: ", strings.Repeat("p", 1000)},
		{"a request line that does not end", "GET /", strings.Repeat("p", 1000)},
		{"empty lines that do not end", "\r\n", strings.Repeat("\r\n", 500)},
		{"a handshake whose content does not end", string(exam.Handshake().With("Content-Length: 1000000000").Bytes()), "\r\n\r\n"},
	} {
		c := s.Connect()
		c.Sent = endless.what
		if taken, refused := pour(c, endless.begin, endless.next, largestHeader); !refused {
			c.Got(fmt.Sprintf("no objection to %d bytes of it", taken), "a refusal with status 4xx or 5xx, or the end of the connection", "RFC 6585 section 5")
		}
	}
}

// pour writes begin and then next again and again until the server refuses, by a
// response or by ending the connection, or has taken limit bytes.
func pour(c *exam.Conn, begin, next string, limit int) (taken int, refused bool) {
	answered := make(chan bool, 1)
	stream := c.Stream()
	go func() {
		response, err := c.Response()
		answered <- err == nil && response.StatusCode >= 400 || err != nil && exam.Ended(err)
	}()
	stream.SetWriteDeadline(time.Now().Add(exam.Patience))
	chunk := []byte(begin)
	block := bytes.Repeat([]byte(next), 64)
	for taken < limit {
		// A write fails as soon as the server has ended the connection; the
		// reader above then knows why.
		n, err := stream.Write(chunk)
		taken += n
		if err != nil {
			return taken, exam.Ended(err)
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

func checkHandshakeSlow(e *exam.Exam) {
	s := e.Start()
	others := s.Company()
	slow := s.Connect()
	e.Situation = "a handshake comes in one byte at a time"
	others.ServedDuring(slow, exam.Handshake().Bytes())
	slow.Sent = "a handshake one byte at a time"
	slow.ExpectUpgrade()
	slow.RoundTrip()
}

func checkHandshakeStuck(e *exam.Exam) {
	s := e.Start()
	others := s.Company()
	request := exam.Handshake().Bytes()
	stuck := make([]*exam.Conn, exam.StuckConns)
	for i := range stuck {
		stuck[i] = s.Connect()
		// Everywhere from no byte at all to all but the last.
		stuck[i].Write("a part of a handshake", request[:i*len(request)/exam.StuckConns])
	}
	e.Situation = fmt.Sprintf("%d connections stand in the middle of a handshake", exam.StuckConns)
	others.Served()
	e.Situation = ""
	for i, c := range stuck {
		c.Write("the rest of a handshake that had stood still", request[i*len(request)/exam.StuckConns:])
		c.ExpectUpgrade()
		c.RoundTrip()
	}
}

// checkHandshakePipelined allows for servers that refuse data that came too
// early: a client must wait for the response (RFC 6455 section 4.1). What no
// server may do is switch protocols and lose the frame.
func checkHandshakePipelined(e *exam.Exam) {
	s := e.Start()
	payload := []byte("early")
	c := s.Connect()
	c.Write("a text message in the handshake's segment", append(exam.Handshake().Bytes(), frame.Encode(frame.Frame{Op: frame.OpText, Payload: payload})...))
	const expected, section = "status 101 and the echo, or the end of the connection", "RFC 6455 section 4.1"
	response, err := c.Response()
	switch {
	case err != nil && exam.Ended(err), err == nil && response.StatusCode >= 400:
		return
	case err != nil:
		c.Got(exam.Describe(err), expected, section)
	case response.StatusCode != 101:
		c.Got("status "+response.Status, expected, section)
	}
	f, err := c.TryFrame()
	switch {
	case err != nil && exam.Ended(err):
		return
	case err != nil:
		c.Got("status 101 and then "+exam.Describe(err), expected, section)
	case f.Op != frame.OpText || !bytes.Equal(f.Payload, payload):
		c.Got("status 101 and then "+f.String(), expected, section)
	}
	c.RoundTrip()
}
