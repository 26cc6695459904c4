package options

import (
	"encoding/json"
	"testing"
)

func TestDecode(t *testing.T) {
	type known struct {
		Period int `json:"period"`
	}
	for text, want := range map[string]string{
		"":                ``,
		`{}`:              ``,
		`{"period":3}`:    ``,
		`{"frequency":3}`: `options {"frequency":3}: json: unknown field "frequency"`,
		`{"period":"3"}`:  `options {"period":"3"}: json: cannot unmarshal string into Go struct field known.period of type int`,
		`{} {}`:           `options {} {}: there is something behind the object`,
	} {
		got, err := Decode[known](json.RawMessage(text))
		switch {
		case want == "" && err != nil, want != "" && (err == nil || err.Error() != want):
			t.Errorf("%q: %v, want %q", text, err, want)
		case text == `{"period":3}` && got.Period != 3:
			t.Errorf("%q: %+v", text, got)
		}
	}
}
