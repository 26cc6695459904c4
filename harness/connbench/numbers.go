package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// integer reads a whole number. Underscores may separate its digits. Whether a plan may
// have it, the plan says.
func integer(text string) (int, error) {
	n, err := strconv.Atoi(strings.ReplaceAll(text, "_", ""))
	if err != nil {
		return 0, errors.New("it must be a whole number")
	}
	return n, nil
}

// positive reads a number above 0 that is at most most.
func positive(most float64) func(string) (float64, error) {
	return func(text string) (float64, error) {
		x, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
		if err != nil || !(x > 0 && x <= most) {
			return 0, fmt.Errorf("it must be a positive number, and at most %g", most)
		}
		return x, nil
	}
}

// positiveInteger reads a whole number from 1 to most.
func positiveInteger(most int) func(string) (int, error) {
	return func(text string) (int, error) {
		n, err := integer(text)
		if err == nil && (n < 1 || n > most) {
			err = fmt.Errorf("it must be from 1 to %d", most)
		}
		return n, err
	}
}
