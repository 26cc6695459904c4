// Package naming says what variants, plans, labs and hosts may be called. Their names
// stand unquoted on command lines, in file names, in tables and in benchmark text.
package naming

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// longest is how long a name may be, in bytes: with what is added to it, it must fit
// into a file name of 255.
const longest = 200

// Inner are the characters that a name may have besides letters and digits of any
// script; it may begin with those of them that are in first.
const (
	inner = "._+-@()#~"
	first = "_@("
)

// Check is an error that says why name cannot be the name of anything; what is the key
// that has it.
func Check(what, name string) error {
	if len(name) > longest {
		return fmt.Errorf("%s: a name of %d bytes: it may have %d", what, len(name), longest)
	}
	allowed := first
	for i, r := range name {
		letter := unicode.In(r, unicode.L, unicode.N) || i > 0 && unicode.Is(unicode.M, r)
		if r == utf8.RuneError || !letter && !strings.ContainsRune(allowed, r) {
			return fmt.Errorf("%s: %q is not a name (letters, digits and %s; it begins with a letter, a digit or one of %s)", what, Cut(name), inner, first)
		}
		allowed = inner
	}
	if name == "" {
		return fmt.Errorf("%s: \"\" is not a name", what)
	}
	return nil
}

// Cut shortens a foreign text that is going into an error message.
func Cut(text string) string {
	const most = 64
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
