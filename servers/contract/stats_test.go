package contract

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestStatsThatNoServerHas(t *testing.T) {
	for line, want := range map[string]string{
		`{"connections": 0}`: "",
		`{"connections": 12, "heap_in_use_bytes": 0, "gc_pause_seconds": 0.5, "colour": "red"}`: "",
		`{"connections": 1000000000000000}`:                                                     "",
		``:                                                                                      "not the JSON of the contract",
		`connections: 12`:                                                                       "not the JSON of the contract",
		`[1, 2]`:                                                                                "not the JSON of the contract",
		`{"connections": 1.5}`:                                                                  "not the JSON of the contract",
		`{"connections": NaN}`:                                                                  "not the JSON of the contract",
		`{"connections": 1, "user_seconds": Infinity}`: "not the JSON of the contract",
		`{"connections": 9223372036854775808}`:         "not the JSON of the contract",
		`{"connections": 1, "user_seconds": 1e999}`:    "not the JSON of the contract",
		`{}`:                    "connections is missing",
		`{"connections": null}`: "connections is missing",
		`{"connections": -1}`:   "connections is -1: no figure is negative",
		`{"connections": 1, "heap_in_use_bytes": -5}`:           "heap_in_use_bytes is -5: no figure is negative",
		`{"connections": 1, "gc_pause_seconds": -0.001}`:        "gc_pause_seconds is -0.001: no figure is negative",
		`{"connections": 1, "system_seconds": 2e18}`:            "system_seconds is 2e+18: no server has so much",
		`{"connections": 1, "stack_bytes": 2000000000000000}`:   "stack_bytes is 2e+15: no server has so much",
		`{"connections": 1, "goroutines": 1, "gc_cycles": -10}`: "gc_cycles is -10: no figure is negative",
	} {
		_, err := ParseStats(line)
		if got := ""; err != nil {
			got = err.Error()
			if want == "" || !strings.Contains(got, want) {
				t.Errorf("%s: %v, want %q", line, err, want)
			}
		} else if want != "" {
			t.Errorf("%s is taken, want %q", line, want)
		}
	}
}

func TestStatsThatFall(t *testing.T) {
	for _, test := range []struct{ before, after, want string }{
		{`{"connections": 9, "heap_in_use_bytes": 9, "goroutines": 9}`, `{"connections": 1, "heap_in_use_bytes": 1, "goroutines": 1}`, ""},
		{`{"connections": 9, "user_seconds": 1.5}`, `{"connections": 1}`, ""},
		{`{"connections": 9, "user_seconds": 1.5}`, `{"connections": 1, "user_seconds": 1.5}`, ""},
		{`{"connections": 9, "user_seconds": 1.5}`, `{"connections": 1, "user_seconds": 1.4}`, "user_seconds fell from 1.5 to 1.4: it counts since the start"},
		{`{"connections": 9, "gc_cycles": 3}`, `{"connections": 1, "gc_cycles": 2}`, "gc_cycles fell from 3 to 2: it counts since the start"},
	} {
		before, err := ParseStats(test.before)
		if err != nil {
			t.Fatal(err)
		}
		after, err := ParseStats(test.after)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := after.Follows(before); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("after %s comes %s: %q, want %q", test.before, test.after, got, test.want)
		}
	}
}

// Whatever a server may say, what is taken can be filed and read again.
func FuzzParseStats(f *testing.F) {
	for _, line := range []string{`{"connections": 10, "gc_pause_seconds": 0.0021}`, `{"connections": 1e3}`, `{"connections": -0}`, "\x00"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		s, err := ParseStats(line)
		if err != nil {
			return
		}
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatalf("%q was taken as %+v, which is no JSON: %v", line, s, err)
		}
		if again, err := ParseStats(string(text)); err != nil || again.Follows(s) != nil || s.Follows(again) != nil {
			t.Errorf("%q was taken, and %s is not: %v", line, text, err)
		}
	})
}
