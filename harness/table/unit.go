package table

import (
	"math"

	"connbench/harness/figure"
)

// Unit is the unit in which people read values of a unit, "%" for a share.
func Unit(u figure.Unit) string {
	if u.Shown != "" {
		return u.Shown
	}
	return u.Name
}

// Value writes values of a unit, in the unit that people read.
func Value(u figure.Unit) func(float64) string {
	return func(x float64) string {
		x *= scale(u)
		switch {
		case u.Whole:
			return Count(int(math.Round(x)))
		case math.Abs(x) < u.Finest*999.5: // three digits would be finer
			return NumberTo(x, u.Finest)
		}
		return Number(x)
	}
}

// scale is the factor to the unit that people read.
func scale(u figure.Unit) float64 {
	if u.Scale == 0 {
		return 1
	}
	return u.Scale
}
