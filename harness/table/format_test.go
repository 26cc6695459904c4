package table

import (
	"math"
	"testing"
)

func TestNumbersForPeople(t *testing.T) {
	for x, want := range map[float64]string{
		0: "0", 9214.5: "9,210", 999.4: "999", 999.6: "1,000", 99.96: "100", 15.04: "15.0", 1.0049: "1.00", 9.996: "10.0",
		0.01234: "0.0123", 1234567: "1,230,000", -0.5: "-0.500", -12345: "-12,300", 1e-9: "0.000000", math.NaN(): Missing, math.Inf(1): Missing,
	} {
		if got := Number(x); got != want {
			t.Errorf("Number(%v) = %s, want %s", x, got, want)
		}
	}
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", -12345: "-12,345", 1234567: "1,234,567"} {
		if got := Count(n); got != want {
			t.Errorf("Count(%d) = %s, want %s", n, got, want)
		}
	}
	for x, want := range map[float64]string{0: "0%", 0.0002: "0.02%", 1e-9: "0.01%", 0.0049: "0.5%", 0.0996: "10%", 0.5: "50%", 12: "1,200%"} {
		if got := Percent(x); got != want {
			t.Errorf("Percent(%v) = %s, want %s", x, got, want)
		}
	}
	for x, want := range map[[2]float64]string{{0.277, 0.78}: "0.3", {-0.3, 4}: "0", {17, 23}: "20", {1234, 5678}: "1,000"} {
		if got := NumberTo(x[0], x[1]); got != want {
			t.Errorf("NumberTo(%v) = %s, want %s", x, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1,020 B", 25165824000: "23.4 GiB"} {
		if got := Memory(n); got != want {
			t.Errorf("Memory(%d) = %s, want %s", n, got, want)
		}
	}
}
