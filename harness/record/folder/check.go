package folder

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"connbench/harness/cause"
	"connbench/harness/naming"
	"connbench/harness/record"
)

// states are all states that a manifest may have.
var states = []string{record.StateRunning, record.StateFinished, record.StateInterrupted, record.StateFailed}

func checkManifest(m *record.Manifest) error {
	if !slices.Contains(states, m.State) {
		return fmt.Errorf("state: %q is none of %s", naming.Cut(m.State), strings.Join(states, ", "))
	}
	if err := naming.Check("lab", m.Lab); err != nil {
		return err
	}
	for i, variant := range m.Variants {
		if err := naming.Check(fmt.Sprintf("variants[%d].name", i), variant.Name); err != nil {
			return err
		}
		if err := naming.Check(fmt.Sprintf("variants[%d].class", i), variant.Class); err != nil {
			return err
		}
	}
	return checkBounds("", reflect.ValueOf(m).Elem())
}

func checkTrial(t *record.Trial) error {
	for _, name := range []struct{ field, value string }{
		{"variant", t.Variant}, {"class", t.Class}, {"plan", t.Plan}, {"lab", t.Lab}, {"engine", t.Engine},
	} {
		if err := naming.Check(name.field, name.value); err != nil {
			return err
		}
	}
	for _, number := range []struct {
		field        string
		value, least int
	}{
		{"trial", t.Trial, 1},
		{"round", t.Round, 1},
		{"connections.target", t.Connections.Target, 1},
		{"connections.reached", t.Connections.Reached, 0},
		{"connections.peak", t.Connections.Peak, 0},
	} {
		if number.value < number.least {
			return fmt.Errorf("%s: %d is less than %d", number.field, number.value, number.least)
		}
	}
	if cause.Named(t.Stop.Reason) == nil {
		return fmt.Errorf("stop.reason: %q is none of %s", naming.Cut(t.Stop.Reason), strings.Join(cause.Reasons(), ", "))
	}
	if !t.Valid && len(t.Invalid) == 0 {
		return fmt.Errorf("invalid: a trial that is not valid must say why")
	}
	if err := checkSections(t); err != nil {
		return err
	}
	return checkBounds("", reflect.ValueOf(t).Elem())
}

func checkSample(s *record.Sample) error {
	if s.Trial < 1 {
		return fmt.Errorf("trial: %d is less than 1", s.Trial)
	}
	return checkBounds("", reflect.ValueOf(s).Elem())
}

// checkSections returns an error if something in a section is out of bounds.
func checkSections(t *record.Trial) error {
	for name, value := range t.Each {
		if err := checkBounds(name, reflect.ValueOf(value).Elem()); err != nil {
			return err
		}
		if checker, own := value.(interface{ Check() error }); own {
			if err := checker.Check(); err != nil {
				return fmt.Errorf("%s.%w", name, err)
			}
		}
	}
	return nil
}

// checkBounds returns an error if a text, number, list or map within a value is out of
// bounds.
func checkBounds(path string, value reflect.Value) error {
	switch value.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !value.IsNil() {
			return checkBounds(path, value.Elem())
		}
	case reflect.String:
		limit := maxTextBytes
		if strings.HasSuffix(path, "histogram") {
			limit = maxHistogramBytes
		}
		if value.Len() > limit {
			return fmt.Errorf("%s: text is longer than %d bytes", path, limit)
		}
		if !utf8.ValidString(value.String()) {
			return fmt.Errorf("%s: text is not UTF-8", path)
		}
	case reflect.Float64:
		if math.Abs(value.Float()) > maxNumber {
			return fmt.Errorf("%s: %g is beyond anything that can be measured", path, value.Float())
		}
	case reflect.Slice, reflect.Array:
		if value.Len() > maxListed {
			return fmt.Errorf("%s: list has more than %d elements", path, maxListed)
		}
		for i := range value.Len() {
			if err := checkBounds(fmt.Sprintf("%s[%d]", path, i), value.Index(i)); err != nil {
				return err
			}
		}
	case reflect.Map:
		if value.Len() > maxListed {
			return fmt.Errorf("%s: object has more than %d members", path, maxListed)
		}
		for entry := value.MapRange(); entry.Next(); {
			if err := checkBounds(path+"["+naming.Cut(entry.Key().String())+"]", entry.Key()); err != nil {
				return err
			}
			if err := checkBounds(path+"["+naming.Cut(entry.Key().String())+"]", entry.Value()); err != nil {
				return err
			}
		}
	case reflect.Struct:
		if value.Type().PkgPath() == "time" {
			return nil
		}
		for i := range value.NumField() {
			field := value.Type().Field(i)
			if !field.IsExported() {
				continue
			}
			inner := strings.TrimPrefix(path+"."+fieldName(field), ".")
			if field.Anonymous {
				inner = path
			}
			if err := checkBounds(inner, value.Field(i)); err != nil {
				return err
			}
		}
	}
	return nil
}

// fieldName returns the name of a field in JSON.
func fieldName(field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	return name
}
