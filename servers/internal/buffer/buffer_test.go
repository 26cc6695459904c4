package buffer

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

func TestReadAll(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789"), 1000)
	for name, r := range map[string]io.Reader{
		"whole": bytes.NewReader(want), "by the byte": iotest.OneByteReader(bytes.NewReader(want)), "with its end": iotest.DataErrReader(bytes.NewReader(want)),
	} {
		if got, err := ReadAll([]byte("begin:"), r); err != nil || !bytes.Equal(got, append([]byte("begin:"), want...)) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	broken := errors.New("broken")
	if got, err := ReadAll(nil, io.MultiReader(bytes.NewReader(want[:10]), iotest.ErrReader(broken))); err != broken || len(got) != 10 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// A buffer of the pool is empty, and a large one is not kept.
func TestPool(t *testing.T) {
	large := make([]byte, pooledBytes+1)
	Put(&large)
	for range 100 {
		b := Get()
		if len(*b) != 0 || cap(*b) > pooledBytes {
			t.Fatalf("a buffer of %d bytes, of %d", len(*b), cap(*b))
		}
		*b = append(*b, "text"...)
		Put(b)
	}
}
