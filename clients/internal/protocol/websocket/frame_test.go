package websocket

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	gobwas "github.com/gobwas/ws"
)

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

func TestMaskIsThatOfGobwas(t *testing.T) {
	for size := range 40 {
		payload := []byte(strings.Repeat("payload ", 5)[:size])
		got := make([]byte, size)
		Mask(got, payload, 0x04030201)
		want := bytes.Clone(payload)
		gobwas.Cipher(want, [4]byte{1, 2, 3, 4}, 0)
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes: %x, want %x", size, got, want)
		}
	}
}
