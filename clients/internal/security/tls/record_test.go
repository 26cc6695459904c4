package tls

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"crypto/tls"

	"connbench/clients/control"
	"connbench/clients/internal/engine"
	"connbench/clients/internal/security"
)

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fake is an engine that takes what there is room for.
type fake struct {
	sent   []byte
	room   int
	closed bool
}

func (*fake) Open(int, netip.AddrPort, netip.AddrPort) (none engine.Failure) { return none }
func (*fake) Overdue(int) engine.Failure                                     { return engine.Failure{Err: control.Timeout} }
func (f *fake) Close(int)                                                    { f.closed = true }
func (*fake) Wait(time.Duration) (bool, error)                               { return false, nil }
func (*fake) Deliver(engine.Handler)                                         {}
func (*fake) StateBytes() int                                                { return 0 }
func (*fake) Release()                                                       {}

func (f *fake) Send(_ int, p []byte) (int, error) {
	n := min(f.room, len(p))
	f.room -= n
	f.sent = append(f.sent, p[:n]...)
	return n, nil
}

// upper is the layer above.
type upper struct {
	data     []byte
	writable int
	closed   []error
}

func (*upper) Opened(int)                         {}
func (u *upper) Data(_ int, p []byte)             { u.data = append(u.data, p...) }
func (u *upper) Writable(int)                     { u.writable++ }
func (u *upper) Closed(_ int, why engine.Failure) { u.closed = append(u.closed, why.Err) }

// opened is a layer with one open connection, and its two ends.
func opened(t testing.TB, id uint16, in, out []byte) (*layer, *fake, *upper, below) {
	t.Helper()
	engine := &fake{room: 1 << 30}
	e, err := New(security.Config{Engine: engine, Capacity: 1, Count: func(string) {}})
	if err != nil {
		t.Fatal(err)
	}
	l := e.(*layer)
	c := &l.conns[0]
	c.stage, c.suite = open, suites[id]
	c.in.begin(c.suite, in)
	c.out.begin(c.suite, out)
	u := &upper{}
	return l, engine, u, below{l, u}
}

// The example of RFC 8448 section 3.
func TestRecordOfTheRFC(t *testing.T) {
	client := unhex(t, "9e 40 64 6c e7 9a 7f 9d c0 5a f8 88 9b ce 65 52 87 5a fa 0b 06 df 00 87 f7 92 eb b7 c1 75 04 a5")
	server := unhex(t, "a1 1a f9 f0 55 31 f8 56 ad 47 11 6b 45 a9 50 32 82 04 b4 f4 4b fb 6b 3a 4b 4f 1f 3f cb 63 16 43")
	record := unhex(t, `17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa 66 bc ab 3f
		2b 98 19 a8 a5 b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2 97 70 14 bd 1e 3d ea e6 3a ee bb 21 69 49 15 e4`)
	l, _, _, _ := opened(t, tls.TLS_AES_128_GCM_SHA256, server, client)
	c := &l.conns[0]
	if key, iv := unhex(t, "9f 02 28 3b 6c 9c 07 ef c2 6b b9 f2 ac 92 e3 56"), unhex(t, "cf 78 2b 88 dd 83 54 9a ad f1 e9 84"); !bytes.Equal(c.in.key[:16], key) || !bytes.Equal(c.in.iv[:], iv) {
		t.Errorf("the server's key is %x, its IV %x; want %x, %x", c.in.key[:16], c.in.iv, key, iv)
	}
	var content []byte
	for k := range 50 {
		content = append(content, byte(k))
	}
	if got := l.seal(0, typeData, content); !bytes.Equal(got, record) {
		t.Errorf("the record is %x, want %x", got, record)
	}
}

// pair is two layers whose connections are each other's peers.
func pair(t testing.TB, id uint16) (ours *layer, engine *fake, above *upper, b below, peer *layer) {
	t.Helper()
	size := suites[id].hash().Size()
	in, out := bytes.Repeat([]byte{1}, size), bytes.Repeat([]byte{2}, size)
	ours, engine, above, b = opened(t, id, in, out)
	peer, _, _, _ = opened(t, id, out, in)
	return ours, engine, above, b, peer
}

// Records are the same however they are cut, with every cipher.
func TestRecordsInPieces(t *testing.T) {
	for id := range suites {
		_, _, above, b, peer := pair(t, id)
		var stream, want []byte
		for k := range 20 {
			content := bytes.Repeat([]byte{byte(k)}, k*k)
			stream = append(stream, peer.seal(0, typeData, content)...)
			want = append(want, content...)
		}
		for len(stream) > 0 {
			n := min(len(stream), 1+len(stream)%37)
			b.Data(0, stream[:n])
			stream = stream[n:]
		}
		if !bytes.Equal(above.data, want) || len(above.closed) > 0 {
			t.Errorf("suite %x: %d bytes of %d, closed by %v", id, len(above.data), len(want), above.closed)
		}
		if len(b.partial) > 0 {
			t.Error("something is kept of a connection between two records")
		}
	}
}

// Bytes that do not fit are sent later, in order. Writable follows a Send that was refused, and no other.
func TestRecordsThatWait(t *testing.T) {
	ours, engine, above, b, peer := pair(t, tls.TLS_AES_128_GCM_SHA256)
	read := func() (got []byte) {
		for rest := engine.sent; ; {
			var record []byte
			if record, rest = cutRecord(rest); record == nil {
				engine.sent = rest
				return got
			}
			_, p, err := peer.unseal(0, record)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, p...)
		}
	}
	engine.room = 10
	if n, err := ours.Send(0, []byte("first")); n != 5 || err != nil {
		t.Fatalf("%d bytes are taken, %v", n, err)
	}
	engine.room = 5
	b.Writable(0)
	if above.writable != 0 {
		t.Error("the layer above is told of room that it has not asked for")
	}
	if n, err := ours.Send(0, []byte("second")); n != 0 || err != nil {
		t.Fatalf("%d bytes are taken, %v", n, err)
	}
	engine.room = 1000
	b.Writable(0)
	if got := read(); string(got) != "first" || above.writable != 1 {
		t.Errorf("%q was sent, writable %d times", got, above.writable)
	}
	// A message of several records, with room for one and a half.
	engine.room = largestPlaintext * 3 / 2
	message := bytes.Repeat([]byte("message "), 3*largestPlaintext/8)
	taken, err := ours.Send(0, message)
	if taken != 2*largestPlaintext || err != nil {
		t.Fatalf("%d bytes are taken, %v", taken, err)
	}
	engine.room = 1 << 20
	b.Writable(0)
	if above.writable != 2 {
		t.Errorf("writable %d times, want 2", above.writable)
	}
	n, err := ours.Send(0, message[taken:])
	if got := read(); err != nil || taken+n != len(message) || !bytes.Equal(got, message) {
		t.Errorf("%d bytes of %d were sent, %v", len(got), len(message), err)
	}
}

// A peer changes its key, and may ask for a change of ours, which comes once however often
// it has asked while there was no room.
func TestKeyUpdates(t *testing.T) {
	ours, engine, above, b, peer := pair(t, tls.TLS_AES_256_GCM_SHA384)
	update := func(asks byte) {
		b.Data(0, peer.seal(0, typeHandshake, []byte{messageKeyUpdate, 0, 0, 1, asks}))
		peer.conns[0].out.update(peer.conns[0].suite)
	}
	update(0)
	update(0)
	b.Data(0, peer.seal(0, typeData, []byte("a")))
	if len(engine.sent) > 0 {
		t.Error("a key update that asks for nothing is answered")
	}
	engine.room = 0
	ours.Send(0, []byte("x"))
	for range 100 {
		update(1)
	}
	engine.room = 1000
	b.Writable(0)
	b.Data(0, peer.seal(0, typeData, []byte("b")))
	ours.Send(0, []byte("y"))
	var got []string
	for rest := engine.sent; len(rest) > 0; {
		var record []byte
		record, rest = cutRecord(rest)
		kind, p, err := peer.unseal(0, record)
		if err != nil {
			t.Fatal(err)
		}
		if kind == typeHandshake {
			peer.conns[0].in.update(peer.conns[0].suite)
			p = []byte("update")
		}
		got = append(got, string(p))
	}
	if strings.Join(got, " ") != "x update y" || string(above.data) != "ab" || len(above.closed) > 0 {
		t.Errorf("sent %q, received %q, closed by %v", got, above.data, above.closed)
	}
}

// What may not come ends the connection, with the reason.
func TestRecordsThatMayNotCome(t *testing.T) {
	for name, test := range map[string]struct {
		stream func(peer *layer) []byte
		want   error
	}{
		"close_notify":              {func(p *layer) []byte { return p.seal(0, typeAlert, []byte{1, 0}) }, control.Closed},
		"a fatal alert":             {func(p *layer) []byte { return p.seal(0, typeAlert, []byte{2, 80}) }, control.Alert},
		"half an alert":             {func(p *layer) []byte { return p.seal(0, typeAlert, []byte{1}) }, control.Alert},
		"plain text":                {func(*layer) []byte { return []byte("HTTP/1.1 200 OK\r\n\r\n") }, control.BadRecord},
		"a plain alert":             {func(*layer) []byte { return []byte{typeAlert, 3, 3, 0, 2, 1, 0} }, control.BadRecord},
		"an empty record":           {func(*layer) []byte { return []byte{typeData, 3, 3, 0, 0} }, control.BadRecord},
		"too large a record":        {func(*layer) []byte { return []byte{typeData, 3, 3, 0xff, 0xff} }, control.BadRecord},
		"too large a content":       {func(p *layer) []byte { return p.seal(0, typeData, make([]byte, largestPlaintext+1)) }, control.BadRecord},
		"padding alone":             {func(p *layer) []byte { return p.seal(0, 0, make([]byte, 5)) }, control.BadRecord},
		"an unknown type":           {func(p *layer) []byte { return p.seal(0, 99, []byte{1}) }, control.BadRecord},
		"a record twice":            {func(p *layer) []byte { r := bytes.Clone(p.seal(0, typeData, nil)); return append(r, r...) }, control.BadRecord},
		"an empty handshake":        {func(p *layer) []byte { return p.seal(0, typeHandshake, nil) }, control.BadRecord},
		"another handshake message": {func(p *layer) []byte { return p.seal(0, typeHandshake, []byte{1, 0, 0, 0}) }, control.BadRecord},
		"a long handshake message":  {func(p *layer) []byte { return p.seal(0, typeHandshake, []byte{4, 0xff, 0, 0}) }, control.BadRecord},
		"an update and more":        {func(p *layer) []byte { return p.seal(0, typeHandshake, []byte{24, 0, 0, 1, 0, 4}) }, control.BadRecord},
		"an update of another kind": {func(p *layer) []byte { return p.seal(0, typeHandshake, []byte{24, 0, 0, 1, 2}) }, control.BadRecord},
		"data in a handshake message": {func(p *layer) []byte {
			return append(bytes.Clone(p.seal(0, typeHandshake, []byte{4, 0})), p.seal(0, typeData, nil)...)
		}, control.BadRecord},
	} {
		_, engine, above, b, peer := pair(t, tls.TLS_CHACHA20_POLY1305_SHA256)
		b.Data(0, test.stream(peer))
		if len(above.closed) != 1 || !errors.Is(above.closed[0], test.want) || !engine.closed || len(above.data) > 0 {
			t.Errorf("%s: closed by %v, want %v", name, above.closed, test.want)
		}
	}
}

// Tickets are passed over, whole or in pieces.
func TestTickets(t *testing.T) {
	_, _, above, b, peer := pair(t, tls.TLS_AES_128_GCM_SHA256)
	ticket := append([]byte{messageTicket, 0, 1, 0}, make([]byte, 256)...)
	b.Data(0, peer.seal(0, typeHandshake, append(bytes.Clone(ticket), ticket[:100]...)))
	b.Data(0, peer.seal(0, typeHandshake, ticket[100:]))
	b.Data(0, peer.seal(0, typeData, []byte("data")))
	if string(above.data) != "data" || len(above.closed) > 0 || len(b.messages) > 0 {
		t.Errorf("received %q, closed by %v, %d messages are kept", above.data, above.closed, len(b.messages))
	}
}

// Whatever comes, nothing breaks and little is kept.
func FuzzRecords(f *testing.F) {
	f.Add([]byte("\x17\x03\x03\x00\x05hello"), byte(1), byte(typeData))
	f.Add([]byte{messageKeyUpdate, 0, 0, 1, 1}, byte(0), byte(typeHandshake))
	f.Fuzz(func(t *testing.T, p []byte, sealed, kind byte) {
		_, engine, _, b, peer := pair(t, tls.TLS_AES_128_GCM_SHA256)
		stream := p
		if sealed%2 == 0 && len(p) <= largestPlaintext {
			stream = append(bytes.Clone(peer.seal(0, kind, p)), p...)
		}
		step := 1 + int(sealed)
		for len(stream) > 0 && !engine.closed {
			n := min(step, len(stream))
			b.Data(0, stream[:n])
			stream = stream[n:]
		}
		if len(b.partial[0]) > largestRecord || len(b.messages[0]) > largestMessage {
			t.Errorf("%d bytes of a record and %d of a message are kept", len(b.partial[0]), len(b.messages[0]))
		}
	})
}

// BenchmarkRecord is a message there and its echo back, as far as the layer has to do with it.
func BenchmarkRecord(b *testing.B) {
	for id, name := range map[uint16]string{tls.TLS_AES_128_GCM_SHA256: "aes128", tls.TLS_AES_256_GCM_SHA384: "aes256", tls.TLS_CHACHA20_POLY1305_SHA256: "chacha20"} {
		b.Run(name, func(b *testing.B) {
			ours, engine, _, below, peer := pair(b, id)
			message := make([]byte, 64)
			b.ReportAllocs()
			for b.Loop() {
				engine.sent = engine.sent[:0]
				if _, err := ours.Send(0, message); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				echo := bytes.Clone(peer.seal(0, typeData, message))
				b.StartTimer()
				below.Data(0, echo)
			}
		})
	}
}
