package frame

import (
	"bufio"
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
)

// TestFrames has the examples of RFC 6455 section 5.7.
func TestFrames(t *testing.T) {
	mask := [4]byte{0x37, 0xFA, 0x21, 0x3D}
	for _, test := range []struct {
		frame  Frame
		length uint64
		header []byte
	}{
		{Frame{Op: OpText}, 5, []byte{0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D}},
		{Frame{Op: OpText, Bare: true}, 5, []byte{0x81, 0x05}},
		{Frame{Op: OpText, More: true, Bare: true}, 3, []byte{0x01, 0x03}},
		{Frame{Op: OpContinuation, Bare: true}, 2, []byte{0x80, 0x02}},
		{Frame{Op: OpPing, Bare: true}, 5, []byte{0x89, 0x05}},
		{Frame{Op: OpBinary, Bare: true}, 256, []byte{0x82, 0x7E, 0x01, 0x00}},
		{Frame{Op: OpBinary, Bare: true}, 65536, []byte{0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0}},
	} {
		if got := test.frame.AppendHeader(nil, test.length, mask); !bytes.Equal(got, test.header) {
			t.Errorf("header of %v with %d bytes: got % x, want % x", test.frame, test.length, got, test.header)
		}
		if !test.frame.Bare {
			continue // no server sends it
		}
		payload := bytes.Repeat([]byte("x"), int(test.length))
		got, err := ReadFrame(bufio.NewReader(bytes.NewReader(slices.Concat(test.header, payload))), false)
		if err != nil || got.Op != test.frame.Op || got.More != test.frame.More || !bytes.Equal(got.Payload, payload) {
			t.Errorf("read %v, %v, want %v", got, err, test.frame)
		}
	}
}

func TestReadFrameRefuses(t *testing.T) {
	for _, test := range []struct {
		bytes []byte
		want  string
	}{
		{[]byte{0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58}, "masked"},
		{[]byte{0xC1, 0x01, 'x'}, "reserved bits 100"},
		{append([]byte{0x82, 126, 0, 125}, make([]byte, 125)...), "fewest bytes"},
		{append([]byte{0x82, 127, 0, 0, 0, 0, 0, 0, 0, 1}, 'x'), "fewest bytes"},
		{[]byte{0x09, 0x00}, "fragmented or longer"},
		{append([]byte{0x89, 126, 0, 126}, make([]byte, 126)...), "fragmented or longer"},
		{[]byte{0x82, 127, 0x7F, 0, 0, 0, 0, 0, 0, 0}, "a frame of 9151314442816847872 bytes"},
	} {
		if f, err := ReadFrame(bufio.NewReader(bytes.NewReader(test.bytes)), false); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("% x: got %v, %v, want an error with %q", test.bytes[:2], f, err, test.want)
		}
	}
	for first, want := range map[byte]bool{0xC1: true, 0x42: true, 0xA1: false, 0xC0: false, 0xC9: false} {
		if _, err := ReadFrame(bufio.NewReader(bytes.NewReader([]byte{first, 0})), true); (err == nil) != want {
			t.Errorf("with compression, %#x: %v", first, err)
		}
	}
	whole := append([]byte{0x82, 126, 0, 200}, make([]byte, 200)...)
	for cut := range whole {
		want := io.ErrUnexpectedEOF
		if cut == 0 {
			want = io.EOF
		}
		if _, err := ReadFrame(bufio.NewReader(bytes.NewReader(whole[:cut])), false); err != want {
			t.Errorf("%d bytes of a frame: got %v, want %v", cut, err, want)
		}
	}
}

// Whatever a server sends, the gate reads a frame or says what is wrong with it, and a frame
// that it reads is what was sent.
func FuzzReadFrame(f *testing.F) {
	for _, seed := range [][]byte{
		{0x81, 0x01, 'x'}, {0x88, 0x02, 0x03, 0xE8}, {0x82, 126, 0, 126}, {0x82, 127, 0x7F, 0, 0, 0, 0, 0, 0, 0}, {0x89, 0x80, 1, 2, 3, 4},
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		r := bufio.NewReader(bytes.NewReader(sent))
		frame, err := ReadFrame(r, false)
		if err != nil {
			if err == io.EOF && len(sent) > 1 {
				t.Fatalf("the end within % x is no end", sent)
			}
			return
		}
		again := frame.AppendHeader(nil, uint64(len(frame.Payload)), [4]byte{})
		again = append(again, frame.Payload...)
		rest, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(sent, append(again, rest...)) {
			t.Errorf("% x is read as %v, which is % x, and % x", sent, frame, again, rest)
		}
		_ = frame.String()
	})
}

// Long payloads are as one byte at a time would make them.
func TestMaskAndPattern(t *testing.T) {
	mask := [4]byte{1, 2, 0xA5, 0xFF}
	for _, n := range []int{0, 1, 3, 4, 5, 4095, 4096, 4097, 3 * 256 * 95} {
		got, want := Pattern(n), make([]byte, n)
		for i := range want {
			want[i] = ' ' + byte((i*7+i/256*13+n)%95)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("pattern of %d bytes", n)
		}
		for i := range want {
			want[i] ^= mask[i%4]
		}
		if Mask(got, mask); !bytes.Equal(got, want) {
			t.Errorf("mask of %d bytes", n)
		}
	}
}
