package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// whole reads a whole number that is at least least. Underscores may separate its
// digits.
func whole(what string, least int) func(string) (int, error) {
	return func(text string) (int, error) {
		n, err := strconv.Atoi(strings.ReplaceAll(text, "_", ""))
		switch {
		case err != nil:
			return 0, fmt.Errorf("%q is not a whole number", text)
		case n < least:
			return 0, fmt.Errorf("%s is %d: it must be at least %d", what, n, least)
		}
		return n, nil
	}
}

// positive reads a number above 0.
func positive(text string) (float64, error) {
	x, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
	if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
		return 0, fmt.Errorf("%q is not a number", text)
	}
	if x <= 0 {
		return 0, fmt.Errorf("it is %g: it must be positive", x)
	}
	return x, nil
}
