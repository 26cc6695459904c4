package folder_test

import (
	"encoding/json"
	"strings"
	"testing"

	"connbench/harness/record"
	"connbench/harness/record/folder"
	"connbench/harness/record/recordtest"
)

// again fails unless what was read of a text can be written and is read again as the
// same, and unless an error is one line without control characters.
func again[T any](t *testing.T, text []byte, decode func([]byte) (T, error), encode func(T) ([]byte, error)) {
	t.Helper()
	value, err := decode(text)
	if err != nil {
		if said := err.Error(); strings.ContainsFunc(said, func(r rune) bool { return r < ' ' || r == 0x7f }) || len(said) > 1000 {
			t.Errorf("error %q", said)
		}
		return
	}
	written, err := encode(value)
	if err != nil {
		t.Fatalf("read, and cannot be written: %v", err)
	}
	same, err := decode(written)
	if err != nil {
		t.Fatalf("written, and cannot be read: %v", err)
	}
	if rewritten, err := encode(same); err != nil || string(rewritten) != string(written) {
		t.Errorf("read again it is\n%s\nand was\n%s\n%v", rewritten, written, err)
	}
}

func FuzzTrial(f *testing.F) {
	for i, trial := range recordtest.Read(recordtest.Default).Trials[:2] {
		if i == 1 {
			recordtest.Complexity(&trial)
		}
		trial.Schema = record.Schema
		text, err := folder.EncodeTrial(trial)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) { again(t, text, folder.DecodeTrial, folder.EncodeTrial) })
}

func FuzzManifest(f *testing.F) {
	text, err := folder.EncodeManifest(recordtest.Read(recordtest.Default).Manifest)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) { again(t, text, folder.DecodeManifest, folder.EncodeManifest) })
}

func FuzzSample(f *testing.F) {
	f.Add([]byte(`{"trial":1,"phase":"ramp","seconds":0.5,"open":7,"messages":3,"server_rss_bytes":9,"server_cpu_seconds":null,"client_cpu_seconds":1e-3,"client_rss_bytes":null,"kernel_bytes":1,"available_bytes":2}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		again(t, text, folder.DecodeSample, func(s record.Sample) ([]byte, error) { return json.Marshal(s) })
	})
}
