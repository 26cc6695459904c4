package tail

import (
	"fmt"
	"strings"
	"testing"
)

const stack = "goroutine 17 [running]:\nmain.serve.func1()\n\t/src/main.go:42 +0x1d\nexit status 2\n"

func TestLineThatSaysMost(t *testing.T) {
	for text, want := range map[string]string{
		"":                                  "",
		"one":                               "one",
		"one\ntwo":                          "two",
		"ready\npanic: no luck\n\n" + stack: "panic: no luck",
		"panic: first\n\n" + stack + "panic: second\n\n":                                     "panic: first",
		"runtime: out of memory\nfatal error: out of memory\n\n" + stack:                     "fatal error: out of memory",
		"thread 'main' panicked at src/main.rs:7:5:\nno luck\nnote: run with RUST_BACKTRACE": "thread 'main' panicked at src/main.rs:7:5:",
		"no room\ncommand terminated with exit code 1":                                       "no room",
		"command terminated with exit code 137":                                              "command terminated with exit code 137",
		"don't panic: it helps nobody":                                                       "don't panic: it helps nobody",
	} {
		if got := Line(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// The first line of a panic is quoted, however long its stack is and in whatever
// pieces it comes.
func TestPanicBeforeALongStack(t *testing.T) {
	text := "listening\npanic: no luck at connection 40\n\n" + strings.Repeat(stack, 500)
	for _, piece := range []int{1, 7, 4096, len(text)} {
		var tail Tail
		for rest := text; rest != ""; {
			n := min(piece, len(rest))
			fmt.Fprint(&tail, rest[:n])
			rest = rest[n:]
		}
		if got := tail.Line(); got != "panic: no luck at connection 40" {
			t.Errorf("in pieces of %d: %q", piece, got)
		}
		if !strings.HasSuffix(tail.String(), "exit status 2") || len(tail.String()) > limit+100 {
			t.Errorf("in pieces of %d the end is %q", piece, tail.String())
		}
		if head := tail.Head(); head != text[:min(len(text), headLimit)] {
			t.Errorf("in pieces of %d the head has %d bytes", piece, len(head))
		}
	}
}

// A flood costs no more than what is kept.
func TestFlood(t *testing.T) {
	var tail Tail
	for range 1000 {
		fmt.Fprint(&tail, strings.Repeat("x", 1<<16))
	}
	if cap(tail.head) > 2*headLimit || cap(tail.text) > 4*limit || cap(tail.line) > 2*lineLimit {
		t.Errorf("it keeps %d, %d and %d bytes", cap(tail.head), cap(tail.text), cap(tail.line))
	}
	if got := tail.Line(); len(got) != lineLimit || !strings.HasSuffix(got, "x…") {
		t.Errorf("a line of %d bytes", len(got))
	}
}
