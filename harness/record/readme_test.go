package record

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestEveryStopReasonIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../results/README.md")
	must(t, err)
	_, after, _ := strings.Cut(string(text), "### Stop reasons\n")
	section, _, _ := strings.Cut(after, "\n#")
	var documented []string
	for line := range strings.Lines(section) {
		names, _, isRow := strings.Cut(strings.TrimPrefix(line, "|"), "|")
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(names, -1) {
			if isRow {
				documented = append(documented, name[1])
			}
		}
	}
	slices.Sort(documented)
	if want := slices.Sorted(slices.Values(reasons)); !slices.Equal(documented, want) {
		t.Errorf("documented are %q,\nand there are %q", documented, want)
	}
}
