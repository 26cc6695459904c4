package figure

import (
	"slices"
	"strings"
	"testing"

	"connbench/harness/record"
)

// toy is a figure whose value is the number of the trial.
func toy(name string) Figure {
	return Figure{
		Name: name, Title: "toy", Kind: Rate, Means: "A toy.",
		Of: func(t *record.Trial) *float64 { return Int(&t.Trial) },
	}
}

// keep puts the list back as it was when the test ends.
func keep(t *testing.T) {
	before := slices.Clone(entries)
	t.Cleanup(func() { entries = before })
}

func TestFiguresStandInTheOrderOfTheirPlaces(t *testing.T) {
	keep(t)
	entries = nil
	Add(20, toy("c"))
	Add(10, toy("a"))
	AddFamily(15, Family{
		Name: "f.", Example: "f.1",
		Members: func(...*record.Run) []Figure { return []Figure{toy("f.1"), toy("f.2")} },
		Named: func(name string) (Figure, bool) {
			return toy(name), name == "f.1" || name == "f.2"
		},
	})
	Add(10, toy("b"))
	if got := strings.Join(names(All()), " "); got != "a b c" {
		t.Errorf("all are %s", got)
	}
	of := Of(&record.Run{})
	if got := strings.Join(names(of), " "); got != "a b f.1 f.2 c" {
		t.Errorf("those of a run are %s", got)
	}
	if f := of[2]; f.Family != "f." || f.Place != 15 {
		t.Errorf("a member is %+v", f)
	}
	if f, err := Find("f.2"); err != nil || f.Family != "f." || f.Place != 15 {
		t.Errorf("found %+v, %v", f, err)
	}
	if _, err := Find("f.3"); err == nil || !strings.Contains(err.Error(), "there are a, b, c, f.1 and its like") {
		t.Errorf("f.3: %v", err)
	}
}

func TestIncompleteEntriesAreRefused(t *testing.T) {
	keep(t)
	nameless := toy("")
	meaningless := toy("toy.x")
	meaningless.Means = ""
	for what, add := range map[string]func(){
		"no name":              func() { Add(1, nameless) },
		"no meaning":           func() { Add(1, meaningless) },
		"a name twice":         func() { Add(1, toy("toy.y")); Add(2, toy("toy.y")) },
		"a family of nothing":  func() { AddFamily(1, Family{Name: "toy."}) },
		"a name that is taken": func() { Add(1, toy(RSS.Name)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: added", what)
				}
			}()
			add()
		}()
	}
}

// Rounds that are not believed are left out and counted.
func TestDoubt(t *testing.T) {
	f := toy("toy.z")
	f.Believe = func(t *record.Trial) string {
		if t.Trial > 2 {
			return "too many"
		}
		return ""
	}
	v := Variant{}
	for trial := range 3 {
		v.Valid = append(v.Valid, &record.Trial{Trial: trial + 1})
	}
	if value, doubt := f.Value(v.Valid[2]); value != nil || doubt != "too many" {
		t.Errorf("%v, %q", value, doubt)
	}
	for n, want := range map[int]string{1: "", 2: "", 3: "1 of 3 rounds left out: too many"} {
		of := Variant{Valid: v.Valid[:n]}
		if doubt := of.Doubt(f); doubt != want || of.Summary(f).N() != min(n, 2) {
			t.Errorf("%d rounds: %q, %d are used", n, doubt, of.Summary(f).N())
		}
	}
	if of := (Variant{Valid: v.Valid[2:]}); of.Doubt(f) != "too many" || of.Summary(f).N() != 0 {
		t.Errorf("%q", of.Doubt(f))
	}
}

// A figure is the swarm's where it is in half of the rounds, and then it has no place in an
// order.
func TestClientBoundIsNotRanked(t *testing.T) {
	f := toy("toy.bound")
	f.ClientBound = func(t *record.Trial) string {
		if t.Trial < 0 {
			return "the swarm slept"
		}
		return ""
	}
	free := Variant{Name: "free"}
	for round := range 4 {
		free.Valid = append(free.Valid, &record.Trial{Trial: round + 1})
	}
	for _, test := range []struct {
		bound, rounds int
		want          string
	}{
		{0, 4, ""}, {1, 4, ""}, {2, 4, "not ranked: the swarm slept in 2 of 4 rounds"}, {1, 1, "not ranked: the swarm slept in 1 of 1 rounds"}, {0, 0, ""},
	} {
		v := Variant{Name: "bound"}
		for round := range test.rounds {
			trial := &record.Trial{Trial: round + 1}
			if round < test.bound {
				trial.Trial *= -1
			}
			v.Valid = append(v.Valid, trial)
		}
		if got := v.ClientBound(f); got != test.want || v.Caveat(f) != test.want {
			t.Errorf("%d of %d rounds: %q, %q", test.bound, test.rounds, got, v.Caveat(f))
		}
		places := 1
		if test.want == "" && test.rounds > 0 {
			places = 2
		}
		summaries, ranking := Rank([]Variant{v, free}, f)
		if len(ranking.Order) != places {
			t.Errorf("%d of %d rounds: the order is %v", test.bound, test.rounds, ranking.Order)
		}
		if summaries[0].N() != test.rounds {
			t.Errorf("%d of %d rounds: %d are shown", test.bound, test.rounds, summaries[0].N())
		}
	}
}
