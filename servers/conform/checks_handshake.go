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
	{"handshake-fields", "takes header names in any case, Connection as a list, fields it does not know", checkHandshakeFields},
	{"handshake-extensions", "accepts no extension and no subprotocol that it does not speak", checkHandshakeExtensions},
	{"handshake-key", "refuses a Sec-WebSocket-Key that is missing or not of 16 bytes", checkHandshakeKey},
	{"handshake-version", "refuses a Sec-WebSocket-Version other than 13, and names 13", checkHandshakeVersion},
	{"handshake-upgrade", "refuses a request that asks for no upgrade, or not by GET of HTTP/1.1", checkHandshakeUpgrade},
	{"handshake-garbage", "refuses what is not HTTP", checkHandshakeGarbage},
	{"handshake-oversized", "refuses a header without end before it has read 4 MiB of it", checkHandshakeOversized},
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
	s := e.start()
	for _, r := range []attempt{
		{"a handshake with field names in lower case", request{"GET /chat?room=1 HTTP/1.1", []string{
			"host: 127.0.0.1", "upgrade: websocket", "connection: upgrade", "sec-websocket-key: " + exampleKey, "sec-websocket-version: 13"}}},
		{"a handshake with field names in upper case and in another order", request{"GET / HTTP/1.1", []string{
			"SEC-WEBSOCKET-VERSION: 13", "SEC-WEBSOCKET-KEY: " + exampleKey, "CONNECTION: Upgrade", "UPGRADE: WebSocket", "HOST: 127.0.0.1"}}},
		{"a handshake with Connection: keep-alive, Upgrade", handshake().with("Connection: keep-alive, Upgrade")},
		{"a handshake with Connection: Upgrade,keep-alive", handshake().with("Connection: Upgrade,keep-alive")},
		{"a handshake without spaces after the colons", request{"GET / HTTP/1.1", []string{
			"Host:127.0.0.1", "Upgrade:websocket", "Connection:Upgrade", "Sec-WebSocket-Key:" + exampleKey, "Sec-WebSocket-Version:13"}}},
		{"a handshake with spaces around the values", request{"GET / HTTP/1.1", []string{
			"Host:   127.0.0.1 ", "Upgrade:\twebsocket ", "Connection:  Upgrade\t", "Sec-WebSocket-Key:  " + exampleKey + "  ", "Sec-WebSocket-Version:  13 "}}},
		{"a handshake with fields as browsers send them", handshake().with("User-Agent: Mozilla/5.0").
			with("Pragma: no-cache").with("Cookie: a=b; c=d").with("Accept-Encoding: gzip, deflate")},
		{"a handshake with a Cookie of 2,000 bytes", handshake().with("Cookie: " + strings.Repeat("c", 2000))},
	} {
		c := s.connect()
		c.write(r.what, r.bytes())
		c.expectUpgrade()
		c.roundTrip()
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
		if response.StatusCode == 426 && !slices.Contains(tokens(response.Header, "Sec-WebSocket-Version"), "13") {
			c.got(quoteField(response.Header, "Sec-WebSocket-Version"), "Sec-WebSocket-Version: 13 with status 426", section)
		}
	}
}

func checkHandshakeUpgrade(e *exam) {
	s := e.start()
	post := handshake()
	post.line = "POST / HTTP/1.1"
	old := handshake()
	old.line = "GET / HTTP/1.0"
	for _, r := range []attempt{
		{"a plain GET", handshake().without("Upgrade").without("Connection").without("Sec-WebSocket-Key").without("Sec-WebSocket-Version")},
		{"a handshake without Upgrade", handshake().without("Upgrade")},
		{"a handshake with Upgrade: h2c", handshake().with("Upgrade: h2c")},
		{"a handshake without Connection", handshake().without("Connection")},
		{"a handshake with Connection: keep-alive", handshake().with("Connection: keep-alive")},
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
		c.expectRefusalOrEnd("RFC 9112 section 2.2")
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
