// Package explain adds to an error what the person who reads it needs to know
// besides what went wrong: what to do about it, and whether they asked for something
// that makes no sense. Errors are printed here and nowhere else.
package explain

import (
	"errors"
	"fmt"
	"io"

	"connbench/harness/plain"
)

// Exit statuses.
const (
	StatusFailure = 1 // the program could not do, or finish, what it was asked for
	StatusUsage   = 2 // what it was asked for makes no sense: it has begun nothing
)

// hinted is an error with advice.
type hinted struct {
	error
	hint string
}

func (e hinted) Unwrap() error { return e.error }

// Hint adds advice to err: what to do, in the imperative, without a full stop. A nil
// err stays nil.
func Hint(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return hinted{err, fmt.Sprintf(format, args...)}
}

// HintOf is the advice that err carries, "" if it carries none. Of several the
// outermost counts: it was added where most was known about what the person wanted.
func HintOf(err error) string {
	var h hinted
	if errors.As(err, &h) {
		return h.hint
	}
	return ""
}

// usage is a mistake in what was typed, or in a file that was named.
type usage struct{ error }

func (e usage) Unwrap() error { return e.error }

// Usage marks err as a mistake of the caller: the program exits with
// [StatusUsage]. A nil err stays nil.
func Usage(err error) error {
	if err == nil {
		return nil
	}
	return usage{err}
}

// Usagef makes an error of the caller, as [fmt.Errorf] does.
func Usagef(format string, args ...any) error { return usage{fmt.Errorf(format, args...)} }

// Said is an error that has been printed already: the program fails without another
// word.
var Said = errors.New("")

// Print writes err for a person, the hint in a line of its own, and returns the exit
// status that it asks for.
func Print(w io.Writer, err error) int {
	if message := err.Error(); message != "" {
		fmt.Fprintln(w, "connbench:", plain.Lines(message))
	}
	if hint := HintOf(err); hint != "" {
		fmt.Fprintln(w, "hint:", plain.Line(hint))
	}
	var mistake usage
	if errors.As(err, &mistake) {
		return StatusUsage
	}
	return StatusFailure
}
