// Package tail keeps what matters of what a program says: its end, its first words,
// and what it died of.
package tail

import (
	"bytes"
	"strings"
	"sync"
)

// How much is kept, in bytes: of the end, of the head, and of one line.
const (
	limit     = 4 << 10
	headLimit = 64 << 10
	lineLimit = 512
)

// Tail keeps the end of what is written to it. The zero value is ready.
type Tail struct {
	lock sync.Mutex
	head []byte
	text []byte
	line []byte // the unfinished line, as much as may tell
	died string // the line that says what the program died of, "" if there was none
}

// Write never fails.
func (t *Tail) Write(p []byte) (int, error) {
	t.lock.Lock()
	defer t.lock.Unlock()
	t.head = append(t.head, p[:min(len(p), headLimit-len(t.head))]...)
	t.watch(p)
	t.text = append(t.text, p[max(0, len(p)-limit):]...)
	if over := len(t.text) - limit; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

// watch looks at whole lines, in whatever pieces they come.
func (t *Tail) watch(p []byte) {
	for len(p) > 0 {
		piece, rest, ended := bytes.Cut(p, []byte{'\n'})
		t.line = append(t.line, piece[:min(len(piece), lineLimit-len(t.line))]...)
		if ended {
			if line := string(t.line); isDeath(line) {
				t.died = line
			}
			t.line = t.line[:0]
		}
		p = rest
	}
}

// String is what is kept of the end, without space around it. What the program died
// of is its first line where a long stack has pushed that out.
func (t *Tail) String() string {
	t.lock.Lock()
	defer t.lock.Unlock()
	text := strings.TrimSpace(string(t.text))
	if t.died != "" && !strings.Contains(text, t.died) {
		return t.died + "\n…\n" + text
	}
	return text
}

// Head is the beginning of what was written, up to 64 KiB.
func (t *Tail) Head() string {
	t.lock.Lock()
	defer t.lock.Unlock()
	return string(t.head)
}

// Line is the line that says most; see [Line].
func (t *Tail) Line() string { return Line(t.String()) }

// Line is the line of a text that says most of why a program ended: the first line of
// a panic, for what follows is its stack; else the last line, but for what says no more
// than that the program ended.
func Line(text string) string {
	last := ""
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, "\r\n"); isDeath(line) {
			return cut(line)
		}
		if last == "" || !isEpilogue(line) {
			last = line
		}
	}
	return cut(last)
}

// isEpilogue recognizes what kubectl adds to the words of a command that has failed.
func isEpilogue(line string) bool {
	return line == "" || strings.HasPrefix(line, "command terminated with exit code ")
}

// cut keeps of a line as much as may tell.
func cut(line string) string {
	if len(line) <= lineLimit {
		return line
	}
	const more = "…"
	return line[:lineLimit-len(more)] + more
}

// isDeath recognizes the first line of a stack, as the runtimes of Go and Rust and the
// sanitizers of C write it.
func isDeath(line string) bool {
	switch {
	case strings.HasPrefix(line, "panic: "), strings.HasPrefix(line, "fatal error: "):
		return true
	case strings.HasPrefix(line, "thread '") && strings.Contains(line, "panicked at "):
		return true
	}
	return strings.Contains(line, "ERROR: AddressSanitizer: ")
}
