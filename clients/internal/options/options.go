// Package options decodes what only one load or pacing knows.
package options

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Decode decodes JSON into a struct, strictly: what the struct does not know is an
// error. No JSON at all is the zero value.
func Decode[O any](text json.RawMessage) (o O, err error) {
	if len(text) == 0 {
		return o, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	err = decoder.Decode(&o)
	if _, more := decoder.Token(); err == nil && more != io.EOF {
		err = errors.New("there is something behind the object")
	}
	if err != nil {
		return o, fmt.Errorf("options %.80s: %w", text, err)
	}
	return o, nil
}
