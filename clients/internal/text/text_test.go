package text

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"testing"
)

// deflated is the size of p when it is compressed.
func deflated(t *testing.T, p []byte) int {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.DefaultCompression)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(p)
	w.Flush()
	return out.Len()
}

// A message compresses as JSON does, and one is no help to compress the next: two are not much
// smaller together.
func TestMessagesCompressAsJSON(t *testing.T) {
	b := New(1).Prepare(2000)
	message := func(head uint64) []byte {
		p := make([]byte, 2000)
		b.Fill(p, head, 0)
		return p
	}
	alone, two := 0, 0
	for head := range uint64(100) {
		alone += deflated(t, message(head)) + deflated(t, message(head+100))
		two += deflated(t, append(message(head), message(head+100)...))
	}
	if ratio := float64(200*2000) / float64(alone); ratio < 2 || ratio > 4 {
		t.Errorf("messages of 2,000 bytes become %.2f times smaller", ratio)
	}
	if gain := float64(alone) / float64(two); gain < 1.05 || gain > 1.5 {
		t.Errorf("two messages together are %.2f times smaller than apart", gain)
	}
}

func TestBodiesAreRecords(t *testing.T) {
	b := New(1).Prepare(4000)
	all := append(make([]byte, HeadBytes), b.Body(0)...)
	_, lines, _ := bytes.Cut(all, []byte("\n"))
	whole, _, _ := bytes.Cut(lines, []byte("\n"))
	if !json.Valid(whole) {
		t.Errorf("not JSON: %s", whole)
	}
}

// A message is the same in pieces, is known by its head, and no other message is it.
func TestFill(t *testing.T) {
	for _, size := range []int{0, 1, 7, 8, 9, 100} {
		texts := New(3)
		b := texts.Prepare(size)
		if texts.Known(size) != b || texts.Known(size+1) != nil || texts.Prepare(size) != b {
			t.Error("the size is not known")
		}
		const head = 0x0807060504030201
		whole := make([]byte, size)
		b.Fill(whole, head, 0)
		if want := "\x01\x02\x03\x04\x05\x06\x07\x08"; string(whole[:min(size, 8)]) != want[:min(size, 8)] {
			t.Errorf("it begins with %q", whole[:min(size, 8)])
		}
		for from := range size {
			for to := from; to <= size; to++ {
				piece := make([]byte, to-from)
				if b.Fill(piece, head, from); !bytes.Equal(piece, whole[from:to]) {
					t.Fatalf("bytes %d to %d differ", from, to)
				}
			}
		}
		if b.IsMessage(whole) != (size >= HeadBytes) {
			t.Errorf("a message of %d bytes is not known", size)
		}
		if size > HeadBytes {
			other := make([]byte, size)
			if b.Fill(other, head+1, 0); bytes.Equal(other[HeadBytes:], whole[HeadBytes:]) {
				t.Error("two messages have the same body")
			}
			for k := HeadBytes; k < size; k++ {
				if whole[k] ^= 1; b.IsMessage(whole) {
					t.Errorf("byte %d may be wrong", k)
				}
				whole[k] ^= 1
			}
			if !bytes.Equal(New(3).Prepare(size).all, b.all) || bytes.Equal(New(4).Prepare(size).all, b.all) {
				t.Error("bodies do not come from the seed")
			}
		}
	}
}
