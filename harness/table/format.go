package table

import (
	"math"
	"strconv"
	"strings"

	"connbench/harness/plain"
)

// Missing is printed where a figure was not taken or is not believed.
const Missing = "–"

// Number writes x with three significant digits, for people: 9,210, 15.3, 0.0421.
func Number(x float64) string {
	switch {
	case math.IsNaN(x) || math.IsInf(x, 0):
		return Missing
	case x == 0:
		return "0"
	case math.Abs(x) >= 100:
		unit := math.Pow(10, math.Floor(math.Log10(math.Abs(x)))-2)
		return group(strconv.FormatFloat(math.Round(x/unit)*unit, 'f', 0, 64))
	}
	digits := 2 - int(math.Floor(math.Log10(math.Abs(x))))
	// 9.996 rounds to 10.00: one digit too many.
	if math.Abs(x)*math.Pow10(digits) >= 999.5 {
		digits--
	}
	return strconv.FormatFloat(x, 'f', min(digits, 6), 64)
}

// NumberTo writes x to the first digit of its uncertainty.
func NumberTo(x, uncertain float64) string {
	digits := -int(math.Floor(math.Log10(uncertain)))
	unit := math.Pow10(-digits)
	x = math.Round(x/unit)*unit + 0 // + 0 makes -0 a 0
	if digits > 0 {
		return strconv.FormatFloat(x, 'f', min(digits, 6), 64)
	}
	return group(strconv.FormatFloat(x, 'f', 0, 64))
}

// Count writes a whole number with all its digits.
func Count(n int) string { return group(strconv.Itoa(n)) }

// group puts a comma between every three digits of a whole number.
func group(digits string) string {
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return sign + digits
}

// Percent writes a share, 0 to 1, as "0.02%", "0.3%" or "12%".
func Percent(share float64) string {
	p := share * 100
	switch {
	case p == 0:
		return "0%"
	case p < 0.095:
		return strconv.FormatFloat(math.Max(p, 0.01), 'f', 2, 64) + "%"
	case p < 9.95:
		return strconv.FormatFloat(p, 'f', 1, 64) + "%"
	}
	return group(strconv.FormatFloat(p, 'f', 0, 64)) + "%"
}

// Memory writes an amount of memory, "23.5 GiB".
func Memory(n int64) string {
	x, unit := float64(n), "B"
	for _, larger := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if x < 1024 {
			break
		}
		x, unit = x/1024, larger
	}
	return Number(x) + " " + unit
}

// Plural writes "1 round", "6 rounds".
func Plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return Count(n) + " " + noun
}

// List writes "a, b and c".
func List(items []string) string {
	if len(items) < 2 {
		return strings.Join(items, "")
	}
	return strings.Join(items[:len(items)-1], ", ") + " and " + items[len(items)-1]
}

// Markdown escapes a text of a record for Markdown, also within a table.
func Markdown(text string) string { return escapeMarkdown.Replace(plain.Line(text)) }

var escapeMarkdown = strings.NewReplacer(
	"<", "&lt;", ">", "&gt;", "&", "&amp;",
	`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "#", `\#`, "|", `\|`, "~", `\~`,
	"://", ":&#47;&#47;", "www.", "www&#46;", // would become links by themselves
)
