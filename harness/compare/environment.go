package compare

import (
	"fmt"
	"slices"
	"sync"

	"connbench/harness/environment"
	"connbench/harness/figure"
	"connbench/harness/plain"
	"connbench/harness/plan"
	"connbench/harness/record"
	"connbench/harness/table"
)

// Difference is one way in which the two environments differ.
type Difference struct {
	Name string `json:"name"`
	Old  string `json:"old"`
	New  string `json:"new"`
	// Spoils says in words which figures cannot be compared because of it, "" where all
	// still can.
	Spoils string `json:"spoils,omitempty"`

	fact environment.Fact
}

// differences compares two environments. What only one of them names differs from
// nothing, except for variants that only one of them has.
func differences(old, new *record.Run, figures []figure.Figure) []Difference {
	before, after := environment.Of(old), environment.Of(new)
	value := func(items []environment.Item, name string) (string, bool) {
		i := slices.IndexFunc(items, func(it environment.Item) bool { return it.Name() == name })
		if i < 0 {
			return "", false
		}
		return plain.Line(items[i].Value), true
	}
	known := old.Manifest.Schema != 0 && new.Manifest.Schema != 0
	found := []Difference{}
	seen := map[string]bool{}
	for _, it := range slices.Concat(before, after) {
		name := plain.Line(it.Name())
		a, inOld := value(before, it.Name())
		b, inNew := value(after, it.Name())
		if seen[name] || a == b || !(inOld && inNew) && (!known || ofVariant(it.Of, old, new)) {
			continue
		}
		seen[name] = true
		found = append(found, Difference{Name: name, Old: orNone(a), New: orNone(b), Spoils: spoiled(it.Fact, figures), fact: it.Fact})
	}
	return found
}

// ofVariant says whether the owner of an item is a variant that only one of the runs
// has.
func ofVariant(owner string, old, new *record.Run) bool {
	has := func(run *record.Run) bool {
		return slices.ContainsFunc(run.Manifest.Variants, func(v record.Variant) bool { return v.Name+"/"+v.Class == owner })
	}
	return has(old) != has(new)
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

// keys are the keys of a plan by the facts that they are. They are asked for late: this
// package may be initialised before the phases have added theirs.
var keys = sync.OnceValue(func() map[environment.Fact]plan.Key {
	of := map[environment.Fact]plan.Key{}
	for _, key := range plan.Keys() {
		of[environment.Plan(key.Path)] = key
	}
	return of
})

// SpoilsFigure says whether a figure cannot be compared where a fact differs: the figure
// says so, or the key of the plan does.
func SpoilsFigure(fact environment.Fact, f figure.Figure) bool {
	if f.DependsOn(fact) {
		return true
	}
	key, is := keys()[fact]
	return is && (key.Phase != "" && key.Phase == f.Phase || slices.Contains(key.Figures, f.Name))
}

// Spoils says in words which figures of two runs cannot be compared where a fact differs,
// "nothing" where all can.
func Spoils(fact environment.Fact) string {
	if key := keys()[fact]; key.Phase != "" {
		return "the phase " + key.Phase
	}
	if words := spoiled(fact, figure.Documented()); words != "" {
		return words
	}
	return "nothing"
}

// spoiled names the figures that a fact spoils, as briefly as can be: kinds and phases
// where all their figures are spoiled, else single figures. It speaks of those figures
// that the table shows if the fact spoils any of them.
func spoiled(fact environment.Fact, figures []figure.Figure) string {
	figures = slices.DeleteFunc(slices.Clone(figures), func(f figure.Figure) bool { return f.Better == figure.None })
	if shown := slices.DeleteFunc(slices.Clone(figures), func(f figure.Figure) bool { return !isHeadline(f) }); slices.ContainsFunc(shown, func(f figure.Figure) bool { return SpoilsFigure(fact, f) }) {
		figures = shown
	}
	rest := slices.DeleteFunc(slices.Clone(figures), func(f figure.Figure) bool { return !SpoilsFigure(fact, f) })
	if len(rest) == len(figures) {
		return "everything"
	}
	var words []string
	// take replaces a group of figures by its name where all of them are spoiled.
	take := func(name string, in func(figure.Figure) bool) {
		all := len(slices.DeleteFunc(slices.Clone(figures), func(f figure.Figure) bool { return !in(f) }))
		left := slices.DeleteFunc(slices.Clone(rest), in)
		if taken := len(rest) - len(left); taken > 1 && taken == all {
			words, rest = append(words, name), left
		}
	}
	for _, kind := range figure.Kinds() {
		take(kind.All(), func(f figure.Figure) bool { return f.Kind == kind })
	}
	for _, f := range slices.Clone(rest) {
		if f.Phase != "" {
			take("the phase "+f.Phase, func(other figure.Figure) bool { return other.Phase == f.Phase })
		}
	}
	const most = 4
	for i, f := range rest {
		if i == most && len(rest) > most+1 {
			words = append(words, fmt.Sprintf("%d more", len(rest)-most))
			break
		}
		words = append(words, f.FullTitle())
	}
	return table.List(words)
}
