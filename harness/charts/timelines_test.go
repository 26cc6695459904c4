package charts

import (
	"slices"
	"testing"

	"connbench/harness/record"
)

func timeline(phases ...string) (t Timeline) {
	for _, phase := range phases {
		t.Samples = append(t.Samples, record.Sample{Phase: phase})
	}
	return t
}

// The phases are those of the record, whatever they are called, in the order in which
// they came, also where a trial lacks one.
func TestPhasesAreThoseOfTheRecord(t *testing.T) {
	got := phasesOf([]Timeline{
		timeline("ramp", "hold", "echo", "close"),
		timeline("ramp", "hold", "hold", "toy", "toy", "close", "settled ramp"),
		timeline("idle", "ramp"),
	})
	if want := []string{"idle", "ramp", "hold", "toy", "echo", "close", "settled ramp"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := phasesOf(nil); len(got) > 0 {
		t.Errorf("no samples: %q", got)
	}
}

// The connect rate is that of the first phase that opens connections.
func TestTheRampIsThePhaseThatOpens(t *testing.T) {
	line := timeline("start", "opening", "opening", "again")
	for i := range line.Samples {
		line.Samples[i].Open = i
	}
	if ramp := line.ramp(); len(ramp) != 2 || ramp[0].Phase != "opening" {
		t.Errorf("%+v", ramp)
	}
	if ramp := timeline("start").ramp(); ramp != nil {
		t.Errorf("nothing was opened: %+v", ramp)
	}
}
