package plain

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
	"unicode/utf8"
)

// hostile has what terminals obey: an escape sequence, one of a single character
// (C1), a bell, a change of direction, and a line separator.
const hostile = "a\x1b[2Jb\u009b3mc\ad\u202ee\u2028f\tg\rh\x7fi"

func TestLines(t *testing.T) {
	const want = "a [2Jb 3mc d e f g h i"
	if got := Line(hostile); got != want {
		t.Errorf("%q", got)
	}
	if got := Line("one\ntwo"); got != "one two" {
		t.Errorf("%q", got)
	}
	if got := Lines("prüfung\n" + hostile + "\n"); got != "prüfung\n"+want+"\n" {
		t.Errorf("%q", got)
	}
}

func TestCells(t *testing.T) {
	for text, want := range map[string]string{
		"gnet": "gnet", "": "", "-5": "-5", "+1e-3": "+1e-3", "-0.5": "-0.5", "1=2": "1=2",
		"=1+2": "'=1+2", "+cmd|' /C calc'!A0": "'+cmd|' /C calc'!A0", "-2+3": "'-2+3", "@SUM(A1)": "'@SUM(A1)", "@x": "'@x",
		"\t=1": "' =1", "\r=1": "' =1", " =1": "' =1", "-": "'-", "=": "'=", "a\x1bb": "a b",
	} {
		if got := Cell(text); got != want {
			t.Errorf("%q gives %q, want %q", text, got, want)
		}
	}
}

// JSON means the same as before, and has nothing that a terminal obeys.
func TestJSON(t *testing.T) {
	value := map[string]string{hostile: "<" + hostile + "\U000e0001>"} // a tag of plane 14
	var out bytes.Buffer
	if err := JSON(&out, value); err != nil {
		t.Fatal(err)
	}
	for _, r := range out.String() {
		if r != '\n' && obeyed(r) {
			t.Errorf("%q in %s", r, out.String())
		}
	}
	var back map[string]string
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || back[hostile] != value[hostile] {
		t.Errorf("%q, %v", back, err)
	}
	if err := JSON(&out, func() {}); err == nil {
		t.Error("a function is JSON")
	}
}

// However the bytes are cut, the same comes out.
func TestWriter(t *testing.T) {
	text := "prüfung 計画\n" + hostile + "\n\U0001F600"
	for size := 1; size < 9; size++ {
		var out bytes.Buffer
		w := &Writer{W: &out}
		for rest := []byte(text); len(rest) > 0; {
			n := min(size, len(rest))
			if written, err := w.Write(rest[:n]); written != n || err != nil {
				t.Fatal(written, err)
			}
			rest = rest[n:]
		}
		if out.String() != Lines(text) {
			t.Errorf("in pieces of %d: %q", size, out.String())
		}
	}
	var out bytes.Buffer
	fmt.Fprint(&Writer{W: &out}, "a\xff\x9bb") // not UTF-8: C1 in one byte
	if !utf8.Valid(out.Bytes()) || out.String() != "a\uFFFD\uFFFDb" {
		t.Errorf("%q", out.String())
	}
}
