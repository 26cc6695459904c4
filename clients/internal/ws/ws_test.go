package ws

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	gobwas "github.com/gobwas/ws"
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
	h := NewHandshake(7, testTargets)
	keys := map[string]bool{}
	for key := range Keys {
		for i, target := range testTargets {
			request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(h.Request(i, key))))
			if err != nil {
				t.Fatal(err)
			}
			if request.Host != target.String() {
				t.Fatalf("Host %q, want %q", request.Host, target)
			}
			keys[request.Header.Get("Sec-WebSocket-Key")] = true
			// gobwas knows what a server demands.
			var out bytes.Buffer
			if _, err := gobwas.Upgrade(pipe{bytes.NewReader(h.Request(i, key)), &out}); err != nil {
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
	if again := NewHandshake(7, testTargets); again.keys != h.keys {
		t.Error("the same seed gives other keys")
	}
	if other := NewHandshake(8, testTargets); other.keys[0] == h.keys[0] {
		t.Error("another seed gives the same keys")
	}
}

type pipe struct {
	io.Reader
	io.Writer
}

func TestCheck(t *testing.T) {
	h := NewHandshake(1, testTargets)
	good := "HTTP/1.1 101 Switching Protocols\r\nServer: x\r\nupgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Accept: " + string(h.accepts[3][:]) + "\r\n\r\n"
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
		{"400", "HTTP/1.1 400 Bad Request\r\n\r\n", 0, ErrRejected},
		{"503, not complete", "HTTP/1.1 503 Busy\r\nX", 0, ErrRejected},
		{"200", replace("101 Switching Protocols", "200 OK"), 0, ErrRejected},
		{"1010", replace("101", "1010"), 0, ErrBadAnswer},
		{"HTTP/1.0", replace("HTTP/1.1", "HTTP/1.0"), 0, ErrBadAnswer},
		{"no HTTP", "SSH-2.0-OpenSSH\r\n", 0, ErrBadAnswer},
		{"our own request", string(h.Request(0, 3)), 0, ErrBadAnswer},
		{"header without colon", replace("Server: x", "Server x"), 0, ErrBadAnswer},
		{"endless line", strings.Repeat("x", MaxAnswer), 0, ErrBadAnswer},
		{"endless header", strings.TrimSuffix(good, "\r\n") + strings.Repeat("X: y\r\n", MaxAnswer/6), 0, ErrBadAnswer},
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
	}
}

// FuzzCheck: an answer comes in pieces, and what is said of its parts must fit
// what is said of the whole; and what is accepted is accepted by net/http too.
func FuzzCheck(f *testing.F) {
	h := NewHandshake(1, testTargets)
	accept := string(h.accepts[0][:])
	f.Add("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+accept+"\r\n\r\n\x81\x00", 20)
	f.Add("HTTP/1.1 400 Bad Request\r\n\r\n", 3)
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
		if partN != 0 && partN != n {
			t.Fatalf("complete after %d bytes of %d, then after %d", partN, cut, n)
		}
		if partErr != nil && err == nil && len(answer) < MaxAnswer {
			t.Fatalf("wrong after %d bytes: %v, and good as a whole", cut, partErr)
		}
		if n == 0 || strings.ContainsAny(answer[:n], "\x00\x7f") {
			return
		}
		response, err := http.ReadResponse(bufio.NewReader(strings.NewReader(answer[:n])), nil)
		if err != nil {
			return // net/http is stricter about names
		}
		if response.StatusCode != 101 || response.Header.Get("Sec-WebSocket-Accept") != accept {
			t.Fatalf("accepted, and net/http says %v", response)
		}
	})
}

func TestHeadersAreThoseOfGobwas(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 127, 65535, 65536, 1 << 24} {
		var b [MaxHeader]byte
		n := PutHeader(b[:], Binary, size, 0x04030201)
		header, err := gobwas.ReadHeader(bytes.NewReader(b[:n]))
		if err != nil {
			t.Fatal(err)
		}
		want := gobwas.Header{Fin: true, OpCode: gobwas.OpBinary, Masked: true, Mask: [4]byte{1, 2, 3, 4}, Length: int64(size)}
		if header != want {
			t.Errorf("size %d: %+v", size, header)
		}
	}
}

func TestControlFrame(t *testing.T) {
	b := AppendControl([]byte("before"), Close, []byte("\x03\xe8bye"), 0xAABBCCDD)
	frame, err := gobwas.ReadFrame(bytes.NewReader(b[len("before"):]))
	if err != nil {
		t.Fatal(err)
	}
	gobwas.Cipher(frame.Payload, frame.Header.Mask, 0)
	if frame.Header.OpCode != gobwas.OpClose || !frame.Header.Masked || string(frame.Payload) != "\x03\xe8bye" {
		t.Errorf("%+v", frame)
	}
}

// read reads a stream that comes in pieces of a size, and returns what was in it
// up to the first error.
func read(stream []byte, size int) (messages []string, err error) {
	var r Reader
	var partial [16][]byte // by opcode
	for len(stream) > 0 {
		p := stream[:min(size, len(stream))]
		stream = stream[len(p):]
		for len(p) > 0 {
			piece, n, found, err := r.Next(p)
			if err != nil {
				return messages, err
			}
			if n == 0 || !found && n != len(p) {
				return messages, errors.New("stuck")
			}
			p = p[n:]
			if !found {
				continue
			}
			partial[piece.Opcode] = append(partial[piece.Opcode], piece.Payload...)
			if piece.Last {
				messages = append(messages, string(rune('0'+piece.Opcode))+string(partial[piece.Opcode]))
				partial[piece.Opcode] = nil
			}
		}
	}
	return messages, nil
}

func frame(fin bool, opcode gobwas.OpCode, payload string) string {
	return string(gobwas.MustCompileFrame(gobwas.NewFrame(opcode, fin, []byte(payload))))
}

func TestReader(t *testing.T) {
	long, longer := strings.Repeat("long ", 30), strings.Repeat("longer ", 10_000)
	for _, c := range []struct {
		name, stream string
		want         []string
		bad          bool
	}{
		{"messages", frame(true, gobwas.OpBinary, "one") + frame(true, gobwas.OpText, "") + frame(true, gobwas.OpBinary, long) + frame(true, gobwas.OpText, longer),
			[]string{"2one", "1", "2" + long, "1" + longer}, false},
		{"fragments with a ping between", frame(false, gobwas.OpText, "a") + frame(true, gobwas.OpPing, "ping") + frame(false, gobwas.OpContinuation, "") + frame(true, gobwas.OpContinuation, "b") + frame(true, gobwas.OpPong, ""),
			[]string{"9ping", "1ab", ":"}, false},
		{"close", frame(true, gobwas.OpClose, "\x03\xe8"), []string{"8\x03\xe8"}, false},
		{"longest control frame", frame(true, gobwas.OpPing, strings.Repeat("x", 125)), []string{"9" + strings.Repeat("x", 125)}, false},
		{"half a frame", frame(true, gobwas.OpBinary, "one")[:4], nil, false},

		{"masked", "\x82\x81abcdx", nil, true},
		{"reserved bit", "\xc2\x00", nil, true},
		{"reserved opcode", "\x83\x00", nil, true},
		{"reserved control opcode", "\x8b\x00", nil, true},
		{"fragmented ping", "\x09\x00", nil, true},
		{"ping of 126", "\x89\x7e\x00\x7e" + strings.Repeat("x", 126), nil, true},
		{"continuation of nothing", "\x80\x00", nil, true},
		{"continuation of a whole message", frame(true, gobwas.OpText, "x") + "\x80\x00", []string{"1x"}, true},
		{"message within a message", "\x01\x00\x81\x00", nil, true},
		{"125 in 16 bits", "\x82\x7e\x00\x7d", nil, true},
		{"65535 in 64 bits", "\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff", nil, true},
		{"4 GiB", "\x82\x7f\x00\x00\x00\x01\x00\x00\x00\x00", nil, true},
		{"negative", "\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", nil, true},
	} {
		for _, size := range []int{1, 2, 3, 5, 7, 4096, 1 << 20} {
			got, err := read([]byte(c.stream), size)
			if (err == ErrBadFrame) != c.bad || err != nil && !c.bad {
				t.Errorf("%s, in pieces of %d: error %v", c.name, size, err)
			}
			if strings.Join(got, "|") != strings.Join(c.want, "|") {
				t.Errorf("%s, in pieces of %d: %.200q; want %.200q", c.name, size, got, c.want)
			}
		}
	}
}

// FuzzReader: however a stream is cut, it is the same stream; and it is what
// gobwas reads, as long as gobwas finds no fault with it.
func FuzzReader(f *testing.F) {
	f.Add([]byte(frame(true, gobwas.OpBinary, "one")+frame(true, gobwas.OpPing, "x")), 1)
	f.Add([]byte("\x01\x02ab\x80\x00"), 2)
	f.Add([]byte("\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"), 3)
	f.Fuzz(func(t *testing.T, stream []byte, size int) {
		if size < 1 {
			return
		}
		whole, wholeErr := read(stream, len(stream)+1)
		pieces, piecesErr := read(stream, size)
		if strings.Join(whole, "|") != strings.Join(pieces, "|") || wholeErr != piecesErr {
			t.Fatalf("whole: %q, %v; in pieces of %d: %q, %v", whole, wholeErr, size, pieces, piecesErr)
		}
		if wholeErr != nil && wholeErr != ErrBadFrame {
			t.Fatal(wholeErr)
		}

		in, state, n := bytes.NewReader(stream), gobwas.StateClientSide, 0
		for {
			header, err := gobwas.ReadHeader(in)
			if err != nil || gobwas.CheckHeader(header, state) != nil || header.Masked || header.Length > int64(in.Len()) {
				return
			}
			in.Seek(header.Length, io.SeekCurrent)
			if header.OpCode.IsControl() || header.Fin {
				n++
			}
			if !header.OpCode.IsControl() {
				if header.Fin {
					state = state.Clear(gobwas.StateFragmented)
				} else {
					state = state.Set(gobwas.StateFragmented)
				}
			}
			if len(whole) < n && !longForm(stream[:len(stream)-in.Len()]) {
				t.Fatalf("gobwas reads %d messages, we %d: %v", n, len(whole), wholeErr)
			}
		}
	})
}

// longForm says whether a length may not be in its shortest form, which gobwas
// lets pass.
func longForm(stream []byte) bool {
	return bytes.ContainsAny(stream, "\x7e\x7f")
}
