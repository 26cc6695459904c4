package figure

import (
	"fmt"
	"slices"
	"strings"

	"connbench/harness/record"
)

// entry is a figure, or a family of them, at its place in the list.
type entry struct {
	place  int
	figure Figure
	family *Family
}

var entries []entry

// Add enters a figure into the list of all and returns it. Lists of figures are in the
// order of place, and those of the same place in the order in which they were added.
// Call it from init: variables of a package are initialised in the order in which they
// depend on each other, not in that of the file. It panics if the entry is incomplete
// or its name is taken.
func Add(place int, f Figure) Figure {
	if f.Name == "" || f.Title == "" || f.Means == "" || f.Kind == "" || f.Of == nil {
		panic(fmt.Sprintf("figure %q: Name, Title, Means, Kind and Of must be given", f.Name))
	}
	if !slices.Contains(Kinds(), f.Kind) {
		panic(fmt.Sprintf("figure %q: kind %q is not in the list of kinds", f.Name, f.Kind))
	}
	if slices.ContainsFunc(entries, func(e entry) bool { return e.figure.Name == f.Name }) {
		panic(fmt.Sprintf("figure %q is in the list already", f.Name))
	}
	f.Place = place
	insert(entry{place: place, figure: f})
	return f
}

// Family is a group of figures. A run has as many as its plan asks for, such
// as one for each amount of work.
type Family struct {
	// Name is what all their names begin with, "complexity.kept.".
	Name string
	// Example is the name of one.
	Example string
	// Members returns the family's figures in runs, in order, each with its Parameter.
	// They get the family's name.
	Members func(runs ...*record.Run) []Figure
	// Named is the member of a name, whether a run has it or not; false: no such name.
	Named func(name string) (Figure, bool)
	// Curve, if not nil, is their chart.
	Curve *Curve
}

// Curve is a chart of a family's figures against their parameters.
type Curve struct {
	// Name is the file's, without its ending. Title says what is shown, About how to
	// read it, X and Y label the axes.
	Name, Title, About, X, Y string
	// Point says what is counted at a point, a format that takes the parameter:
	// "connections at %g µs a message".
	Point string
}

// AddFamily enters a family into the list, as [Add] does a figure.
func AddFamily(place int, f Family) Family {
	if f.Name == "" || f.Members == nil || f.Named == nil {
		panic(fmt.Sprintf("family %q: Name, Members and Named must be given", f.Name))
	}
	insert(entry{place: place, family: &f})
	return f
}

func insert(e entry) {
	at := slices.IndexFunc(entries, func(other entry) bool { return other.place > e.place })
	if at < 0 {
		at = len(entries)
	}
	entries = slices.Insert(entries, at, e)
}

// All are the figures that any run may have, without those of families; see [Of].
func All() []Figure { return Of() }

// Documented are all figures in their order, with an example of each family.
func Documented() []Figure {
	var list []Figure
	for _, e := range entries {
		if e.family != nil {
			list = append(list, Must(e.family.Example))
			continue
		}
		list = append(list, e.figure)
	}
	return list
}

// Of are the figures that runs may have: All, and the members of families that the
// runs have.
func Of(runs ...*record.Run) []Figure {
	var list []Figure
	for _, e := range entries {
		if e.family == nil {
			list = append(list, e.figure)
			continue
		}
		list = append(list, e.members(runs)...)
	}
	return list
}

// members are those of the entry's family that runs have.
func (e entry) members(runs []*record.Run) []Figure {
	if len(runs) == 0 {
		return nil
	}
	list := e.family.Members(runs...)
	for i := range list {
		list[i].Family, list[i].Place = e.family.Name, e.place
	}
	return list
}

// Families are all families, in order.
func Families() []Family {
	var list []Family
	for _, e := range entries {
		if e.family != nil {
			list = append(list, *e.family)
		}
	}
	return list
}

// Find gives the figure of a name, which may be shortened to its end where that is
// not ambiguous: rss_bytes for per_connection.rss_bytes.
func Find(name string) (Figure, error) {
	var found []Figure
	for _, figure := range All() {
		if figure.Name == name {
			return figure, nil
		}
		if strings.HasSuffix(figure.Name, "."+name) {
			found = append(found, figure)
		}
	}
	for _, e := range entries {
		if e.family != nil {
			if figure, is := e.find(name); is {
				found = append(found, figure)
			}
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return Figure{}, fmt.Errorf("unknown figure %q: there are %s", name, strings.Join(known(), ", "))
	}
	return Figure{}, fmt.Errorf("figure %q is ambiguous: it may be %s", name, strings.Join(names(found), " or "))
}

// find is the member of the entry's family with a name that may lack the beginning of
// the family's.
func (e entry) find(name string) (Figure, bool) {
	prefix := ""
	for part := range strings.SplitAfterSeq(e.family.Name, ".") {
		if figure, is := e.family.Named(prefix + name); is {
			figure.Family, figure.Place = e.family.Name, e.place
			return figure, true
		}
		prefix += part
	}
	return Figure{}, false
}

// known are the names that [Find] takes, an example for each family.
func known() []string {
	list := names(All())
	for _, family := range Families() {
		list = append(list, family.Example+" and its like")
	}
	return list
}

// Must is Find for names that the program itself has.
func Must(name string) Figure {
	figure, err := Find(name)
	if err != nil {
		panic(err)
	}
	return figure
}

func names(list []Figure) []string {
	var names []string
	for _, figure := range list {
		names = append(names, figure.Name)
	}
	return names
}

// Slopes are the figures that are the slope of a line through the points of a ramp.
func Slopes() []Figure {
	return slices.DeleteFunc(All(), func(f Figure) bool { return f.Slope == nil })
}
