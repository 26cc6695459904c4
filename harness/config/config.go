// Package config reads the TOML files that people write, strictly.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Decode reads text into target and knows every key that it meets; its errors
// name file, line and column.
func Decode(file string, text []byte, target any) error {
	decoder := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields()
	err := decoder.Decode(target)
	var strict *toml.StrictMissingError
	var syntax *toml.DecodeError
	switch {
	case errors.As(err, &strict) && len(strict.Errors) > 0:
		row, column := strict.Errors[0].Position()
		return fmt.Errorf("%s:%d:%d: unknown key %q", file, row, column, strings.Join(strict.Errors[0].Key(), "."))
	case errors.As(err, &syntax):
		row, column := syntax.Position()
		return fmt.Errorf("%s:%d:%d: %s", file, row, column, strings.TrimPrefix(syntax.Error(), "toml: "))
	case err != nil:
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}
