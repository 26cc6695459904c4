package lines

import (
	"bufio"
	"strings"
	"testing"
)

func TestLinesAreBounded(t *testing.T) {
	const limit = 100
	for _, test := range []struct {
		text string
		want string // lines, and how they end
	}{
		{"", "EOF"},
		{"a\n\nb", "a||b|EOF"},
		{strings.Repeat("x", limit) + "\n", strings.Repeat("x", limit) + "|EOF"},
		{strings.Repeat("x", limit), strings.Repeat("x", limit) + "|EOF"},
		{"a\n" + strings.Repeat("x", limit+1) + "\n", "a|line too long"},
		{"a\n" + strings.Repeat("x", 10*limit), "a|line too long"},
	} {
		from := bufio.NewReaderSize(strings.NewReader(test.text), 16)
		got := ""
		for {
			line, err := Read(from, limit)
			if err != nil {
				got += err.Error()
				break
			}
			got += string(line) + "|"
		}
		if got != test.want {
			t.Errorf("%.20q…: %q, want %q", test.text, got, test.want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("{}\n\n", 10)
	f.Add("abc", 2)
	f.Add(strings.Repeat("x", 100)+"\n", 64)
	f.Fuzz(func(t *testing.T, text string, limit int) {
		if limit < 1 || limit > 1<<20 {
			return
		}
		from := bufio.NewReaderSize(strings.NewReader(text), 16)
		read := 0
		for {
			line, err := Read(from, limit)
			if len(line) > limit {
				t.Fatalf("a line of %d bytes, where %d are allowed", len(line), limit)
			}
			read += len(line)
			if err != nil {
				break
			}
		}
		if read > len(text) {
			t.Fatalf("%d bytes of %d", read, len(text))
		}
	})
}
