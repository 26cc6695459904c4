package flags

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Value is a flag that a function reads. It has no default. It implements pflag.Value.
type Value struct {
	// Kind stands for the value in the help.
	Kind string
	Read func(string) error
}

// Set reads the flag.
func (v Value) Set(text string) error { return v.Read(text) }

// String is the default.
func (v Value) String() string { return "" }

// Type stands for the value in the help.
func (v Value) Type() string { return v.Kind }

// Optional is a flag whose target stays nil unless it is given.
func Optional[T any](kind string, parse func(string) (T, error), target **T) Value {
	return Value{kind, func(text string) error {
		parsed, err := parse(text)
		*target = &parsed
		return err
	}}
}

// Integer reads a whole number. Underscores may separate its digits. Whether a plan may
// have it, the plan says.
func Integer(text string) (int, error) {
	n, err := strconv.Atoi(strings.ReplaceAll(text, "_", ""))
	if err != nil {
		return 0, errors.New("it must be a whole number")
	}
	return n, nil
}

// Positive reads a number above 0 that is at most most.
func Positive(most float64) func(string) (float64, error) {
	return func(text string) (float64, error) {
		x, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
		if err != nil || !(x > 0 && x <= most) {
			return 0, fmt.Errorf("it must be a positive number, and at most %g", most)
		}
		return x, nil
	}
}

// PositiveInteger reads a whole number from 1 to most.
func PositiveInteger(most int) func(string) (int, error) {
	return func(text string) (int, error) {
		n, err := Integer(text)
		if err == nil && (n < 1 || n > most) {
			err = fmt.Errorf("it must be from 1 to %d", most)
		}
		return n, err
	}
}
