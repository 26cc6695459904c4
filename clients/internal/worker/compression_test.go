package worker

import (
	"bytes"
	"compress/flate"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gobwas/ws"

	"connbench/clients/control"
	"connbench/clients/internal/peer"
)

// deflating is a server with permessage-deflate, which may do wrong.
type deflating struct {
	// answer is what it says of extensions, "" for nothing.
	answer string
	// takeover has it refer to its messages before.
	takeover bool
	// fragments has it cut each message in two.
	fragments bool
	// spoil, unless nil, changes the message that it compresses, and bytes its compressed form.
	spoil func(message []byte) []byte
	bytes func(compressed []byte) []byte
	// plain says which of its messages it does not compress.
	plain func(n int) bool
}

const noTakeover = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// serve is the handler of a connection.
func (d deflating) serve(_ int, c *peer.Conn) {
	answer, err := c.Request()
	if err != nil {
		return
	}
	if d.answer != "" {
		answer = strings.TrimSuffix(answer, "\r\n") + "Sec-WebSocket-Extensions: " + d.answer + "\r\n\r\n"
	}
	c.Send([]byte(answer))
	var out bytes.Buffer
	w, _ := flate.NewWriter(&out, flate.BestSpeed)
	for n := 0; ; n++ {
		header, err := ws.ReadHeader(c.Reader())
		if err != nil {
			return
		}
		payload := make([]byte, header.Length)
		if _, err := io.ReadFull(c.Reader(), payload); err != nil {
			return
		}
		ws.Cipher(payload, header.Mask, 0)
		if header.OpCode == ws.OpClose {
			c.Send(peer.Encode(ws.OpClose, payload))
			return
		}
		if header.OpCode == ws.OpPong {
			continue
		}
		if !header.Rsv1() {
			return // the swarm compresses all messages
		}
		message, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(payload), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))))
		if err != nil {
			return
		}
		if d.spoil != nil {
			message = d.spoil(message)
		}
		if d.plain != nil && d.plain(n) {
			c.Send(peer.Encode(ws.OpBinary, message))
			continue
		}
		if out.Reset(); !d.takeover {
			w.Reset(&out)
		}
		w.Write(message)
		w.Flush()
		compressed := bytes.TrimSuffix(out.Bytes(), []byte("\x00\x00\xff\xff"))
		if d.bytes != nil {
			compressed = d.bytes(compressed)
		}
		if d.fragments {
			half := len(compressed) / 2
			f := ws.NewFrame(ws.OpBinary, false, compressed[:half])
			f.Header.Rsv = ws.Rsv(true, false, false)
			c.Send(ws.MustCompileFrame(f))
			c.Send(peer.Encode(ws.OpPing, nil))
			c.Send(ws.MustCompileFrame(ws.NewFrame(ws.OpContinuation, true, compressed[half:])))
			continue
		}
		f := ws.NewFrame(ws.OpBinary, true, compressed)
		f.Header.Rsv = ws.Rsv(true, false, false)
		c.Send(ws.MustCompileFrame(f))
	}
}

// every is true for one call in n, counted over all connections.
func every(n int64) func() bool {
	var calls atomic.Int64
	return func() bool { return calls.Add(1)%n == 0 }
}

// Servers that compress as was agreed are measured as others are, whether they take over their
// context or not, fragment, or leave some messages uncompressed.
func TestCompressed(t *testing.T) {
	for name, test := range map[string]struct {
		compression string
		server      deflating
	}{
		"no takeover":   {control.CompressionDeflate, deflating{answer: noTakeover}},
		"fragments":     {control.CompressionDeflate, deflating{answer: noTakeover, fragments: true}},
		"takeover":      {control.CompressionTakeover, deflating{answer: "permessage-deflate", takeover: true}},
		"some messages": {control.CompressionTakeover, deflating{answer: "permessage-deflate; server_max_window_bits=15", takeover: true, plain: func(n int) bool { return n%3 == 0 }}},
		"not taken up":  {control.CompressionTakeover, deflating{answer: "permessage-deflate; client_no_context_takeover"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTable(t, 20, setup{compression: test.compression}, peer.Start(t, hostIPv4, test.server.serve).Address)
			rampTo(t, s, 20)
			expect(t, run(t, s, control.Command{Op: "census", PayloadBytes: 16}), control.Result{Open: 20, Offered: 20, Sent: 20, Delivered: 20})
			report := run(t, s, control.Command{Op: "echo", Connections: 4, RatePerSecond: 1000, PayloadBytes: 2000, Seconds: 0.1})
			expect(t, report, control.Result{Open: 20, Offered: 100, Sent: 100, Delivered: 100})
			if each := report.ReceivedBytes / 100; test.server.plain == nil && (each < 300 || each > 1200) {
				t.Errorf("%d bytes came for each message of 2,000", each)
			}
			expect(t, run(t, s, mixOf(4, "1, 300, 2000")), control.Result{Open: 20, Offered: 60, Sent: 60, Delivered: 60})
			expect(t, run(t, s, control.Command{Op: "close"}), control.Result{Closed: 20})
			if n := held(s); n != 0 {
				t.Errorf("%d entries are held", n)
			}
		})
	}
}

// What is compressed wrongly is found, and as often as it happens.
func TestCompressedWrongly(t *testing.T) {
	tenth := every(10)
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte {
			if len(b) == 2000 && tenth() {
				b[at] ^= 1
			}
			return b
		}
	}
	badFrame := control.Result{Open: 3, Offered: 1, Sent: 1, Lost: 1, Unanswered: 1, Failures: []control.Failure{{Phase: control.PhaseOpen, Error: control.BadFrame, Count: 1}}}
	corrupt := control.Result{Open: 4, Offered: 100, Sent: 100, Delivered: 90, Corrupt: 10, Failures: []control.Failure{{Phase: control.PhaseEcho, Error: control.Mismatch, Count: 10}}}
	echo := control.Command{Op: "echo", RatePerSecond: 1000, PayloadBytes: 2000, Seconds: 0.1}
	one := control.Command{Op: "census", Connections: 1, PayloadBytes: 2000}
	for name, test := range map[string]struct {
		compression string
		server      deflating
		command     control.Command
		want        control.Result
	}{
		"a byte":                {control.CompressionDeflate, deflating{answer: noTakeover, spoil: flip(1999)}, echo, corrupt},
		"a byte, with takeover": {control.CompressionTakeover, deflating{answer: "permessage-deflate", takeover: true, spoil: flip(1000)}, echo, corrupt},
		"a byte of the head":    {control.CompressionTakeover, deflating{answer: "permessage-deflate", takeover: true, spoil: flip(3)}, echo, corrupt},
		"another body": {control.CompressionDeflate, deflating{answer: noTakeover, spoil: func(b []byte) []byte {
			if len(b) == 2000 && tenth() {
				copy(b[8:], bytes.ToUpper(b[8:]))
			}
			return b
		}}, echo, corrupt},
		"too short":              {control.CompressionDeflate, deflating{answer: noTakeover, spoil: func(b []byte) []byte { return b[:len(b)-1] }}, one, control.Result{Open: 4, Offered: 1, Sent: 1, Corrupt: 1, Failures: []control.Failure{{Phase: control.PhaseEcho, Error: control.Mismatch, Count: 1}}}},
		"cut off":                {control.CompressionDeflate, deflating{answer: noTakeover, bytes: func(b []byte) []byte { return b[:len(b)/2] }}, one, badFrame},
		"not compressed, but so": {control.CompressionDeflate, deflating{answer: noTakeover, bytes: func(b []byte) []byte { return bytes.Repeat([]byte("no"), 1000) }}, one, badFrame},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTable(t, 4, setup{compression: test.compression}, peer.Start(t, hostIPv4, test.server.serve).Address)
			rampTo(t, s, 4)
			expect(t, run(t, s, test.command), test.want)
		})
	}
	t.Run("takeover that was not agreed on", func(t *testing.T) {
		s := newTable(t, 1, setup{compression: control.CompressionDeflate}, peer.Start(t, hostIPv4, deflating{answer: noTakeover, takeover: true}.serve).Address)
		rampTo(t, s, 1)
		var failures []control.Failure
		for range 3 { // the first message has nothing before it
			report := run(t, s, control.Command{Op: "census", PayloadBytes: 20_000})
			failures = append(failures, report.Failures...)
		}
		if len(failures) != 1 || failures[0].Kind() != (control.FailureKind{Phase: control.PhaseOpen, Error: control.BadFrame}) {
			t.Errorf("failures %v", failures)
		}
	})
}

// A server that does not agree to the compression that is asked for is not measured with it.
func TestCompressionRefused(t *testing.T) {
	for _, test := range []struct {
		compression, answer string
		want                control.Error
	}{
		{control.CompressionDeflate, "", control.NoCompression},
		{control.CompressionTakeover, "", control.NoCompression},
		{control.CompressionDeflate, "permessage-deflate", control.NoCompression},
		{control.CompressionTakeover, noTakeover, control.NoCompression},
		{control.CompressionDeflate, noTakeover + "; client_max_window_bits=10", control.BadAccept},
		{"", "permessage-deflate", control.BadAccept},
	} {
		s := newTable(t, 1, setup{compression: test.compression}, peer.Start(t, hostIPv4, deflating{answer: test.answer}.serve).Address)
		report := run(t, s, control.Command{Op: "ramp", Connections: 1, Window: 1})
		if len(report.Failures) != 1 || report.Failures[0].Kind() != (control.FailureKind{Phase: control.PhaseHandshake, Error: test.want}) || report.Open != 0 {
			t.Errorf("%q answered by %q: %d open, %v; want %s", test.compression, test.answer, report.Open, report.Failures, test.want)
		}
	}
}

func TestLayersOfOneProtocol(t *testing.T) {
	for config, want := range map[*control.Config]string{
		{Engine: control.EngineSocket, Compression: control.CompressionTakeover}:                                "",
		{Engine: control.EngineSocket, Compression: "gzip"}:                                                     `unknown compression "gzip"; there are: deflate, deflate-takeover`,
		{Engine: control.EngineSocket, Compression: control.CompressionDeflate, Protocol: control.ProtocolHTTP}: `compression "deflate" needs protocol "websocket", and it is "http"`,
		{Engine: control.EngineSocket, Hear: control.HearEvents, Protocol: control.ProtocolHTTP}:                "",
		{Engine: control.EngineSocket, Hear: "rumours", Protocol: control.ProtocolHTTP}:                         `unknown hear "rumours"; there are: events, polls`,
		{Engine: control.EngineSocket, Hear: control.HearPolls}:                                                 `hear "polls" needs protocol "http", and it is "websocket"`,
	} {
		if _, err := LayersOf(*config); (err == nil) != (want == "") || err != nil && err.Error() != want {
			t.Errorf("%+v: %v", config, err)
		}
	}
}
