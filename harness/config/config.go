// Package config reads the TOML files that people write, strictly.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Bounds of what a file may hold. All of it goes into records, which have bounds of
// their own.
const (
	maxBytes  = 1 << 20
	maxText   = 16 << 10 // bytes of any one text
	maxListed = 1000     // elements of any one list
)

// Load is the text of a file that people write.
func Load(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err == nil && len(text) > maxBytes {
		err = fmt.Errorf("%s is larger than %d bytes: connbench has no such files", file, maxBytes)
	}
	return text, err
}

// Read reads a file into target and has it checked, as [Decode] does.
func Read(file string, target any, check func() []string) error {
	text, err := Load(file)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("there is no file %s", file)
	}
	if err != nil {
		return err
	}
	return Decode(file, text, target, check)
}

// Decode reads text into target, which knows every key that may occur, and has it
// checked: check lists what is wrong with target, each problem beginning with its key
// ("server.port is …", "host[1].name: …"). The error has a line for each mistake, with
// file, line and key.
func Decode(file string, text []byte, target any, check func() []string) error {
	decoder := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields()
	err := decoder.Decode(target)
	var strict *toml.StrictMissingError
	var syntax *toml.DecodeError
	var mistakes []string
	switch {
	case errors.As(err, &strict):
		for _, unknown := range strict.Errors {
			row, column := unknown.Position()
			mistakes = append(mistakes, fmt.Sprintf("%s:%d:%d: unknown key %q", file, row, column, strings.Join(unknown.Key(), ".")))
		}
	case errors.As(err, &syntax):
		row, column := syntax.Position()
		key := strings.Join(syntax.Key(), ".")
		if key == "" {
			key = keyLines(text).keyIn(row)
		}
		if key != "" {
			key += ": "
		}
		return fmt.Errorf("%s:%d:%d: %s%s", file, row, column, key, inWords(syntax))
	case err != nil: // a type's own way to read itself, which names the key
		return fmt.Errorf("%s: %w", keyLines(text).where(file, err.Error()), err)
	}
	problems := bounds("", reflect.ValueOf(target))
	if len(problems) == 0 {
		problems = check()
	}
	lines := keyLines(text)
	for _, problem := range problems {
		mistakes = append(mistakes, lines.where(file, problem)+": "+problem)
	}
	if len(mistakes) > 0 {
		return errors.New(strings.Join(mistakes, "\n"))
	}
	return nil
}

// wrongType is what the decoder says of a value of another type than the key's.
var wrongType = regexp.MustCompile(`^cannot decode TOML ([a-z ]+) into .*?(?:of type )?([^ ]+)$`)

// typeNames are the words for the types of keys.
var typeNames = map[string]string{
	"int": "a whole number", "int64": "a whole number", "uint64": "a whole number", "float64": "a number", "string": "a text", "bool": "true or false",
	"[]string": "a list of texts", "[]int": "a list of whole numbers", "[]float64": "a list of numbers",
}

// inWords is what a decoder says, without the names of Go's types.
func inWords(err *toml.DecodeError) string {
	text := strings.TrimPrefix(err.Error(), "toml: ")
	parts := wrongType.FindStringSubmatch(text)
	if parts == nil {
		return text
	}
	want := typeNames[parts[2]]
	if want == "" {
		want = "something else"
	}
	return fmt.Sprintf("this is of type %s, and %s belongs here", parts[1], want)
}

// bounds lists what is too long in a value, however deep.
func bounds(key string, value reflect.Value) (problems []string) {
	inside := func(key string, value reflect.Value) { problems = append(problems, bounds(key, value)...) }
	switch value.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !value.IsNil() {
			inside(key, value.Elem())
		}
	case reflect.String:
		if value.Len() > maxText {
			return []string{fmt.Sprintf("%s has %d bytes: it may have %d", key, value.Len(), maxText)}
		}
	case reflect.Slice, reflect.Array:
		if value.Len() > maxListed {
			return []string{fmt.Sprintf("%s has %d elements: it may have %d", key, value.Len(), maxListed)}
		}
		for i := range value.Len() {
			inside(fmt.Sprintf("%s[%d]", key, i), value.Index(i))
		}
	case reflect.Map:
		for entry := value.MapRange(); entry.Next(); {
			inside(join(key, fmt.Sprint(entry.Key())), entry.Value())
		}
	case reflect.Struct:
		for i := range value.NumField() {
			field := value.Type().Field(i)
			name, _, _ := strings.Cut(field.Tag.Get("toml"), ",")
			switch {
			case !field.IsExported() || name == "-":
			case field.Anonymous:
				inside(key, value.Field(i))
			default:
				inside(join(key, name), value.Field(i))
			}
		}
	}
	return problems
}

func join(table, key string) string {
	if table == "" {
		return key
	}
	return table + "." + key
}
