// Package plain makes foreign texts safe to print: names, messages of servers and
// hosts, files that somebody else wrote. What a terminal would obey, and what a
// spreadsheet would compute, becomes plain text.
package plain

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// obeyed is true for characters that a terminal obeys rather than shows: controls,
// those that change the direction of writing, and line separators.
func obeyed(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}

// Line is text on one line, with a space for each character that a terminal would
// obey.
func Line(text string) string {
	return strings.Map(func(r rune) rune {
		if obeyed(r) {
			return ' '
		}
		return r
	}, text)
}

// Lines is text as [Line] has it, but for its line breaks.
func Lines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = Line(lines[i])
	}
	return strings.Join(lines, "\n")
}

// Cell is text for a field of a CSV file. A spreadsheet takes what begins with = + - or
// @ for a formula: it gets an apostrophe before it, unless it is a number.
func Cell(text string) string {
	text = Line(text)
	if trimmed := strings.TrimSpace(text); trimmed != "" && strings.ContainsRune("=+-@", rune(trimmed[0])) {
		if _, err := strconv.ParseFloat(trimmed, 64); err != nil {
			return "'" + text
		}
	}
	return text
}

// JSON writes value as JSON, with an escape for each character that a terminal would
// obey.
func JSON(w io.Writer, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	var out bytes.Buffer
	for _, r := range string(text) {
		if r != '\n' && obeyed(r) { // only strings have such
			for _, unit := range utf16.AppendRune(nil, r) {
				fmt.Fprintf(&out, `\u%04x`, unit)
			}
			continue
		}
		out.WriteRune(r)
	}
	out.WriteByte('\n')
	_, err = out.WriteTo(w)
	return err
}

// Writer passes on what is written to it, as [Lines] has it.
type Writer struct {
	W io.Writer
	// rest is the beginning of a character that is not complete yet.
	rest []byte
}

// Write implements [io.Writer].
func (w *Writer) Write(p []byte) (int, error) {
	text := append(w.rest, p...)
	whole := len(text)
	for i := 1; i < utf8.UTFMax && i <= len(text); i++ {
		if start := len(text) - i; utf8.RuneStart(text[start]) {
			if !utf8.FullRune(text[start:]) {
				whole = start
			}
			break
		}
	}
	w.rest = append([]byte(nil), text[whole:]...)
	if _, err := io.WriteString(w.W, Lines(string(text[:whole]))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Fd returns the descriptor of the file that is written to, so that a terminal can be
// asked for its width; ^0 if it is not a file.
func (w *Writer) Fd() uintptr {
	if file, is := w.W.(interface{ Fd() uintptr }); is {
		return file.Fd()
	}
	return ^uintptr(0)
}
