package plan

import (
	"reflect"
	"strings"
)

// Key is one key of a plan.
type Key struct {
	// Path is its name with that of its table, "echo.rate_per_second".
	Path string
	// Harmless is true if a difference spoils no comparison. Otherwise Phase is the phase
	// whose figures it spoils, and Figures are the names of other figures.
	Harmless bool
	Phase    string
	Figures  []string
}

// Keys returns all keys of a plan, as a run's manifest has them.
func Keys() []Key {
	list := keys("", reflect.TypeFor[Plan]())
	names, types := Parts()
	for i, name := range names {
		list = append(list, keys(name, types[i])...)
	}
	return list
}

func keys(path string, of reflect.Type) (list []Key) {
	for i := range of.NumField() {
		field := of.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "-" || !field.IsExported() {
			continue
		}
		if field.Anonymous {
			list = append(list, keys(path, field.Type)...)
			continue
		}
		name = strings.TrimPrefix(path+"."+name, ".")
		if field.Type.Kind() == reflect.Struct {
			list = append(list, keys(name, field.Type)...)
			continue
		}
		key := Key{Path: name}
		switch spoils := field.Tag.Get("spoils"); spoils {
		case "-":
			key.Harmless = true
		case "phase":
			key.Phase, _, _ = strings.Cut(name, ".")
		default:
			key.Figures = strings.Fields(spoils)
		}
		list = append(list, key)
	}
	return list
}
