package opening

import (
	"bufio"
	"bytes"
	"net/http"
	"testing"
	"time"
)

// Each second has a date of its own, and it is that of the answer.
func TestDate(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.FixedZone("east", 3600))
	for _, test := range []struct {
		after time.Duration
		want  string
	}{
		{0, "Wed, 04 Mar 2026 04:06:07 GMT"}, {999 * time.Millisecond, "Wed, 04 Mar 2026 04:06:07 GMT"},
		{time.Second, "Wed, 04 Mar 2026 04:06:08 GMT"}, {0, "Wed, 04 Mar 2026 04:06:07 GMT"},
	} {
		if got := string(appendDate(nil, at.Add(test.after))); got != test.want {
			t.Errorf("after %s: %q, want %q", test.after, got, test.want)
		}
	}
	for name, answer := range map[string][]byte{"answer": Message{}.AppendAnswer(nil, []byte("hello")), "refusal": Refusal(400).AppendTo(nil)} {
		r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), nil)
		if err != nil {
			t.Fatal(err)
		}
		if date, err := http.ParseTime(r.Header.Get("Date")); err != nil || time.Since(date).Abs() > time.Hour {
			t.Errorf("%s: Date is %q: %v", name, r.Header.Get("Date"), err)
		}
	}
}
