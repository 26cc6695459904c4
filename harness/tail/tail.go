// Package tail keeps the end of what a program says.
package tail

import (
	"strings"
	"sync"
)

// limit is how much is kept, in bytes.
const limit = 4 << 10

// Tail keeps the end of what is written to it. The zero value is ready.
type Tail struct {
	lock sync.Mutex
	text []byte
}

// Write never fails.
func (t *Tail) Write(p []byte) (int, error) {
	t.lock.Lock()
	defer t.lock.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - limit; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

// String is what is kept, without space around it.
func (t *Tail) String() string {
	t.lock.Lock()
	defer t.lock.Unlock()
	return strings.TrimSpace(string(t.text))
}

// Line is the last line.
func (t *Tail) Line() string { return LastLine(t.String()) }

// LastLine is the last line of a text, which is usually what a program died of.
func LastLine(text string) string { return text[strings.LastIndexByte(text, '\n')+1:] }
